// One run of mpirun under supervision, from its start until nothing is left of it on this host.
#pragma once

#include <string>

#include "jobs/launch/options.h"
#include "jobs/launch/signals.h"
#include "jobs/launch/workspace.h"

namespace gentrain::jobs {

/// How an attempt ended.
struct AttemptEnd {
  int exit_code = 0;       // of mpirun; 128 + n if signal n killed it
  std::string reason;      // what happened: "rank 2 on node7 was killed by signal 9 (Killed)"
  std::string lost_host;   // that mpirun lost, may be empty
  std::string last_error;  // the last error line of a rank, may be empty
  bool began = false;      // the run's folder was taken: status.json was written or removed
  bool requested = false;  // the launcher was asked to end
  bool cut_short = false;  // so it ended the ranks, as training had not begun when it was asked
  int forced = 0;  // the signal by which the launcher ended the ranks at once, 0: it did not
  double seconds = 0;
};

/// Starts mpirun and watches over it: lines of the ranks are printed as they come; a first signal
/// that asks to end is passed on to the ranks as SIGUSR1, a second one ends them at once, as do
/// `LaunchOptions::grace_seconds` without an end; what stands still where the ranks' own watchdog
/// cannot see it is ended. Who does not read those lines keeps the ranks waiting, but no signal.
/// Afterwards no process, shared memory or session file of the attempt is left on this host.
/// `restarts` is what the ranks are told in GENTRAIN_RESTARTS.
/// Throws DeviceError if mpirun cannot be started.
AttemptEnd run_attempt(const LaunchOptions& options, Attempt attempt, int restarts,
                       const Workspace& workspace, const Signals& signals);

/// Prints "launch: TEXT" to standard error; says nothing if nobody reads there for a second.
void say(const std::string& text);

}  // namespace gentrain::jobs
