// What mpirun itself prints among the output of the ranks: told apart, and what it tells kept.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gentrain::jobs {

/// Reads what mpirun prints, one of its two streams, line by line.
class MpirunText {
 public:
  /// True if the line is one of mpirun's about the end of a job; other texts of mpirun, such as why
  /// it cannot start, are not. Lines that ranks might print as well are mpirun's where they follow
  /// a rule or another line of such a text.
  bool take(std::string_view line);

  /// "rank 2 on node7 was killed by signal 9 (Killed)", if mpirun said so.
  [[nodiscard]] const std::optional<std::string>& death() const { return death_; }
  /// Whether mpirun said that a rank has all others ended, by MPI_Abort; and with which code, as
  /// far as it said that.
  [[nodiscard]] bool aborted() const { return aborted_; }
  [[nodiscard]] const std::optional<int>& abort_code() const { return abort_code_; }
  /// The name of a host that mpirun lost or that could not reach it, if it said so.
  [[nodiscard]] const std::optional<std::string>& lost_host() const { return lost_host_; }

 private:
  std::optional<std::string> death_;
  std::optional<std::string> lost_host_;
  bool aborted_ = false;
  std::optional<int> abort_code_;
  bool in_text_ = false;      // the last line was one of mpirun's
  bool unreachable_ = false;  // the next "Local host:" is one that cannot reach another
};

}  // namespace gentrain::jobs
