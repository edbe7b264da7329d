// The command line: a verb, or a job file to train.
#pragma once

namespace gentrain::jobs {

/// Runs what the arguments ask for and returns the exit code (see exit_codes.h). Errors are printed
/// as one line with rank and host; under a launcher they end all ranks.
int run_main(int argc, const char* const* argv);

}  // namespace gentrain::jobs
