// Signals that ask a run to stop: the step under way is finished, a checkpoint written, and the
// program ends with the exit code for that.
#pragma once

namespace gentrain::trainers {

/// From here on SIGUSR1 asks to stop; with `terminal` so do SIGHUP, SIGTERM and SIGINT; a second
/// one of the last two ends the process at once.
void heed_stop_signals(bool terminal);

/// Whether this process was asked to stop.
bool stop_asked();

}  // namespace gentrain::trainers
