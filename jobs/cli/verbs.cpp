// The table of verbs.
#include "jobs/cli/verbs.h"

#include <fmt/format.h>

namespace gentrain::jobs {

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table = {
      {"train", "train JOB", "trains; the same as gentrain JOB", train_verb},
  };
  return table;
}

std::string version_text() {
  return fmt::format("gentrain {}\n", GENTRAIN_VERSION);
}

}  // namespace gentrain::jobs
