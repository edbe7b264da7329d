// The loop over attempts.
#include "jobs/launch/supervisor.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <deque>

#include <fmt/format.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/launch/hosts.h"
#include "jobs/launch/run_state.h"

namespace gentrain::jobs {
namespace {

constexpr double kProbeSeconds = 6;
constexpr double kLongestPause = 30;
constexpr int kNoHost = 205;           // what mpirun gives for a lost host
constexpr std::size_t kReported = 20;  // attempts in the report of giving up, at most

std::string described(const AttemptEnd& end) {
  return fmt::format("{} (exit code {}) after {:.1f} s", end.reason, end.exit_code, end.seconds);
}

/// How a relaunch will begin.
std::string beginning(const RunState& state, bool resume) {
  if (!resume) {
    return "starting again: training had not begun";
  }
  return state.checkpoint.empty() ? "from the beginning: there is no checkpoint yet"
                                  : fmt::format("from {}", state.checkpoint.string());
}

/// A run of launches of one job.
class Supervisor {
 public:
  explicit Supervisor(const LaunchOptions& options)
      : options_(options),
        hosts_(options.hosts, options.ranks, options.remote_shell),
        rule_(options.max_restarts,
              options.first.empty() ? read_run_state(options.output).step : 0) {}

  int run() {
    const int code = run_attempts();
    hosts_.clean_and_probe(workspace_.folder(), kProbeSeconds);
    return code;
  }

 private:
  int run_attempts() {
    for (;;) {
      const AttemptEnd end = attempt();
      const RunState state = read_run_state(options_.output);
      resume_ = resume_ || end.began;
      hosts_.note_attempt(end.lost_host, end.began);
      switch (judge(end, state.finished)) {
        case Verdict::kDone:
          return kSuccess;
        case Verdict::kRequested:
          say(fmt::format("ended on request; the same command goes on{}",
                          state.checkpoint.empty() ? "" : " from " + state.checkpoint.string()));
          return kRequested;
        case Verdict::kFinal:
          return end.forced != 0 ? 128 + end.forced : end.exit_code;
        case Verdict::kRestart:
          break;
      }
      const std::int64_t step = end.began ? state.step : 0;
      remember(end, step);
      if (!rule_.again(step)) {
        report();
        return end.exit_code == 0 ? kFailure : end.exit_code;
      }
      if (!prepare_restart(end, state)) {
        return kRequested;
      }
    }
  }

  AttemptEnd attempt() {
    if (hosts_.ranks() == 0) {
      return {.exit_code = kNoHost, .reason = "no host answers", .lost_host = "", .last_error = ""};
    }
    return run_attempt(options_,
                       {.ranks = hosts_.ranks(),
                        .hosts = hosts_.present(),
                        .resume = resume_,
                        .session_folder = "",
                        .variables = {}},
                       rule_.restarts(), workspace_, signals_);
  }

  /// Says what comes, waits, looks for the hosts. False if a signal asks to end meanwhile.
  bool prepare_restart(const AttemptEnd& end, const RunState& state) {
    say(fmt::format("{}: restart {} ({} of {} without progress) {}", described(end),
                    rule_.restarts(), rule_.fruitless(), options_.max_restarts,
                    beginning(state, resume_)));
    if (const int number = signals_.wait(rule_.pause()); number != 0) {
      say(fmt::format("{} came before the restart: ended on request; the same command goes on",
                      signal_name(number)));
      return false;
    }
    for (const std::string& change : hosts_.clean_and_probe(workspace_.folder(), kProbeSeconds)) {
      say(fmt::format("{}; ranks: {}", change, hosts_.ranks()));
    }
    return true;
  }

  void remember(const AttemptEnd& end, std::int64_t step) {
    history_.push_back(fmt::format("attempt {}: {}, at step {}{}{}", rule_.restarts() + 1,
                                   described(end), step,
                                   end.last_error.empty() ? "" : "; last error: ", end.last_error));
    if (history_.size() > kReported) {
      history_.pop_front();
    }
  }

  void report() const {
    say(fmt::format("gave up: {} restart{} in a row made no progress", rule_.fruitless(),
                    rule_.fruitless() == 1 ? "" : "s"));
    for (const std::string& line : history_) {
      say(line);
    }
  }

  const LaunchOptions& options_;
  Signals signals_;
  Workspace workspace_;
  HostPool hosts_;
  RestartRule rule_;
  bool resume_ = false;
  std::deque<std::string> history_;
};

}  // namespace

Verdict judge(const AttemptEnd& end, bool finished) {
  constexpr std::array<int, 4> kUnmendable = {kUsage, kBadFile, kDeviceGone, kNotFinite};
  constexpr int kKilledByRequest = 128 + SIGUSR1;  // before the signal was provided for
  if (end.forced != 0) {
    return Verdict::kFinal;
  }
  if (end.exit_code == 0 && finished) {
    return Verdict::kDone;
  }
  if (end.exit_code == kRequested ||
      (end.requested && (end.cut_short || !end.began || end.exit_code == kKilledByRequest))) {
    return Verdict::kRequested;
  }
  const bool unmendable =
      std::find(kUnmendable.begin(), kUnmendable.end(), end.exit_code) != kUnmendable.end();
  return unmendable || end.requested ? Verdict::kFinal : Verdict::kRestart;
}

bool RestartRule::again(std::int64_t step) {
  if (step > best_) {
    best_ = step;
    fruitless_ = 0;
  } else if (restarts_ > 0) {
    ++fruitless_;
  }
  if (fruitless_ >= max_restarts_) {
    return false;
  }
  ++restarts_;
  return true;
}

double RestartRule::pause() const {
  return fruitless_ == 0
             ? 0
             : std::min(kLongestPause, static_cast<double>(1 << (std::min(fruitless_, 6) - 1)));
}

int supervise(const LaunchOptions& options) {
  return Supervisor(options).run();
}

}  // namespace gentrain::jobs
