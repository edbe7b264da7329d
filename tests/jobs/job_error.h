// What is wrong with a job file, as a text.
#pragma once

#include <string>
#include <vector>

#include "jobs/cli/job.h"
#include "kernels/error.h"

namespace gentrain::jobs {

/// What parse_job says about a text, "" if it takes it.
inline std::string error_of(const std::string& text,
                            const std::vector<std::string>& overrides = {}) {
  try {
    parse_job(text, "j.yaml", overrides);
  } catch (const JobError& error) {
    return error.what();
  }
  return "";
}

}  // namespace gentrain::jobs
