// status.json and the names of checkpoints.
#include "jobs/launch/run_state.h"

#include <algorithm>
#include <charconv>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "core/io/atomic_file.h"

namespace gentrain::jobs {
namespace {

namespace fs = std::filesystem;

/// The step of "step-000000120.h5", -1 for another name.
std::int64_t step_of(const std::string& name) {
  constexpr std::string_view kBegin = "step-";
  constexpr std::string_view kEnd = ".h5";
  constexpr std::size_t kDigits = 9;
  if (name.size() != kBegin.size() + kDigits + kEnd.size() || !name.starts_with(kBegin) ||
      !name.ends_with(kEnd)) {
    return -1;
  }
  std::int64_t step = -1;
  const char* const begin = name.data() + kBegin.size();
  const auto [end, error] = std::from_chars(begin, begin + kDigits, step);
  return error == std::errc() && end == begin + kDigits ? step : -1;
}

void read_status(const fs::path& path, RunState& state) {
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) {
    return;
  }
  state.mark = fmt::format("{} {}.{:09}", file.st_ino, file.st_mtim.tv_sec, file.st_mtim.tv_nsec);
  std::ifstream stream(path);
  const nlohmann::json status = nlohmann::json::parse(stream, nullptr, false);
  if (!status.is_object()) {
    return;
  }
  const auto name = status.find("state");
  state.finished = name != status.end() && *name == "finished";
  const auto step = status.find("step");
  state.step = step != status.end() && step->is_number_integer() ? step->get<std::int64_t>() : 0;
}

}  // namespace

RunState read_run_state(const fs::path& output) {
  RunState state;
  read_status(output / "status.json", state);
  std::error_code error;
  std::int64_t newest = -1;
  for (const auto& entry : fs::directory_iterator(output / "checkpoints", error)) {
    const std::int64_t step = step_of(entry.path().filename());
    if (step > newest) {
      newest = step;
      state.checkpoint = entry.path();
    }
  }
  state.step = std::max(state.step, newest);
  return state;
}

void remove_temporary_files(const fs::path& output) {
  io::remove_temporary_files(output);
  io::remove_temporary_files(output / "checkpoints");
}

}  // namespace gentrain::jobs
