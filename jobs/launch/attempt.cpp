// The event loop around one mpirun.
#include "jobs/launch/attempt.h"

#include <array>
#include <chrono>
#include <csignal>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "jobs/launch/mpirun_text.h"
#include "jobs/launch/process.h"
#include "jobs/launch/run_state.h"

namespace gentrain::jobs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTickMilliseconds = 250;
constexpr std::chrono::seconds kWatchEvery{1};
constexpr std::chrono::seconds kStoppedFor{8};  // then a stopped process is taken for stuck
constexpr std::chrono::seconds kAloneFor{10};   // then an mpirun whose ranks have ended hangs
constexpr std::chrono::seconds kTermFor{2};     // from SIGTERM to SIGKILL
constexpr std::chrono::seconds kDrainFor{1};    // what was printed last may still be on its way

double seconds_behind(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Processes that were seen stopped, and since when.
class StoppedProcesses {
 public:
  /// The process among `pids` that has been stopped for too long.
  std::optional<pid_t> look(const std::vector<pid_t>& pids) {
    std::map<pid_t, Clock::time_point> still;
    for (const pid_t pid : pids) {
      if (process_state(pid) == 'T') {
        const auto known = since_.find(pid);
        still[pid] = known == since_.end() ? Clock::now() : known->second;
      }
    }
    since_ = std::move(still);
    for (const auto& [pid, since] : since_) {
      if (Clock::now() - since >= kStoppedFor) {
        return pid;
      }
    }
    return std::nullopt;
  }

 private:
  std::map<pid_t, Clock::time_point> since_;
};

/// Notices an mpirun whose ranks have all ended, but which does not.
class Forsaken {
 public:
  /// Whether for too long a rank has had the others ended, or there have been no children after
  /// there were some. Children may be remote shells, which stay with a host that was cut off.
  bool look(bool any, bool aborted) {
    had_some_ = had_some_ || any;
    if (!aborted && (any || !had_some_)) {
      alone_since_.reset();
      return false;
    }
    alone_since_ = alone_since_.value_or(Clock::now());
    return Clock::now() - *alone_since_ >= kAloneFor;
  }

 private:
  bool had_some_ = false;
  std::optional<Clock::time_point> alone_since_;
};

/// The state of one attempt while it goes on.
class Supervision {
 public:
  Supervision(const LaunchOptions& options, Child& child, const Workspace& workspace,
              const Signals& signals)
      : options_(options),
        child_(child),
        workspace_(workspace),
        signals_(signals),
        mark_before_(read_run_state(options.output).mark) {}

  AttemptEnd run() {
    while (!child_.ended()) {
      wait();
      pass_output_on();
      while (const int number = signals_.next()) {
        take_signal(number);
      }
      watch();
      keep_deadlines();
    }
    drain();
    end_.exit_code = hung_ ? text_.abort_code().value_or(child_.exit_code()) : child_.exit_code();
    end_.began = began();
    end_.lost_host = lost_host().value_or("");
    end_.seconds = seconds_behind(start_);
    if (end_.reason.empty()) {
      end_.reason = what_ended_it();
    }
    return end_;
  }

 private:
  /// A daemon that cannot reach mpirun says so on its own standard output.
  [[nodiscard]] std::optional<std::string> lost_host() const {
    return text_.lost_host() ? text_.lost_host() : output_text_.lost_host();
  }

  [[nodiscard]] std::string what_ended_it() const {
    if (const auto host = lost_host()) {
      return fmt::format("host {} was lost", *host);
    }
    if (text_.death()) {
      return *text_.death();
    }
    if (child_.killed_by() != 0) {
      return fmt::format("mpirun was killed by signal {}", child_.killed_by());
    }
    return child_.exit_code() == 0 ? "the ranks ended without finishing" : "the ranks ended";
  }

  [[nodiscard]] bool began() const {
    const std::string mark = read_run_state(options_.output).mark;
    return !mark.empty() && mark != mark_before_;
  }

  void wait() {
    std::array<pollfd, 5> all = {
        {{output_open_ && output_.empty() ? child_.output() : -1, POLLIN, 0},
         {errors_open_ && errors_.empty() ? child_.errors() : -1, POLLIN, 0},
         {output_.empty() ? -1 : output_.descriptor(), POLLOUT, 0},
         {errors_.empty() ? -1 : errors_.descriptor(), POLLOUT, 0},
         {signals_.descriptor(), POLLIN, 0}}};
    poll(all.data(), all.size(), kTickMilliseconds);
  }

  void pass_output_on() {
    std::vector<std::string> lines;
    output_open_ = output_open_ && read(output_lines_, child_.output(), output_, lines);
    for (const std::string& line : lines) {
      output_text_.take(line);
    }
    print(lines, output_);
    lines.clear();
    errors_open_ = errors_open_ && read(error_lines_, child_.errors(), errors_, lines);
    std::vector<std::string> shown;
    for (std::string& line : lines) {
      if (line.starts_with("gentrain: ")) {
        end_.last_error = line;
      }
      if (!text_.take(line) || options_.mpirun_texts) {
        shown.push_back(std::move(line));
      }
    }
    print(shown, errors_);
  }

  /// Appends what has come, once all before has been written; false from the end of the file on.
  static bool read(LineReader& reader, int from, const LineWriter& to,
                   std::vector<std::string>& lines) {
    return !to.empty() || reader.read(from, lines);
  }

  void print(const std::vector<std::string>& lines, LineWriter& to) const {
    for (const std::string& line : lines) {
      to.add(line);
    }
    to.flush();
    if (end_.forced != 0) {
      to.drop();
    }
  }

  /// What was printed last may still be on its way, and who reads it slow. A signal ends this and
  /// is left for who looks for one next.
  void drain() {
    auto deadline = Clock::now() + kDrainFor;
    for (bool more = true; more;) {
      pass_output_on();
      const bool unread = !output_.empty() || !errors_.empty();
      if (unread) {
        deadline = Clock::now() + kDrainFor;
      }
      more = unread || ((output_open_ || errors_open_) && Clock::now() < deadline);
      if (more) {
        wait();
      }
      if (const int number = signals_.next(); number != 0) {
        kill(getpid(), number);
        more = false;
      }
    }
  }

  void take_signal(int number) {
    const char* const name = signal_name(number);
    if (end_.requested) {
      if (number != SIGINT && number != SIGTERM) {
        return;
      }
      if (end_.forced != 0) {
        child_.kill_group();
      } else {
        force(number, fmt::format("a second signal ({})", name));
      }
      return;
    }
    end_.requested = true;
    if (!began()) {
      end_.cut_short = true;
      end(fmt::format("{} came before training began", name));
      return;
    }
    say(
        fmt::format("{}: the ranks finish their step and write a checkpoint; a second signal ends "
                    "them at once",
                    name));
    child_.signal(SIGUSR1);
    grace_end_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(options_.grace_seconds));
  }

  void keep_deadlines() {
    if (grace_end_ && Clock::now() >= *grace_end_) {
      force(SIGKILL, fmt::format("the ranks did not end within {:g} s of the request",
                                 options_.grace_seconds));
    }
    if (kill_at_ && Clock::now() >= *kill_at_) {
      child_.kill_group();
    }
  }

  /// Ends everything; `number` is what the exit code tells of it.
  void force(int number, const std::string& reason) {
    end_.forced = number;
    end(reason);
  }

  void end(const std::string& reason) {
    end_.reason = reason;
    say(fmt::format("{}: ending all ranks", reason));
    grace_end_.reset();
    if (process_state(child_.pid()) == 'T') {
      child_.kill_group();
    }
    child_.signal(SIGTERM);
    kill_at_ = kill_at_.value_or(Clock::now() + kTermFor);
  }

  /// Looks for what stands still: mpirun at any time, its ranks until the run has begun and they
  /// watch each other.
  void watch() {
    if (kill_at_ || Clock::now() < next_watch_) {
      return;
    }
    next_watch_ = Clock::now() + kWatchEvery;
    std::vector<pid_t> pids = {child_.pid()};
    begun_ = begun_ || began();
    if (!begun_) {
      pids = processes_with(fmt::format("{}={}", Workspace::kVariable, workspace_.id()));
    }
    if (const auto stopped = stopped_.look(pids)) {
      end(*stopped == child_.pid()
              ? "mpirun is stopped"
              : fmt::format("process {} was stopped before training began", *stopped));
    } else if (forsaken_.look(has_children(child_.pid()), text_.aborted())) {
      hung_ = true;
      end("mpirun hangs, its ranks have ended");
    }
  }

  const LaunchOptions& options_;
  Child& child_;
  const Workspace& workspace_;
  const Signals& signals_;
  const std::string mark_before_;
  const Clock::time_point start_ = Clock::now();
  MpirunText text_;
  MpirunText output_text_;
  LineReader output_lines_;
  LineReader error_lines_;
  LineWriter output_{STDOUT_FILENO};
  LineWriter errors_{STDERR_FILENO};
  bool output_open_ = true;
  bool errors_open_ = true;
  bool begun_ = false;
  bool hung_ = false;  // and was ended for that
  StoppedProcesses stopped_;
  Forsaken forsaken_;
  Clock::time_point next_watch_ = Clock::now() + kWatchEvery;
  std::optional<Clock::time_point> grace_end_;
  std::optional<Clock::time_point> kill_at_;
  AttemptEnd end_;
};

/// Names of the environment variables that every rank is to see, on other hosts too.
std::vector<std::string> gentrain_variables() {
  std::vector<std::string> names = {Workspace::kVariable, "GENTRAIN_RESTARTS"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string name(text.substr(0, text.find('=')));
    if (name.starts_with("GENTRAIN_") && name != names[0] && name != names[1]) {
      names.push_back(name);
    }
  }
  return names;
}

}  // namespace

AttemptEnd run_attempt(const LaunchOptions& options, Attempt attempt, int restarts,
                       const Workspace& workspace, const Signals& signals) {
  attempt.session_folder = workspace.session();
  attempt.variables = gentrain_variables();
  AttemptEnd end;
  {
    Child child({.program = options.mpirun,
                 .words = mpirun_command(options, attempt),
                 .variables = {{Workspace::kVariable, workspace.id()},
                               {"GENTRAIN_RESTARTS", fmt::format("{}", restarts)}}});
    end = Supervision(options, child, workspace, signals).run();
  }
  workspace.clean();
  return end;
}

void say(const std::string& text) {
  constexpr int kPatience = 1000;
  static int patience = kPatience;  // milliseconds; whoever did not read is not waited for again
  LineWriter writer(STDERR_FILENO);
  writer.add(fmt::format("launch: {}", text));
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  patience = poll(&ready, 1, patience) > 0 ? kPatience : 0;
  writer.flush();
}

}  // namespace gentrain::jobs
