// usage: mpi_fault CASE. Three ranks train; rank 1 has a fault in the middle of a step (a lone rank
// has it itself), and the job must end with the documented code on all ranks. A rank that survives
// writes SURVIVED.
//
//   worker    a shard of rank 1 throws IoError while the others wait for its sums: exit code 3
//   exchange  the thread of rank 1 that drives the exchange throws while its worker computes: 5
//   killed    rank 1 gets a SIGKILL: any code but 0
//   sleeps    a shard of rank 1 never ends, and its watchdog ends the job: 5, like the next four
//   spins     the same in an endless loop
//   loader    the thread of rank 1 that reads ahead hangs
//   driver    the thread of rank 1 that drives the exchange hangs
//   observer  the same after the step, while the others wait for it in the next one
//   stopped   rank 1 gets a SIGSTOP for good; rank 2 ends the job: 5
//   deadlock  rank 1 waits for a message that nobody sends, the others for rank 1: 5
//   paused    rank 1 gets a SIGSTOP and a SIGCONT after 5 seconds: exit code 0
//   slow      a step of rank 1 takes 15 seconds, of many small pieces: 0
//   none      no fault: exit code 0
//
// A fault writes FAULT and the time of day in seconds.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include <unistd.h>

#include "comm/communicator.h"
#include "comm/signs.h"
#include "comm/watchdog.h"
#include "kernels/error.h"
#include "kernels/progress.h"
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

void say_fault() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::printf("FAULT %.2f\n", std::chrono::duration<double>(now).count());
  std::fflush(stdout);
}

[[noreturn]] void sleep_for_ever() {
  while (true) {
    pause();
  }
}

/// Samples that stay on a disk that hangs.
class HangingDataset final : public data::Dataset {
 public:
  [[nodiscard]] std::int64_t size() const override { return 1; }
  [[nodiscard]] Shape sample_shape() const override { return {1, 1, 1}; }
  [[nodiscard]] int classes() const override { return 1; }
  void read(std::int64_t /*index*/, std::uint8_t* /*pixels*/) const override { sleep_for_ever(); }
  [[nodiscard]] std::int32_t label(std::int64_t /*index*/) const override { return 0; }
  [[nodiscard]] bool in_memory() const override { return false; }
  [[nodiscard]] std::string description() const override { return "hangs"; }
  [[nodiscard]] std::string sha256(const std::stop_token& /*stop*/) const override { return ""; }
};

void load_from_hanging_disk() {
  const auto loader = data::make_loader(std::make_shared<HangingDataset>(), 1, false);
  const data::BatchRequest request{0, 0, 1};
  loader->announce({request});
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the reading thread takes it
  data::ShardBatch batch;
  loader->load(request, batch);
}

/// A SIGSTOP that a child ends after 5 seconds.
void pause_process() {
  const pid_t self = getpid();
  if (fork() == 0) {
    sleep(5);
    kill(self, SIGCONT);
    _exit(0);
  }
  kill(self, SIGSTOP);
}

/// What a shard of rank 1 does in the faulty step; `first` of the step.
void fail(const std::string& which, bool first) {
  if (which == "slow") {
    for (int i = 0; i < 250; ++i) {  // 5 s, for each of three shards of a worker
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      progress::tick();
    }
    return;
  }
  if (!first) {
    return;
  }
  if (which == "sleeps") {
    sleep_for_ever();
  }
  if (which == "loader") {
    load_from_hanging_disk();
  }
  for (volatile unsigned i = 0; which == "spins";) {
    i = i + 1;
  }
  if (which == "stopped") {
    std::this_thread::sleep_for(std::chrono::milliseconds(600));  // a sign of life goes out
    kill(getpid(), SIGSTOP);
  }
  if (which == "paused") {
    pause_process();
  }
  if (which == "worker") {
    throw IoError("sample 17 of data.h5 cannot be read");
  }
  if (which == "killed") {
    std::raise(SIGKILL);
  }
}

/// A communicator whose all_to_all fails or hangs from a certain call on.
class Failing final : public comm::Communicator {
 public:
  Failing(comm::Communicator& inner, int calls, bool hangs)
      : inner_(inner), calls_(calls), hangs_(hangs) {}
  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  [[nodiscard]] std::string where() const override { return inner_.where(); }
  [[nodiscard]] int ranks_on_host() const override { return inner_.ranks_on_host(); }
  std::unique_ptr<comm::Transfer> all_to_all(std::span<const std::vector<comm::ConstBytes>> send,
                                             std::span<const std::vector<comm::Bytes>> receive,
                                             int tag) override {
    if (--calls_ < 0 && hangs_) {
      say_fault();
      sleep_for_ever();
    }
    if (calls_ < 0) {
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
  std::unique_ptr<comm::SignRing> sign_ring(std::size_t bytes) override {
    return inner_.sign_ring(bytes);
  }

 private:
  comm::Communicator& inner_;
  int calls_;
  bool hangs_;
};

/// Hangs after the faulty step.
class HangingObserver final : public Observer {
 public:
  void after_step(const StepReport& report) override {
    if (report.step == kFaultyStep) {
      say_fault();
      sleep_for_ever();
    }
  }
};

/// Waits for a message that nobody sends.
void wait_in_vain(comm::Communicator& communicator) {
  const auto size = static_cast<std::size_t>(communicator.size());
  const std::vector<std::vector<comm::ConstBytes>> send(size);
  std::vector<std::vector<comm::Bytes>> receive(size);
  char byte = 0;
  receive[0].push_back({&byte, 1});
  communicator.activity().enter(comm::Phase::kExchanging);
  say_fault();
  const auto transfer = communicator.all_to_all(send, receive, 31000);
  while (!transfer->poll()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void train(const std::string& which, comm::Communicator& communicator) {
  const bool faulty = communicator.rank() == communicator.size() / 2 && which != "none";
  constexpr int kManyCalls = 1000000;
  Failing failing(communicator,
                  faulty && (which == "exchange" || which == "driver") ? 5 : kManyCalls,
                  which == "driver");
  const comm::Watchdog watchdog(failing);
  TrainingRun run(job(), failing);
  std::vector<Stage> stages = run.make_stages("");
  auto& shard = stages[0].passes[0].shard;
  if (faulty) {
    shard = [&which, &run, inner = shard](ShardRun& one) {
      if (one.position.stage_step == kFaultyStep) {
        const bool first = one.shard == run.runner().owned().first;
        if (first) {
          say_fault();
        }
        fail(which, first);
      }
      inner(one);
    };
  }
  HangingObserver hanging;
  std::vector<Observer*> observers;
  if (faulty && which == "observer") {
    observers.push_back(&hanging);
  }
  run_stages(stages, run.loop_options(), run.runner(), &run.loader(), observers);
  if (faulty && which == "deadlock") {
    wait_in_vain(failing);
  }
  failing.barrier();
}

/// What the program's main does with exceptions.
int run_main(const std::string& which) {
  const auto communicator = comm::make_communicator();
  int code = 1;
  try {
    train(which, *communicator);
    std::puts(which == "none" || which == "paused" || which == "slow" ? "trained" : "SURVIVED");
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
  alarm(120);
  return gentrain::trainers::run_main(argc > 1 ? argv[1] : "none");
}
