// What lies in the output folder, and what follows from it.
#include "trainers/resume.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "trainers/checkpoint.h"
#include "trainers/data_source.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

using Kind = Beginning::Kind;
using Mode = ResumeOptions::Mode;

constexpr std::size_t kShownDifferences = 5;

/// "key: value" lines by key.
std::map<std::string, std::string> lines_of(const std::string& text) {
  std::map<std::string, std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) {
      lines[line.substr(0, colon)] = line.substr(colon + 2);
    }
  }
  return lines;
}

/// "optimizer.lr: 0.4 there, 0.1 here; ..."
std::string difference(const std::string& there, const std::string& here) {
  const auto a = lines_of(there);
  const auto b = lines_of(here);
  std::map<std::string, std::string> keys = a;
  keys.insert(b.begin(), b.end());
  std::vector<std::string> parts;
  for (const auto& [key, value] : keys) {
    const auto in_a = a.find(key);
    const auto in_b = b.find(key);
    const std::string left = in_a == a.end() ? "none" : in_a->second;
    const std::string right = in_b == b.end() ? "none" : in_b->second;
    if (left != right) {
      parts.push_back(fmt::format("{}: {} there, {} here", key, left, right));
    }
  }
  const std::size_t more = parts.size() - std::min(parts.size(), kShownDifferences);
  parts.resize(parts.size() - more);
  return fmt::format("{}{}", fmt::join(parts, "; "),
                     more > 0 ? fmt::format("; and {} more keys", more) : "");
}

std::string text_in(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

/// A checkpoint as bytes, for the other ranks, and read.
struct Candidate {
  std::string path;
  std::string bytes;
  io::ArrayFile file;
};

io::Bytes as_bytes(const std::string& text) {
  io::Bytes bytes = io::make_bytes(text.size());
  std::copy(text.begin(), text.end(), bytes.data.get());
  return bytes;
}

Candidate read_candidate(const fs::path& path) {
  const io::Bytes bytes = io::read_file(path);
  Candidate candidate;
  candidate.path = path.string();
  candidate.bytes.assign(reinterpret_cast<const char*>(bytes.data.get()), bytes.size);
  candidate.file =
      io::parse_array_file(candidate.path, as_bytes(candidate.bytes), io::FileKind::kCheckpoint);
  return candidate;
}

/// The newest checkpoint of a folder that is whole.
std::optional<Candidate> newest_valid(const RunFolder& folder) {
  const std::vector<std::int64_t> steps = folder.checkpoints();
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    try {
      return read_candidate(folder.checkpoint(*step));
    } catch (const IoError& error) {
      spdlog::warn("{}: passed over", error.what());
    }
  }
  return std::nullopt;
}

void require_same_job(const fs::path& where, const std::string& there, const std::string& here) {
  if (there != here) {
    throw JobError(fmt::format(
        "{} holds a run of another job ({}): start anew over it with --overwrite, or write "
        "elsewhere with --set output=FOLDER",
        where.string(), difference(there, here)));
  }
}

class Chooser {
 public:
  Chooser(const RunSetting& setting, const TrainOptions& options, const RunFolder& folder)
      : setting_(setting), options_(options), folder_(folder) {}

  Kind choose() {
    const bool holds_run = folder_.holds_run();
    if (setting_.resume.mode == Mode::kPath) {
      return from_path(holds_run);
    }
    if (!holds_run || setting_.overwrite) {
      return Kind::kAnew;
    }
    const nlohmann::json run = folder_.read_run();
    if (setting_.resume.mode == Mode::kNever || text_in(run, "same_job").empty()) {
      throw JobError(fmt::format(
          "{} holds a run already: start anew over it with --overwrite, or write elsewhere with "
          "--set output=FOLDER",
          folder_.path().string()));
    }
    require_same_job(folder_.path(), text_in(run, "same_job"), setting_.same_job);
    return auto_with(text_in(run, "identity") == setting_.identity);
  }

  [[nodiscard]] const std::optional<Candidate>& candidate() const { return candidate_; }

 private:
  Kind auto_with(bool same_stop) {
    std::error_code error;
    const bool finished = folder_.is_finished() &&
                          (options_.checkpoint.every.unit == CheckpointOptions::Unit::kNever ||
                           fs::exists(folder_.model(), error));
    if (finished && same_stop) {
      spdlog::info("{} holds this run, finished: there is nothing to do", folder_.path().string());
      return Kind::kFinished;
    }
    candidate_ = newest_valid(folder_);
    if (candidate_) {
      return Kind::kGoesOn;
    }
    if (finished) {
      throw JobError(fmt::format(
          "{} holds this run, finished with another stop, but no checkpoint to go on from: start "
          "anew with --overwrite",
          folder_.path().string()));
    }
    spdlog::warn(
        "{} holds an unfinished run without a valid checkpoint: it starts from the "
        "beginning",
        folder_.path().string());
    return Kind::kAnew;
  }

  Kind from_path(bool holds_run) {
    const fs::path& path = setting_.resume.path;
    std::error_code error;
    if (fs::is_directory(path, error)) {
      candidate_ = newest_valid(RunFolder(path));
      if (!candidate_) {
        throw IoError(
            fmt::format("--resume {}: there is no valid checkpoint in its folder "
                        "checkpoints",
                        path.string()));
      }
    } else {
      candidate_ = read_candidate(path);
    }
    const fs::path from = fs::weakly_canonical(candidate_->path, error).parent_path();
    const bool inside = from == fs::weakly_canonical(folder_.path() / "checkpoints", error);
    if (holds_run && !inside && !setting_.overwrite) {
      throw JobError(fmt::format(
          "{} holds a run already and {} is not its checkpoint: start over it with --overwrite, or "
          "write elsewhere with --set output=FOLDER",
          folder_.path().string(), candidate_->path));
    }
    require_same_job(candidate_->path, text_in(candidate_->file.header, "same_job"),
                     setting_.same_job);
    return Kind::kGoesOn;
  }

  const RunSetting& setting_;
  const TrainOptions& options_;
  const RunFolder& folder_;
  std::optional<Candidate> candidate_;
};

}  // namespace

Beginning choose_beginning(const RunSetting& setting, const TrainOptions& options,
                           const RunFolder& folder, comm::Communicator& communicator) {
  const bool first_rank = communicator.rank() == 0;
  Beginning beginning;
  Chooser chooser(setting, options, folder);
  std::string path;
  std::string bytes;
  if (first_rank) {
    beginning.kind = chooser.choose();
    if (chooser.candidate()) {
      path = chooser.candidate()->path;
      bytes = chooser.candidate()->bytes;
      beginning.checkpoint = chooser.candidate()->file;
    }
  }
  struct {
    Kind kind;
    std::size_t path;
    std::size_t bytes;
  } sizes{beginning.kind, path.size(), bytes.size()};
  communicator.broadcast({&sizes, sizeof sizes}, 0);
  path.resize(sizes.path);
  bytes.resize(sizes.bytes);
  communicator.broadcast({path.data(), path.size()}, 0);
  communicator.broadcast({bytes.data(), bytes.size()}, 0);
  beginning.kind = sizes.kind;
  beginning.source = path;
  if (!first_rank && sizes.kind == Kind::kGoesOn) {
    beginning.checkpoint = io::parse_array_file(path, as_bytes(bytes), io::FileKind::kCheckpoint);
  }
  return beginning;
}

namespace {

/// Stages that ended before the checkpoint cannot be gone on with.
void check_stops(const std::string& source, const nlohmann::json& header,
                 const LoopPosition& position, const std::vector<Stage>& stages,
                 const LoopOptions& options) {
  const auto planned = header.at("planned_steps").get<std::vector<std::int64_t>>();
  for (std::int64_t i = 0; i < position.stage; ++i) {
    const Stage& stage = stages[static_cast<std::size_t>(i)];
    if (planned_steps(stage.stop, options) != planned.at(static_cast<std::size_t>(i))) {
      throw JobError(fmt::format(
          "{}: stage {} has ended and stage {} has begun: the stop of {} cannot be changed any "
          "more",
          source, stage.name, stages[static_cast<std::size_t>(position.stage)].name, stage.name));
    }
  }
  const Stage& stage = stages[static_cast<std::size_t>(position.stage)];
  if (const std::int64_t now = planned_steps(stage.stop, options); now < position.stage_step) {
    throw JobError(fmt::format("{}: stage {} has taken {} steps already, but its stop is now at {}",
                               source, stage.name, position.stage_step, now));
  }
}

}  // namespace

LoopPosition go_on(const Beginning& beginning, ClassifierRun& run, const std::vector<Stage>& stages,
                   const std::vector<Observer*>& observers) {
  const nlohmann::json& header = beginning.checkpoint.header;
  const std::string data = data_identity(run.data());
  if (text_in(header, "data_identity") != data) {
    throw JobError(fmt::format("{}: the run was on other data ({}) than there are now ({})",
                               beginning.source, text_in(header, "data"),
                               run.data().train->description()));
  }
  const LoopPosition position = restore(beginning.checkpoint, beginning.source, run, observers);
  check_stops(beginning.source, header, position, stages, run.loop_options());
  if (const std::string there = text_in(header, "contract"); there != run.contract()) {
    spdlog::warn(
        "another contract than the checkpoint's: {} there, {} here: the bytes will differ "
        "from those of an undisturbed run",
        there, run.contract());
  }
  spdlog::info("going on from {}", beginning.source);
  return position;
}

nlohmann::json checkpoint_header(const RunSetting& setting, const ClassifierRun& run,
                                 const std::vector<Stage>& stages) {
  nlohmann::json planned = nlohmann::json::array();
  for (const Stage& stage : stages) {
    planned.push_back(planned_steps(stage.stop, run.loop_options()));
  }
  return {{"job", setting.job},
          {"same_job", setting.same_job},
          {"contract", run.contract()},
          {"data", run.data().train->description()},
          {"data_identity", data_identity(run.data())},
          {"planned_steps", planned}};
}

}  // namespace gentrain::trainers
