// usage: mpi_fault CASE. Three or more ranks train; rank 1 has a fault in the middle of a step, and
// the job must end with the documented code on all ranks. A rank that survives writes SURVIVED.
//
//   worker    a shard of rank 1 throws IoError while the others wait for its sums: exit code 3
//   exchange  the thread of rank 1 that drives the exchange throws while its worker computes: 5
//   killed    rank 1 gets a SIGKILL: any code but 0
//   none      no fault: exit code 0
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include "comm/communicator.h"
#include "kernels/error.h"
#include "trainers/training.h"

namespace gentrain::trainers {
namespace {

constexpr std::int64_t kFaultyStep = 3;

TrainOptions job() {
  TrainOptions options;
  options.batch = {.global = 48, .shards = 16};
  options.threads = 2;
  options.data.source = DataOptions::Source::kDigits;
  options.data.train_count = 96;
  options.data.test_count = 10;
  options.model.name = "lenet";
  options.stages.resize(1);
  options.stages[0].stop.steps = 8;
  return options;
}

/// What a shard of rank 1 does in the faulty step.
void fail(const std::string& which) {
  if (which == "worker") {
    throw IoError("sample 17 of data.h5 cannot be read");
  }
  if (which == "killed") {
    std::raise(SIGKILL);
  }
}

/// A communicator whose all_to_all fails from a certain call on.
class Failing final : public comm::Communicator {
 public:
  Failing(comm::Communicator& inner, int calls) : inner_(inner), calls_(calls) {}
  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  [[nodiscard]] std::string where() const override { return inner_.where(); }
  [[nodiscard]] int ranks_on_host() const override { return inner_.ranks_on_host(); }
  std::unique_ptr<comm::Transfer> all_to_all(std::span<const std::vector<comm::ConstBytes>> send,
                                             std::span<const std::vector<comm::Bytes>> receive,
                                             int tag) override {
    if (--calls_ < 0) {
      throw CommError("a message to rank 2 was lost");
    }
    return inner_.all_to_all(send, receive, tag);
  }
  std::unique_ptr<comm::Transfer> all_gather(std::span<const comm::Bytes> parts, int tag) override {
    return inner_.all_gather(parts, tag);
  }
  std::unique_ptr<comm::Transfer> reduce_scatter(std::span<const std::span<float>> parts,
                                                 int tag) override {
    return inner_.reduce_scatter(parts, tag);
  }
  int reserve_tags(int count, bool library_sums) override {
    return inner_.reserve_tags(count, library_sums);
  }
  void broadcast(comm::Bytes data, int root) override { inner_.broadcast(data, root); }
  std::vector<std::string> all_gather_text(const std::string& text) override {
    return inner_.all_gather_text(text);
  }
  void barrier() override { inner_.barrier(); }
  [[noreturn]] void abort(int exit_code) noexcept override {
    inner_.abort(exit_code);
    std::abort();  // g++ 12 does not see that a virtual abort() never returns
  }

 private:
  comm::Communicator& inner_;
  int calls_;
};

void train(const std::string& which, comm::Communicator& communicator) {
  const bool faulty = communicator.rank() == 1 && which != "none";
  constexpr int kManyCalls = 1000000;
  Failing failing(communicator, faulty && which == "exchange" ? 5 : kManyCalls);
  ClassifierRun run(job(), failing);
  std::vector<Stage> stages = run.make_stages("");
  auto& shard = stages[0].passes[0].shard;
  if (faulty) {
    shard = [&which, inner = shard](ShardRun& one) {
      if (one.position.stage_step == kFaultyStep) {
        fail(which);
      }
      inner(one);
    };
  }
  run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
  communicator.barrier();
}

/// What the program's main does with exceptions.
int run_main(const std::string& which) {
  const auto communicator = comm::make_communicator();
  int code = 1;
  try {
    train(which, *communicator);
    std::puts(which == "none" ? "trained" : "SURVIVED");
    return 0;
  } catch (const IoError& error) {
    std::fprintf(stderr, "rank %d: %s\n", communicator->rank(), error.what());
    code = 3;
  } catch (const CommError& error) {
    std::fprintf(stderr, "rank %d: %s\n", communicator->rank(), error.what());
    code = 5;
  }
  communicator->abort(code);
  return code;
}

}  // namespace
}  // namespace gentrain::trainers

int main(int argc, char** argv) {
  alarm(60);
  return gentrain::trainers::run_main(argc > 1 ? argv[1] : "none");
}
