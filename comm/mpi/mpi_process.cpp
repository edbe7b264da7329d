// What a process does around MPI itself.
#include "comm/mpi/mpi_process.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "comm/communicator.h"

namespace gentrain::comm {

namespace {

constexpr const char* kSegments = "OMPI_MCA_btl_vader_backing_directory";
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
  remove_leftovers();
  if (!folder_.path().empty()) {
    ::setenv(kSegments, folder_.path().c_str(), 0);
  }
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

}  // namespace gentrain::comm
