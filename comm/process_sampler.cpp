// Reads /proc/self/task.
#include "comm/process_sampler.h"

#include <array>
#include <charconv>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "comm/process_stat.h"
#include "kernels/progress.h"

namespace gentrain::comm {

namespace {

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// Whether a thread of this process runs or wants to.
bool runs(const char* thread) {
  const std::string path = std::string("/proc/self/task/") + thread + "/stat";
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return false;  // it ended meanwhile
  }
  std::array<char, 256> text{};
  const ssize_t size = ::read(file, text.data(), text.size());
  ::close(file);
  return state_in({text.data(), size > 0 ? static_cast<std::size_t>(size) : 0}) == 'R';
}

bool output_blocks() {
  std::array<pollfd, 2> files{{{STDOUT_FILENO, POLLOUT, 0}, {STDERR_FILENO, POLLOUT, 0}}};
  ::poll(files.data(), files.size(), 0);
  return files[0].revents == 0 || files[1].revents == 0;
}

}  // namespace

ProcessSampler::ProcessSampler()
    : main_thread_(::gettid()),
      last_(std::chrono::steady_clock::now()),
      last_cpu_(processor_seconds()) {}

Sample ProcessSampler::take(std::uint64_t progress, std::uint64_t polls) {
  const auto now = std::chrono::steady_clock::now();
  const double cpu = processor_seconds();
  Sample sample;
  sample.elapsed = std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  sample.cpu = cpu - std::exchange(last_cpu_, cpu);
  sample.progress = progress;
  sample.polls = polls;
  sample.flushing = progress::flushing();
  if (std::exchange(last_progress_, progress) == progress) {
    look_at_threads(sample);
    sample.output_blocks = output_blocks();
  }
  return sample;
}

void ProcessSampler::look_at_threads(Sample& sample) const {
  DIR* const folder = ::opendir("/proc/self/task");
  if (folder == nullptr) {
    return;
  }
  const int own = ::gettid();
  while (const dirent* entry = ::readdir(folder)) {
    int thread = 0;
    std::from_chars(entry->d_name, entry->d_name + std::strlen(entry->d_name), thread);
    if (thread != 0 && thread != own && runs(entry->d_name)) {
      (thread == main_thread_ ? sample.main_runs : sample.others_run) = true;
    }
  }
  ::closedir(folder);
}

}  // namespace gentrain::comm
