// What the folder of a run says of how far it got.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace gentrain::jobs {

struct RunState {
  bool finished = false;             // status.json says so
  std::int64_t step = 0;             // of status.json, or of the newest checkpoint if that is more
  std::filesystem::path checkpoint;  // the newest by its name; empty: there is none
  std::string mark;                  // differs whenever status.json was written anew; empty: none
};

/// Reads a run's folder, which need not exist. What is unreadable counts as not there.
RunState read_run_state(const std::filesystem::path& output);

}  // namespace gentrain::jobs
