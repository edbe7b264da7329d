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

constexpr std::string_view kAborted = "MPI_ABORT was invoked on rank ";
/// What lines begin with that are mpirun's wherever they stand.
constexpr auto kFirstLines = std::to_array<std::string_view>({
    "Primary job  terminated normally, but ",
    kAborted,
    "ORTE has lost communication with a remote daemon.",
    "Abort is in progress...",
    "  HNP daemon   : [[",
    "  Remote daemon: [[",
    "NOTE: invoking MPI_ABORT causes Open MPI to kill all MPI processes.",
});
/// And those that a rank might print as well: mpirun's behind a rule or another line of its text.
constexpr auto kFurtherLines = std::to_array<std::string_view>({
    "a non-zero exit code. Per user-direction, the job has been aborted.",
    "the job to be terminated. The first process to do so was:",
    "  Process name: [[",
    "  Exit code:    ",
    "with errorcode ",
    "You may or may not see output from other processes, depending on",
    "exactly when Open MPI kills them.",
    "This is usually due to either a failure of the TCP network",
    "connection to the node, or possibly an internal failure of",
    "the daemon itself. We cannot recover from this failure, and",
    "therefore will terminate the job.",
});
constexpr std::size_t kRule = 70;      // dashes around a text of mpirun, at least
constexpr std::size_t kLooked = 1024;  // characters of a line that are looked at: <regex> recurses

bool is_rule(std::string_view line) {
  return line.size() >= kRule && line.find_first_not_of('-') == std::string_view::npos;
}

template <std::size_t kCount>
bool begins_with_one(std::string_view line, const std::array<std::string_view, kCount>& known) {
  return std::any_of(known.begin(), known.end(),
                     [line](std::string_view one) { return line.starts_with(one); });
}

}  // namespace

bool MpirunText::take(std::string_view line) {
  line = line.substr(0, kLooked);
  static const std::regex death(
      "\\S+ noticed that process rank (\\d+) with PID \\d+ on node (\\S+) exited on signal (\\d+) "
      "\\((.*)\\).*");
  static const std::regex remote("  Remote daemon: \\[\\[.*\\],\\d+\\] on node (\\S+).*");
  static const std::regex local("  Local host: +(\\S+)");
  static const std::regex code("with errorcode (\\d{1,3})\\..*");
  static const std::regex detected("\\S+ detected that one or more processes exited with .*");
  std::cmatch match;
  const char* const end = line.data() + line.size();
  bool known = is_rule(line) || begins_with_one(line, kFirstLines) ||
               std::regex_match(line.data(), end, detected);
  if (std::regex_match(line.data(), end, match, death)) {
    known = true;
    death_ = fmt::format("rank {} on {} was killed by signal {} ({})", match[1].str(),
                         match[2].str(), match[3].str(), match[4].str());
  }
  if (std::regex_match(line.data(), end, match, remote)) {
    lost_host_ = match[1].str();
  }
  aborted_ = aborted_ || line.starts_with(kAborted);
  unreachable_ =
      unreachable_ || line.starts_with("A process or daemon was unable to complete a TCP");
  if (unreachable_ && std::regex_match(line.data(), end, match, local)) {
    unreachable_ = false;
    if (!is_this_host(match[1].str())) {
      lost_host_ = match[1].str();
    }
  }
  if (aborted_ && !abort_code_ && in_text_ && std::regex_match(line.data(), end, match, code)) {
    abort_code_ = std::stoi(match[1].str());
  }
  in_text_ = known || (in_text_ && (line.empty() || begins_with_one(line, kFurtherLines)));
  return in_text_;
}

}  // namespace gentrain::jobs
