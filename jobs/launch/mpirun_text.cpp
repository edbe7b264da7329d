// The texts of OpenMPI 4.1 (help-orterun.txt, help-mpi-api.txt, help-errmgr-base.txt), by their
// lines.
#include "jobs/launch/mpirun_text.h"

#include <algorithm>
#include <array>
#include <regex>

#include <fmt/format.h>

#include "jobs/launch/options.h"

namespace gentrain::jobs {
namespace {

constexpr std::array<std::string_view, 20> kLines = {
    "Primary job  terminated normally, but ",
    "a non-zero exit code. Per user-direction, the job has been aborted.",
    " noticed that process rank ",
    " detected that one or more processes exited with non-zero status",
    "the job to be terminated. The first process to do so was:",
    "  Process name: [[",
    "  Exit code:    ",
    "MPI_ABORT was invoked on rank ",
    "with errorcode ",
    "NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.",
    "You may or may not see output from other processes, depending on",
    "exactly when Open MPI kills them.",
    "ORTE has lost communication with a remote daemon.",
    "  HNP daemon   : [[",
    "  Remote daemon: [[",
    "This is usually due to either a failure of the TCP network",
    "connection to the node, or possibly an internal failure of",
    "the daemon itself. We cannot recover from this failure, and",
    "therefore will terminate the job.",
    "Abort is in progress...",
};
constexpr std::size_t kRule = 70;  // dashes around a text of mpirun, at least

bool is_rule(std::string_view line) {
  return line.size() >= kRule && line.find_first_not_of('-') == std::string_view::npos;
}

}  // namespace

bool MpirunText::take(std::string_view line) {
  static const std::regex death(
      ".* noticed that process rank (\\d+) with PID \\d+ on node (\\S+) exited on signal (\\d+) "
      "\\((.*)\\).*");
  static const std::regex remote("  Remote daemon: \\[\\[.*\\],\\d+\\] on node (\\S+).*");
  static const std::regex local("  Local host: +(\\S+)");
  std::cmatch match;
  const char* const end = line.data() + line.size();
  if (std::regex_match(line.data(), end, match, death)) {
    death_ = fmt::format("rank {} on {} was killed by signal {} ({})", match[1].str(),
                         match[2].str(), match[3].str(), match[4].str());
  }
  if (std::regex_match(line.data(), end, match, remote)) {
    lost_host_ = match[1].str();
  }
  unreachable_ =
      unreachable_ || line.starts_with("A process or daemon was unable to complete a TCP");
  if (unreachable_ && std::regex_match(line.data(), end, match, local)) {
    unreachable_ = false;
    if (!is_this_host(match[1].str())) {
      lost_host_ = match[1].str();
    }
  }
  return line.empty() || is_rule(line) ||
         std::any_of(kLines.begin(), kLines.end(), [&](std::string_view known) {
           return line.find(known) != std::string_view::npos;
         });
}

}  // namespace gentrain::jobs
