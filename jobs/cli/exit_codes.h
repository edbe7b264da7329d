// The one table of exit codes, for --help and the documents.
#pragma once

#include <array>
#include <exception>
#include <string_view>

#include "comm/communicator.h"

namespace gentrain::jobs {

enum ExitCode : int {
  kSuccess = 0,
  kFailure = 1,      // anything not named below
  kUsage = 2,        // command line or job file
  kBadFile = 3,      // a file missing, damaged or not writable
  kDeviceGone = 4,   // device, library, instruction set or memory
  kRankTrouble = 5,  // ranks that disagree, failed or are stuck
  kNotFinite = 6,    // NaN or infinite loss
  kRequested = 75,   // stopped by a signal; the same command goes on
};
static_assert(kRankTrouble == comm::kRankTroubleCode);

/// The code for what a verb threw.
int exit_code_of(const std::exception& error);

struct ExitCodeText {
  int code;
  std::string_view meaning;
};

inline constexpr std::array<ExitCodeText, 8> kExitCodes = {{
    {kSuccess, "done"},
    {kFailure, "an error that none of the other codes names"},
    {kUsage, "a wrong command line or job"},
    {kBadFile, "a file that is missing, damaged or cannot be written"},
    {kDeviceGone,
     "a device, library or instruction set that is missing or failed, or too little memory"},
    {kRankTrouble, "ranks that are missing, disagree, failed or are stuck"},
    {kNotFinite, "a loss that is NaN or infinite"},
    {kRequested, "ended on request (signal); the same command goes on"},
}};

}  // namespace gentrain::jobs
