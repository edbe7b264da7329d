// The launcher's parts that need no processes: hosts, mpirun's command line and texts, what an end
// calls for, when to give up, what a run's folder says.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/process_stat.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/launch/hosts.h"
#include "jobs/launch/mpirun_text.h"
#include "jobs/launch/options.h"
#include "jobs/launch/process.h"
#include "jobs/launch/run_state.h"
#include "jobs/launch/supervisor.h"
#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

TEST(LaunchHosts, AreParsed) {
  EXPECT_THAT(parse_hosts("n1:4,n2,n1"), ElementsAre(HostSlots{"n1", 5}, HostSlots{"n2", 1}));
}

TEST(LaunchHosts, BadOnesAreRefused) {
  EXPECT_THAT([] { parse_hosts("n1:0"); },
              ThrowsMessage<JobError>("-H n1:0: '0' slots of n1; needed: a number from 1 on"));
  EXPECT_THAT([] { parse_hosts("n1:2x"); }, ThrowsMessage<JobError>(HasSubstr("'2x' slots of n1")));
  EXPECT_THAT([] { parse_hosts(""); }, ThrowsMessage<JobError>(HasSubstr("a host without a name")));
  EXPECT_THAT([] { parse_hosts("n1,"); },
              ThrowsMessage<JobError>(HasSubstr("a host without a name")));
}

TEST(LaunchHosts, ThisHostIsKnown) {
  EXPECT_TRUE(is_this_host("localhost"));
  EXPECT_TRUE(is_this_host("127.0.0.1"));
  EXPECT_FALSE(is_this_host("no-such-host"));
}

TEST(LaunchHosts, RanksFollowTheHosts) {
  // A remote shell under which n1 answers and no other host.
  const fs::path shell =
      fs::temp_directory_path() / ("launch_test_shell" + std::to_string(getpid()));
  std::ofstream(shell) << "#!/bin/sh\n[ $1 = n1 ]\n";
  fs::permissions(shell, fs::perms::owner_all);
  HostPool slots({{"n1", 3}, {"n2", 5}}, 8, shell);
  EXPECT_THAT(slots.clean_and_probe("/nowhere", 5),
              ElementsAre("host n2 does not answer and is left out"));
  EXPECT_EQ(slots.ranks(), 3);
  EXPECT_THAT(slots.present(), ElementsAre(HostSlots{"n1", 3}));
  HostPool few({{"n1", 3}, {"n2", 5}}, 2, shell);
  few.clean_and_probe("/nowhere", 5);
  EXPECT_EQ(few.ranks(), 2);
  HostPool crowded({{"n1", 1}, {"n2", 1}}, 8, shell);
  crowded.clean_and_probe("/nowhere", 5);
  EXPECT_EQ(crowded.ranks(), 4);
  fs::remove(shell);
}

TEST(LaunchHosts, ALostOneIsLeftOutIfNothingBeginsWithIt) {
  HostPool pool({{"n1", 3}, {"n2", 5}}, 8, "true");
  pool.note_attempt("n2.cluster", true);
  EXPECT_THAT(pool.clean_and_probe("/nowhere", 5), ElementsAre());
  pool.note_attempt("", false);
  EXPECT_THAT(pool.clean_and_probe("/nowhere", 5),
              ElementsAre("host n2 answers, but mpirun cannot use it: it is left out"));
  EXPECT_EQ(pool.ranks(), 3);
  pool.note_attempt("", true);
  EXPECT_THAT(pool.clean_and_probe("/nowhere", 5),
              ElementsAre("host n2 answers again and is taken back"));
}

TEST(LaunchHosts, AHostThatHangsIsNotWaitedFor) {
  const fs::path shell =
      fs::temp_directory_path() / ("launch_test_hang" + std::to_string(getpid()));
  std::ofstream(shell) << "#!/bin/sh\nexec sleep 60\n";
  fs::permissions(shell, fs::perms::owner_all);
  HostPool pool({{"n1", 1}}, 1, shell);
  EXPECT_THAT(pool.clean_and_probe("/nowhere", 0.2),
              ElementsAre("host n1 does not answer and is left out"));
  EXPECT_EQ(pool.ranks(), 0);
  fs::remove(shell);
}

TEST(LaunchHosts, OthersRemoveWhatTheDeadLeft) {
  // A remote shell that runs its command here.
  const fs::path folder =
      fs::temp_directory_path() / ("launch_test clean " + std::to_string(getpid()));
  fs::create_directories(folder / "session");
  const fs::path shell = fs::temp_directory_path() / ("launch_test_run" + std::to_string(getpid()));
  std::ofstream(shell) << "#!/bin/sh\nshift\nexec sh -c \"$*\"\n";
  fs::permissions(shell, fs::perms::owner_all);
  struct stat space {};
  ASSERT_EQ(stat("/proc/self/ns/pid", &space), 0);
  const auto memory = [&](pid_t process) {
    return fs::path(fmt::format("/dev/shm/gentrain.{}.{}.{}.{}", getuid(), space.st_ino, process,
                                comm::read_process_stat("self")->start));
  };
  constexpr pid_t kNobody = (1 << 22) + 1;  // beyond the largest number of a process
  fs::create_directories(memory(kNobody) / "inner");
  fs::create_directories(memory(getpid()));
  HostPool pool({{"n1", 1}}, 1, shell);
  EXPECT_THAT(pool.clean_and_probe(folder, 20), ElementsAre());
  EXPECT_FALSE(fs::exists(memory(kNobody)));
  EXPECT_TRUE(fs::exists(memory(getpid())));
  EXPECT_FALSE(fs::exists(folder));
  fs::remove_all(memory(kNobody));
  fs::remove(memory(getpid()));
  fs::remove_all(folder);
  fs::remove(shell);
}

LaunchOptions example() {
  LaunchOptions options;
  options.mpirun_name = "mpirun";
  options.remote_shell = "ssh";
  options.program = "/p/gentrain";
  options.job = "a.yaml";
  options.settings = {"--set", "seed=2"};
  options.first = {"--overwrite"};
  return options;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += word + " ";
  }
  return text;
}

TEST(LaunchCommand, OnThisHost) {
  const std::string text = joined(mpirun_command(
      example(),
      {.ranks = 4, .hosts = {}, .resume = false, .session_folder = "/t/s", .variables = {"A"}}));
  EXPECT_THAT(text, HasSubstr("mpirun -np 4 --oversubscribe "));
  EXPECT_EQ(text.find("--allow-run-as-root") != std::string::npos, geteuid() == 0);
  for (const char* part :
       {"hwloc_base_binding_policy none", "mpi_yield_when_idle 1", "oob_tcp_keepalive_time 5",
        "oob_tcp_keepalive_intvl 2", "oob_tcp_keepalive_probes 3", "odls_base_sigkill_timeout 0",
        "orte_tmpdir_base /t/s", "oob_tcp_if_include lo", "btl_tcp_if_include lo"}) {
    EXPECT_THAT(text, HasSubstr(std::string("--mca ") + part + " "));
  }
  EXPECT_THAT(text, testing::EndsWith("-x A /p/gentrain a.yaml --set seed=2 --overwrite "));
  EXPECT_THAT(text, Not(HasSubstr("--host")));
}

TEST(LaunchCommand, OnOtherHosts) {
  LaunchOptions options = example();
  options.hosts = {{"n1", 2}, {"n2", 2}};
  const Attempt attempt{
      .ranks = 2, .hosts = {{"n1", 2}}, .resume = true, .session_folder = "/t/s", .variables = {}};
  std::string text = joined(mpirun_command(options, attempt));
  EXPECT_THAT(text, HasSubstr("--mca plm_rsh_agent ssh --host n1:2 "));
  EXPECT_THAT(text, Not(HasSubstr("if_include")));
  EXPECT_THAT(text, testing::EndsWith("a.yaml --set seed=2 --resume auto "));
  options.network_interface = "ib0";
  text = joined(mpirun_command(options, attempt));
  EXPECT_THAT(text, HasSubstr("--mca btl_tcp_if_include ib0 --mca oob_tcp_if_include ib0 "));
}

TEST(LaunchCommand, WhatTheUserNamesIsTheUsers) {
  LaunchOptions options = example();
  options.mpirun_options = {"--mca", "mpi_yield_when_idle", "0"};
  const std::string text = joined(mpirun_command(options, {}));
  EXPECT_THAT(text, HasSubstr("--mca mpi_yield_when_idle 0 /p/gentrain"));
  EXPECT_THAT(text, Not(HasSubstr("mpi_yield_when_idle 1")));
}

TEST(LaunchTexts, OfMpirunAreKnown) {
  MpirunText text;
  EXPECT_TRUE(text.take(std::string(74, '-')));
  EXPECT_TRUE(
      text.take("mpirun noticed that process rank 2 with PID 0 on node n7 exited on signal 9 "
                "(Killed)."));
  EXPECT_EQ(text.death(), "rank 2 on n7 was killed by signal 9 (Killed)");
  EXPECT_TRUE(text.take("  Remote daemon: [[60412,0],1] on node n2"));
  EXPECT_EQ(text.lost_host(), "n2");
  EXPECT_FALSE(text.aborted());
  EXPECT_TRUE(text.take("MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD"));
  EXPECT_TRUE(text.aborted());
  EXPECT_EQ(text.abort_code(), std::nullopt);
  EXPECT_TRUE(text.take("with errorcode 6."));
  EXPECT_TRUE(text.take("with errorcode 7."));
  EXPECT_EQ(text.abort_code(), 6);
}

TEST(LaunchTexts, NameAHostThatCannotBeReached) {
  MpirunText text;
  EXPECT_FALSE(text.take("  Local host:    n3"));  // of another text
  EXPECT_EQ(text.lost_host(), std::nullopt);
  EXPECT_FALSE(text.take("A process or daemon was unable to complete a TCP connection"));
  EXPECT_FALSE(text.take("  Local host:    n2"));
  EXPECT_EQ(text.lost_host(), "n2");
}

TEST(LaunchTexts, OfRanksAreNotMpiruns) {
  MpirunText text;
  EXPECT_FALSE(text.take("gentrain: rank 1 (n1:77): a message to rank 2 was lost"));
  EXPECT_FALSE(text.take("-----"));
  EXPECT_FALSE(text.take("There are not enough slots available in the system"));
  EXPECT_FALSE(text.take(""));
  EXPECT_FALSE(text.take("with errorcode 3"));
  EXPECT_FALSE(text.take("my job: MPI_ABORT was invoked on rank 3"));
  EXPECT_FALSE(text.take("  Exit code:    3"));
  EXPECT_FALSE(text.aborted());
  EXPECT_EQ(text.death(), std::nullopt);
  EXPECT_EQ(text.lost_host(), std::nullopt);
}

TEST(LaunchTexts, EndWithTheFirstLineOfSomebodyElse) {
  MpirunText text;
  EXPECT_TRUE(text.take(
      "mpirun detected that one or more processes exited with non-zero status, thus causing"));
  for (const char* line : {"the job to be terminated. The first process to do so was:", "",
                           "  Process name: [[52143,1],1]", "  Exit code:    5"}) {
    EXPECT_TRUE(text.take(line)) << line;
  }
  EXPECT_TRUE(text.take(std::string(74, '-')));
  EXPECT_FALSE(text.take("a rank's line"));
  EXPECT_FALSE(text.take(""));
  EXPECT_FALSE(text.take("  Exit code:    5"));
}

TEST(LaunchTexts, LinesOfAnyLengthAreTaken) {
  MpirunText text;
  const std::string end = "n7 exited on signal 9 (Killed).";
  EXPECT_FALSE(text.take("  Remote daemon" + std::string(3'000'000, ' ')));
  EXPECT_TRUE(text.take("mpirun noticed that process rank 2 with PID 0 on node " + end +
                        std::string(3'000'000, 'x')));
  EXPECT_EQ(text.death(), "rank 2 on n7 was killed by signal 9 (Killed)");
}

AttemptEnd ended(int code, bool requested = false, bool began = true) {
  AttemptEnd end;
  end.exit_code = code;
  end.requested = requested;
  end.began = began;
  return end;
}

TEST(LaunchVerdict, FollowsTheExitCode) {
  EXPECT_EQ(judge(ended(0), true), Verdict::kDone);
  EXPECT_EQ(judge(ended(0), false), Verdict::kRestart);
  EXPECT_EQ(judge(ended(kRequested), false), Verdict::kRequested);
  for (const int code : {kUsage, kBadFile, kDeviceGone, kNotFinite}) {
    EXPECT_EQ(judge(ended(code), false), Verdict::kFinal) << code;
  }
  for (const int code : {1, 5, 110, 134, 137, 139, 143, 205}) {
    EXPECT_EQ(judge(ended(code), false), Verdict::kRestart) << code;
  }
}

TEST(LaunchVerdict, AfterARequestNothingIsRestarted) {
  EXPECT_EQ(judge(ended(137, true), false), Verdict::kFinal);
  EXPECT_EQ(judge(ended(138, true), false), Verdict::kRequested);
  EXPECT_EQ(judge(ended(1, true, false), false), Verdict::kRequested);
  EXPECT_EQ(judge(ended(0, true), true), Verdict::kDone);
  AttemptEnd cut_short = ended(143, true, true);  // it began in that moment
  cut_short.cut_short = true;
  EXPECT_EQ(judge(cut_short, false), Verdict::kRequested);
  AttemptEnd forced = ended(kRequested, true);
  forced.forced = 2;
  EXPECT_EQ(judge(forced, false), Verdict::kFinal);
}

TEST(LaunchRestarts, AreCountedInARow) {
  RestartRule rule(2, 10);
  EXPECT_TRUE(rule.again(10));  // the first attempt is no restart
  EXPECT_EQ(rule.pause(), 0);
  EXPECT_TRUE(rule.again(10));
  EXPECT_EQ(rule.pause(), 1);
  EXPECT_TRUE(rule.again(11));  // progress
  EXPECT_EQ(rule.pause(), 0);
  EXPECT_TRUE(rule.again(11));
  EXPECT_FALSE(rule.again(4));  // less than before is none
  EXPECT_EQ(rule.restarts(), 4);
  EXPECT_EQ(rule.fruitless(), 2);
}

TEST(LaunchRestarts, CanBeOff) {
  RestartRule rule(0, 0);
  EXPECT_FALSE(rule.again(100));
}

TEST(LaunchRestarts, PausesGrowToALimit) {
  RestartRule rule(100, 0);
  double longest = 0;
  for (int i = 0; i < 80; ++i) {
    rule.again(0);
    longest = std::max(longest, rule.pause());
  }
  EXPECT_EQ(longest, 30);
}

class RunStates : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder() / "checkpoints"); }
  void TearDown() override { fs::remove_all(folder()); }
  static fs::path folder() {
    return fs::temp_directory_path() / ("run_states_test" + std::to_string(getpid()));
  }
  static void write(const std::string& name, const std::string& text) {
    std::ofstream(folder() / name) << text;
  }
};

TEST_F(RunStates, TellTheNewestCheckpoint) {
  for (const char* name : {"step-000000009.h5", "step-000000120.h5", "step-000000130.h5.tmp",
                           "step-0000001300.h5", "step-00000013x.h5", "best.h5"}) {
    write(std::string("checkpoints/") + name, "");
  }
  write("status.json", R"({"state": "running", "step": 117})");
  RunState state = read_run_state(folder());
  EXPECT_EQ(state.checkpoint.filename(), "step-000000120.h5");
  EXPECT_EQ(state.step, 120);
  EXPECT_FALSE(state.finished);
  write("status.json", R"({"state": "finished", "step": 150})");
  state = read_run_state(folder());
  EXPECT_EQ(state.step, 150);
  EXPECT_TRUE(state.finished);
}

TEST_F(RunStates, AnythingUnreadableIsNotThere) {
  for (const char* text : {"", "{", "[]", "3", R"({"state": 3, "step": "x"})"}) {
    write("status.json", text);
    const RunState state = read_run_state(folder());
    EXPECT_EQ(state.step, 0) << text;
    EXPECT_FALSE(state.finished) << text;
    EXPECT_FALSE(state.mark.empty());
  }
  EXPECT_EQ(read_run_state(folder() / "none").mark, "");
  EXPECT_TRUE(read_run_state(folder() / "none").checkpoint.empty());
}

TEST_F(RunStates, TheMarkChangesWithTheFile) {
  write("status.json", "{}");
  const std::string before = read_run_state(folder()).mark;
  EXPECT_EQ(read_run_state(folder()).mark, before);
  write("new", "{}");
  fs::rename(folder() / "new", folder() / "status.json");
  EXPECT_NE(read_run_state(folder()).mark, before);
}

TEST(LaunchProcesses, ProgramsAreFound) {
  EXPECT_THAT(find_program("sh"), testing::EndsWith("/sh"));
  EXPECT_THAT([] { find_program("no-such-program"); },
              ThrowsMessage<DeviceError>("there is no no-such-program on the PATH"));
  EXPECT_THAT(
      [] { find_program("/nowhere/x"); },
      ThrowsMessage<DeviceError>("/nowhere/x cannot be started: No such file or directory"));
}

TEST(LaunchProcesses, WordsAreParted) {
  EXPECT_THAT(split_words(" ssh  -q\t"), ElementsAre("ssh", "-q"));
}

Child run_shell(const std::string& command) {
  return Child({.program = find_program("sh"),
                .words = {"sh", "-c", command},
                .variables = {},
                .output = Command::Output::kLost});
}

/// The exit code, -1 if it does not end.
int exit_code_of(Child& child) {
  for (int i = 0; i < 20'000 && !child.ended(); ++i) {
    usleep(1000);
  }
  return child.ended() ? child.exit_code() : -1;
}

TEST(LaunchProcesses, HaveAnExitCodeWhoeverStartedThis) {
  ASSERT_NE(signal(SIGCHLD, SIG_IGN), SIG_ERR);
  Child child = run_shell("exit 7");
  EXPECT_EQ(exit_code_of(child), 7);
}

TEST(LaunchProcesses, HaveEndedIfSomebodyElseReapedThem) {
  Child child = run_shell("exit 7");
  EXPECT_EQ(waitpid(child.pid(), nullptr, 0), child.pid());
  EXPECT_EQ(exit_code_of(child), 1);
}

TEST(LaunchLines, StayUntilTheirReaderTakesThem) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  LineWriter writer(ends[1]);
  const std::string line(300'000, 'x');  // a pipe holds 65536
  writer.add(line);
  writer.add("last");
  writer.flush();
  EXPECT_FALSE(writer.empty());
  ASSERT_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
  LineReader reader;
  std::vector<std::string> lines;
  for (int i = 0; i < 100 && !writer.empty(); ++i) {
    reader.read(ends[0], lines);
    writer.flush();
  }
  reader.read(ends[0], lines);
  EXPECT_THAT(lines, ElementsAre(line, "last"));
  writer.add("x");
  writer.drop();
  EXPECT_TRUE(writer.empty());
  close(ends[0]);
  close(ends[1]);
}

TEST(LaunchProcesses, AreFoundByTheirEnvironmentAndKilled) {
  const std::string value = "launch_test_" + std::to_string(getpid());
  Child child({.program = find_program("sleep"),
               .words = {"sleep", "60"},
               .variables = {{"GENTRAIN_LAUNCH_ID", value}},
               .output = Command::Output::kLost});
  while (processes_with("GENTRAIN_LAUNCH_ID=" + value).empty()) {
    usleep(1000);  // until exec
  }
  EXPECT_THAT(processes_with("GENTRAIN_LAUNCH_ID=" + value), ElementsAre(child.pid()));
  EXPECT_THAT(processes_with("GENTRAIN_LAUNCH_ID=" + value.substr(1)), ElementsAre());
  EXPECT_FALSE(child.ended());
  EXPECT_EQ(kill_processes_with("GENTRAIN_LAUNCH_ID=" + value), 1);
  while (!child.ended()) {
    usleep(1000);
  }
  EXPECT_EQ(child.exit_code(), 137);
  EXPECT_EQ(child.killed_by(), 9);
}

}  // namespace
}  // namespace gentrain::jobs
