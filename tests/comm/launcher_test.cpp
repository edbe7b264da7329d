// Which launcher the environment shows, the lone process, and the tags.
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::comm {
namespace {

constexpr const char* kNames[] = {"OMPI_COMM_WORLD_SIZE",
                                  "OMPI_COMM_WORLD_RANK",
                                  "PMIX_RANK",
                                  "PMI_RANK",
                                  "PMI_SIZE",
                                  "SLURM_STEP_ID",
                                  "SLURM_STEPID",
                                  "SLURM_STEP_NUM_TASKS",
                                  "SLURM_NTASKS",
                                  "SLURM_PROCID"};

/// An environment with exactly these of the variables that launchers set.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& values) {
    for (const char* name : kNames) {
      if (const char* value = std::getenv(name)) {
        before_.emplace_back(name, value);
      }
      unsetenv(name);
    }
    for (const auto& [name, value] : values) {
      setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ~Environment() {
    for (const char* name : kNames) {
      unsetenv(name);
    }
    for (const auto& [name, value] : before_) {
      setenv(name.c_str(), value.c_str(), 1);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::vector<std::pair<std::string, std::string>> before_;
};

void expect(const std::map<std::string, std::string>& values, bool present, int promised,
            const std::string& name) {
  const Environment environment(values);
  const Launcher launcher = detect_launcher();
  EXPECT_EQ(launcher.present, present);
  EXPECT_EQ(launcher.promised_size, promised);
  EXPECT_EQ(launcher.name, name);
}

void expect_rank(const std::map<std::string, std::string>& values, int rank) {
  const Environment environment(values);
  EXPECT_EQ(launched_rank(), rank);
}

TEST(Launcher, TheRankIsInTheEnvironment) {
  expect_rank({}, 0);
  expect_rank({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}}, 3);
  expect_rank({{"PMIX_RANK", "2"}}, 2);
  expect_rank({{"PMI_RANK", "1"}}, 1);
  expect_rank({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "5"}}, 5);
  expect_rank({{"SLURM_PROCID", "5"}}, 0);  // of a batch script
  expect_rank({{"OMPI_COMM_WORLD_RANK", "none"}}, 0);
}

TEST(Launcher, NoneIsALoneProcess) {
  expect({}, false, 1, "");
  const Environment environment({});
  const auto communicator = make_communicator();
  EXPECT_EQ(communicator->size(), 1);
  EXPECT_EQ(communicator->rank(), 0);
  EXPECT_EQ(communicator->ranks_on_host(), 1);
  EXPECT_NE(communicator->where().find(":" + std::to_string(getpid())), std::string::npos);
}

TEST(Launcher, Mpirun) {
  expect({{"OMPI_COMM_WORLD_SIZE", "16"}, {"PMIX_RANK", "3"}}, true, 16, "mpirun");
  // mpirun inside a Slurm job.
  expect({{"OMPI_COMM_WORLD_SIZE", "4"},
          {"PMIX_RANK", "0"},
          {"SLURM_STEP_ID", "0"},
          {"SLURM_PROCID", "0"},
          {"SLURM_NTASKS", "2"}},
         true, 4, "mpirun");
  expect({{"PMI_RANK", "0"}, {"PMI_SIZE", "3"}}, true, 3, "mpirun");
  expect({{"PMIX_RANK", "0"}}, true, 0, "mpirun");
}

TEST(Launcher, SrunWithPmi) {
  expect({{"PMIX_RANK", "1"},
          {"SLURM_STEP_ID", "0"},
          {"SLURM_PROCID", "1"},
          {"SLURM_STEP_NUM_TASKS", "8"},
          {"SLURM_NTASKS", "16"}},
         true, 8, "srun");
  expect({{"PMIX_RANK", "1"}, {"SLURM_STEPID", "2"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}},
         true, 4, "srun");
}

TEST(Launcher, SrunWithoutPmiIsRefused) {
  const std::map<std::string, std::string> values{
      {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "2"}, {"SLURM_NTASKS", "4"}};
  expect(values, false, 4, "srun");
  const Environment environment(values);
  EXPECT_EQ(
      test::message_of<CommError>([] { make_communicator(); }),
      "srun started 4 processes without PMI, so that they cannot find each other and would be "
      "4 runs of one process: use `srun --mpi=pmix ...`");
}

TEST(Launcher, OneTaskOfSrunIsALoneProcess) {
  expect({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}}, false, 1, "");
}

TEST(Launcher, BatchScriptsAndShellsAreLoneProcesses) {
  expect({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}, false, 1, "");
  expect({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEPID", "batch"}}, false, 1, "");
  expect({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_ID", "4294967291"}}, false, 1,
         "");
  expect({{"SLURM_NTASKS", "8"}, {"SLURM_STEP_ID", "0"}}, false, 1, "");
}

TEST(Single, MovesNothing) {
  const auto single = make_single();
  float value = 3;
  const std::vector<Bytes> parts{{&value, sizeof(value)}};
  EXPECT_TRUE(single->all_gather(parts, 0)->poll());
  const std::vector<std::span<float>> sums{{&value, 1}};
  EXPECT_TRUE(single->reduce_scatter(sums, 1)->poll());
  const std::vector<std::vector<ConstBytes>> send(1);
  const std::vector<std::vector<Bytes>> receive(1);
  EXPECT_TRUE(single->all_to_all(send, receive, 2)->poll());
  single->broadcast({&value, sizeof(value)}, 0);
  single->barrier();
  EXPECT_EQ(value, 3);
  EXPECT_EQ(single->all_gather_text("x"), std::vector<std::string>{"x"});
}

TEST(Single, PartsOfOtherRanksAreRefused) {
  const auto single = make_single();
  EXPECT_EQ(test::message_of<CommError>([&] { single->all_gather(std::vector<Bytes>(2), 0); }),
            "all_gather: 2 parts for 1 rank");
}

TEST(Single, AbortEndsTheProcess) {
  EXPECT_EXIT(make_single()->abort(9), ::testing::ExitedWithCode(9), "");
}

TEST(Communicator, TagsAreHandedOutInTurn) {
  const auto single = make_single();
  EXPECT_EQ(single->reserve_tags(10, false), 0);
  EXPECT_EQ(single->reserve_tags(31990, true), 10);
  EXPECT_EQ(single->reserve_tags(1, false), 0);
  EXPECT_EQ(test::message_of<CommError>([&] { single->reserve_tags(32001, false); }),
            "32001 tags were asked for but there are 32000: make the buckets larger");
}

}  // namespace
}  // namespace gentrain::comm
