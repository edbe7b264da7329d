// on_terminal(), by the parent's files in /proc.
#include "jobs/cli/terminal.h"

#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/communicator.h"

namespace gentrain::jobs {
namespace {

bool parent_is_on_terminal() {
  const std::string path = fmt::format("/proc/{}/fd/1", getppid());
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 || !S_ISCHR(status.st_mode)) {
    return false;
  }
  const int file = open(path.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) {
    return false;
  }
  const bool terminal = isatty(file) == 1;
  close(file);
  return terminal;
}

}  // namespace

bool on_terminal() {
  return isatty(STDOUT_FILENO) == 1 &&
         (!comm::detect_launcher().present || parent_is_on_terminal());
}

}  // namespace gentrain::jobs
