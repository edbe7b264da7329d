// What a process does around MPI itself.
#include "comm/mpi/mpi_process.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "comm/process_stat.h"

namespace gentrain::comm {

namespace {

constexpr const char* kSegments = "OMPI_MCA_btl_vader_backing_directory";
constexpr const char* kWindows = "OMPI_MCA_osc_sm_backing_directory";
/// From so many ranks on a host on mpirun starts them by threads that end soon, and the kernel
/// takes a thread's end for the parent's.
constexpr int kThreadedLaunch = 32;

bool is_launcher(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/comm", process));
  std::string name;
  std::getline(file, name);
  constexpr std::array<const char*, 4> kNames = {"mpirun", "mpiexec", "orterun", "orted"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

/// Whether the process of an open /proc/PID/stat is stopped. As a child of fork() may: by system
/// calls alone.
bool is_stopped(int stat) {
  std::array<char, 256> text{};
  const ssize_t size = ::pread(stat, text.data(), text.size(), 0);
  return state_in({text.data(), size > 0 ? static_cast<std::size_t>(size) : 0}) == 'T';
}

/// What the child of a StopGuard does until the process ends or is killed by it.
[[noreturn]] void guard(pid_t process, int stat, int seconds, std::string_view words) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  constexpr timespec kLook{0, 250'000'000};
  constexpr int kLooksPerSecond = 4;
  for (int stopped = 0; ::getppid() == process; ::nanosleep(&kLook, nullptr)) {
    stopped = is_stopped(stat) ? stopped + 1 : 0;
    if (stopped > seconds * kLooksPerSecond) {
      const ssize_t written = ::write(STDERR_FILENO, words.data(), words.size());
      ::kill(process, SIGKILL);
      ::_exit(written > 0 ? 0 : 1);
    }
  }
  ::_exit(0);
}

}  // namespace

void die_with_launcher() {
  const pid_t parent = ::getppid();
  const char* const ranks = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (ranks == nullptr || std::atoi(ranks) >= kThreadedLaunch || !is_launcher(parent)) {
    return;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {  // it died before the kernel was told
    ::raise(SIGKILL);
  }
}

MpiSharedMemory::MpiSharedMemory() {
  if (!folder_.path().empty()) {
    ::setenv(kSegments, folder_.path().c_str(), 0);
    ::setenv(kWindows, folder_.path().c_str(), 0);
  }
}

bool MpiSharedMemory::has_room_for(std::size_t bytes) const {
  constexpr double kShare = 0.9;  // OpenMPI wants some more
  const char* const folder = std::getenv(kWindows);
  std::error_code error;
  const auto space = std::filesystem::space(folder == nullptr ? "/dev/shm" : folder, error);
  return !error && static_cast<double>(bytes) < kShare * static_cast<double>(space.available);
}

TimeLimit::TimeLimit(const char* what, double seconds, int exit_code)
    : thread_([this, what, seconds, exit_code] {
        constexpr double kLook = 0.25;  // s
        std::unique_lock lock(mutex_);
        for (int i = 0; i < static_cast<int>(seconds / kLook); ++i) {
          if (changed_.wait_for(lock, std::chrono::duration<double>(kLook),
                                [this] { return ended_; })) {
            return;
          }
        }
        const std::string words = fmt::format(
            "gentrain: {}: {} has not ended after {} s: another rank is dead or stopped\n",
            host_and_process(), what, seconds);
        std::fwrite(words.data(), 1, words.size(), stderr);
        ::_exit(exit_code);
      }) {}

TimeLimit::~TimeLimit() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

StopGuard::StopGuard(const char* what, int seconds) {
  const pid_t self = ::getpid();
  const std::string words = fmt::format("gentrain: {}: was stopped for {} s in {}: it is killed\n",
                                        host_and_process(), seconds, what);
  const int stat = ::open(fmt::format("/proc/{}/stat", self).c_str(), O_RDONLY | O_CLOEXEC);
  child_ = ::fork();
  if (child_ == 0) {
    guard(self, stat, seconds, words);
  }
  ::close(stat);
}

StopGuard::~StopGuard() {
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
}

}  // namespace gentrain::comm
