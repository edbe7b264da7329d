// The contract: its words, what this version refuses, workers of a rank, ranks that differ.
#include "trainers/contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

using test::message_of;

TEST(Contract, SaysAllThatBytesDependOn) {
  TrainOptions options;
  const DeviceIdentity device{"cpu", "v3", "oneDNN 2.6.3", "a processor"};
  EXPECT_EQ(contract_text(options, device),
            "16 shards, op_threads 1, cpu v3, oneDNN 2.6.3, f32, canonical exchange");
  options.batch.shards = 4;
  options.exchange = comm::ExchangeMode::kLibrary;
  EXPECT_EQ(contract_text(options, device),
            "4 shards, op_threads 1, cpu v3, oneDNN 2.6.3, f32, library exchange");
  options.threads = 7;
  options.seed = 9;
  options.precision = Precision::kBf16Emulated;
  EXPECT_EQ(contract_text(options, device),
            "4 shards, op_threads 1, cpu v3, oneDNN 2.6.3, bf16_emulated, library exchange");
  EXPECT_EQ(contract_text(options, device, "OpenCV 4.6.0"),
            "4 shards, op_threads 1, cpu v3, oneDNN 2.6.3, bf16_emulated, library exchange, "
            "OpenCV 4.6.0");
}

TEST(Contract, NamesTheImageLibraryOfRunsThatNeedIt) {
  const auto single = comm::make_single();
  const TrainingRun digits(small_job(), *single);
  EXPECT_EQ(digits.image_library(), "");
  EXPECT_THAT(digits.contract(), ::testing::EndsWith(" exchange"));
  const TrainingRun srgan(small_srgan_job(), *single);
  EXPECT_EQ(srgan.image_library(), image::image_library().version());
  EXPECT_THAT(srgan.image_library(), ::testing::StartsWith("OpenCV 4."));
  EXPECT_EQ(srgan.contract(),
            contract_text(srgan.options(), make_device(srgan.options())->identity(),
                          srgan.image_library()));
}

TEST(CheckSupported, NamesWhatIsNotThereAndTheFix) {
  TrainOptions options;
  EXPECT_NO_THROW(check_supported(options, 16));
  options.device = DeviceChoice::kCuda;
  EXPECT_EQ(message_of<DeviceError>([&] { check_supported(options, 1); }),
            "device: cuda: this build has no CUDA backend; use device: cpu");
  options = {};
  options.precision = Precision::kBf16;
  EXPECT_EQ(message_of<JobError>([&] { check_supported(options, 1); }),
            "precision is bf16, but this version has no bf16 products for any processor: f32 is "
            "faster. bf16_emulated keeps tensors in bf16 all the same and computes in f32");
  options = {};
  options.op_threads = 2;
  EXPECT_EQ(message_of<JobError>([&] { check_supported(options, 1); }),
            "op_threads: 2: no operation of this version is cut into parts; only 1 is there");
  options = {};
  EXPECT_EQ(
      message_of<JobError>([&] { check_supported(options, 17); }),
      "17 ranks but only 16 shards, and a shard is computed by one rank: start at most 16 "
      "ranks, or set batch.shards to 17 or more (another number of shards gives other bytes)");
  EXPECT_EQ(message_of<JobError>([&] { TrainingRun(options, test::LocalRanks(17).rank(0)); }),
            message_of<JobError>([&] { check_supported(options, 17); }));
}

TEST(WorkerCount, AsTheJobSaysButNoMoreThanShards) {
  TrainOptions options;
  options.batch.shards = 16;
  test::LocalRanks three(3);
  const auto single = comm::make_single();
  options.threads = 2;
  EXPECT_EQ(worker_count(options, three.rank(0)), 2);
  options.threads = 64;
  EXPECT_EQ(worker_count(options, *single), 16);
  EXPECT_EQ(worker_count(options, three.rank(0)), 5);
  EXPECT_EQ(worker_count(options, three.rank(2)), 6);
}

TEST(WorkerCount, SharesTheAllowedCoresAmongTheHostsRanks) {
  cpu_set_t set;
  CPU_ZERO(&set);
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  const int cores = CPU_COUNT(&set);
  TrainOptions options;
  options.batch.shards = 4096;
  const auto single = comm::make_single();
  EXPECT_EQ(worker_count(options, *single), cores);
  test::LocalRanks two(2);
  EXPECT_EQ(worker_count(options, two.rank(1)), std::max(1, cores / 2));
  test::LocalRanks many(4096);
  EXPECT_EQ(worker_count(options, many.rank(9)), 1);
}

/// Messages of the ranks, of which rank 2 has its own contract or job.
std::vector<std::string> messages(const std::string& contract, const std::string& job) {
  std::vector<std::string> all(3);
  run_ranks(3, [&](comm::Communicator& communicator) {
    const bool other = communicator.rank() == 2;
    all[static_cast<std::size_t>(communicator.rank())] = message_of<CommError>([&] {
      check_same_on_all_ranks(communicator, other ? contract : "16 shards", other ? job : "seed 1");
    });
  });
  return all;
}

TEST(SameOnAllRanks, TheRankThatDiffersIsNamedOnAll) {
  EXPECT_THAT(messages("16 shards", "seed 1"), ::testing::Each("nothing was thrown"));
  EXPECT_THAT(messages("15 shards", "seed 1"),
              ::testing::Each("rank 2 (local:2) runs with another contract than rank 0 (local:0): "
                              "15 shards against 16 shards"));
  const auto hash = [](const std::string& text) {
    return io::sha256(std::as_bytes(std::span(text)));
  };
  EXPECT_THAT(messages("sixteen\nshards \xff", "seed 1"),  // any text, also one that is no UTF-8
              ::testing::Each(::testing::HasSubstr("sixteen\nshards \uFFFD against 16 shards")));
  EXPECT_THAT(messages("16 shards", "seed 2"),
              ::testing::Each("rank 2 (local:2) runs with another job than rank 0 (local:0): " +
                              hash("seed 2") + " against " + hash("seed 1")));
}

TEST(MakeDevice, IsHeldToTheJobsInstructionSet) {
  TrainOptions options;
  const DeviceIdentity best = make_device(options)->identity();
  EXPECT_EQ(best.kind, "cpu");
  options.isa = IsaChoice::kV3;
  if (best.isa == "v3") {
    EXPECT_EQ(make_device(options)->identity().isa, "v3");
  } else {
    EXPECT_EQ(message_of<DeviceError>([&] { make_device(options); }),
              "this process already has a CPU device of isa v4: one of isa v3 needs a process of "
              "its own");
  }
}

}  // namespace
}  // namespace gentrain::trainers
