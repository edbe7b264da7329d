// The verbs. Each reads its own options from the arguments behind its name and returns an exit
// code.
#pragma once

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"

namespace gentrain::jobs {

using Arguments = std::vector<std::string>;

/// What a verb is given by main.
struct Session {
  comm::Communicator& communicator;
  std::chrono::system_clock::time_point process_start;
};

struct Verb {
  std::string_view name;
  std::string_view usage;    // "check JOB [--ranks N]"
  std::string_view summary;  // one line
  int (*run)(Session& session, const Arguments& arguments);
};

/// gentrain JOB: trains. Also `gentrain train JOB`.
int train_verb(Session& session, const Arguments& arguments);

/// All verbs, in the order of --help.
const std::vector<Verb>& verbs();

/// "gentrain 0.1.0 ...": build, libraries, instruction set.
std::string version_text();

}  // namespace gentrain::jobs
