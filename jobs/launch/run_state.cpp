// status.json and the names of checkpoints.
#include "jobs/launch/run_state.h"

#include <algorithm>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "kernels/error.h"
#include "trainers/run_folder.h"

namespace gentrain::jobs {
namespace {

namespace fs = std::filesystem;

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
  try {
    const trainers::RunFolder folder(output);
    if (const std::vector<std::int64_t> steps = folder.checkpoints(); !steps.empty()) {
      state.checkpoint = folder.checkpoint(steps.back());
      state.step = std::max(state.step, steps.back());
    }
  } catch (const IoError&) {  // the ranks will say what is wrong with it
  }
  return state;
}

}  // namespace gentrain::jobs
