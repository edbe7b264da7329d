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
  io::Bytes bytes;
  io::ArrayFile file;
};

Candidate read_candidate(const fs::path& path, io::Bytes bytes) {
  Candidate candidate;
  candidate.path = path.string();
  candidate.bytes = std::move(bytes);
  candidate.file = io::parse_array_file(candidate.path, candidate.bytes, io::FileKind::kCheckpoint);
  return candidate;
}

/// The newest checkpoint of a folder that is whole and `same_job`'s. What is passed over is added
/// to a list.
std::optional<Candidate> newest_valid(const RunFolder& folder, const std::string& same_job,
                                      std::vector<std::int64_t>& passed_over) {
  const std::vector<std::int64_t> steps = folder.checkpoints();
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const fs::path path = folder.checkpoint(*step);
    io::Bytes bytes = io::read_file(path);  // what cannot be read at all is no damage
    try {
      Candidate candidate = read_candidate(path, std::move(bytes));
      if (text_in(candidate.file.header, "same_job") == same_job) {
        return candidate;
      }
      spdlog::warn("{} is another job's: passed over", path.string());
    } catch (const IoError& error) {
      spdlog::warn("{}: passed over", error.what());
    }
    passed_over.push_back(*step);
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

  Beginning choose() {
    const bool holds_run = folder_.holds_run();
    const nlohmann::json run = folder_.read_run();
    // The same command again, after one that began with a named checkpoint.
    const bool again = holds_run && setting_.resume.mode == Mode::kPath &&
                       text_in(run, "from") == setting_.resume.path.string() &&
                       text_in(run, "same_job") == setting_.same_job;
    if (setting_.resume.mode == Mode::kPath && (!again || setting_.overwrite)) {
      return from_path(holds_run);
    }
    if (!holds_run || setting_.overwrite) {
      return {};
    }
    if (setting_.resume.mode == Mode::kNever || text_in(run, "same_job").empty()) {
      throw JobError(fmt::format(
          "{} holds a run already: start anew over it with --overwrite, or write elsewhere with "
          "--set output=FOLDER",
          folder_.path().string()));
    }
    require_same_job(folder_.path(), text_in(run, "same_job"), setting_.same_job);
    return auto_with(text_in(run, "identity") == setting_.identity);
  }

  /// What the beginning goes on from, if it does.
  [[nodiscard]] std::optional<Candidate>& candidate() { return candidate_; }

 private:
  Beginning auto_with(bool same_stop) {
    std::error_code error;
    const bool finished = folder_.is_finished() &&
                          (options_.checkpoint.every.unit == CheckpointOptions::Unit::kNever ||
                           fs::exists(folder_.model(), error));
    Beginning beginning;
    beginning.earlier = RunFolder::Earlier::kStays;
    if (finished && same_stop) {
      spdlog::info("{} holds this run, finished: there is nothing to do", folder_.path().string());
      beginning.kind = Kind::kFinished;
      return beginning;
    }
    candidate_ = newest_valid(folder_, setting_.same_job, beginning.passed_over);
    if (candidate_) {
      beginning.kind = Kind::kGoesOn;
      return beginning;
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
    beginning.earlier = RunFolder::Earlier::kCheckpointsStay;
    return beginning;
  }

  Beginning from_path(bool holds_run) {
    const fs::path& path = setting_.resume.path;
    std::error_code error;
    Beginning beginning;
    beginning.kind = Kind::kGoesOn;
    if (fs::is_directory(path, error)) {
      std::vector<std::int64_t> passed_over;  // of another folder
      candidate_ = newest_valid(RunFolder(path), setting_.same_job, passed_over);
      if (!candidate_) {
        throw IoError(
            fmt::format("--resume {}: there is no valid checkpoint of this job in its folder "
                        "checkpoints",
                        path.string()));
      }
    } else {
      candidate_ = read_candidate(path, io::read_file(path));
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
    if (inside) {
      beginning.earlier = RunFolder::Earlier::kStays;
    }
    return beginning;
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
  io::Bytes bytes;
  if (first_rank) {
    beginning = chooser.choose();
    if (auto& candidate = chooser.candidate()) {
      beginning.source = std::move(candidate->path);
      beginning.checkpoint = std::move(candidate->file);
      bytes = std::move(candidate->bytes);
    }
  }
  struct {
    Kind kind;
    RunFolder::Earlier earlier;
    std::size_t path;
    std::size_t bytes;
  } sizes{beginning.kind, beginning.earlier, beginning.source.size(), bytes.size};
  communicator.broadcast({&sizes, sizeof sizes}, 0);
  if (!first_rank) {
    bytes = io::make_bytes(sizes.bytes);
  }
  beginning.kind = sizes.kind;
  beginning.earlier = sizes.earlier;
  beginning.source.resize(sizes.path);
  communicator.broadcast({beginning.source.data(), sizes.path}, 0);
  communicator.broadcast({bytes.data.get(), sizes.bytes}, 0);
  if (!first_rank && sizes.kind == Kind::kGoesOn) {
    beginning.checkpoint = io::parse_array_file(beginning.source, bytes, io::FileKind::kCheckpoint);
  }
  return beginning;
}

namespace {

/// The parts of a contract that another one has not.
std::string parts_without(const std::string& contract, const std::string& other) {
  const auto split = [](const std::string& text) {
    std::vector<std::string> parts;
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t end = std::min(text.find(", ", at), text.size());
      parts.push_back(text.substr(at, end - at));
      at = end + 2;
    }
    return parts;
  };
  std::vector<std::string> parts = split(contract);
  const std::vector<std::string> known = split(other);
  std::erase_if(parts, [&](const std::string& part) {
    return std::find(known.begin(), known.end(), part) != known.end();
  });
  return fmt::format("{}", fmt::join(parts, ", "));
}

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

LoopPosition go_on(const Beginning& beginning, TrainingRun& run, const std::vector<Stage>& stages,
                   const std::vector<Observer*>& observers) {
  const nlohmann::json& header = beginning.checkpoint.header;
  if (text_in(header, "data_identity") != run.data_identity()) {
    throw JobError(fmt::format("{}: the run was on other data ({}) than there are now ({})",
                               beginning.source, text_in(header, "data"),
                               run.data().train->description()));
  }
  const LoopPosition position = restore(beginning.checkpoint, beginning.source, run, observers);
  check_stops(beginning.source, header, position, stages, run.loop_options());
  return position;
}

void say_going_on(const Beginning& beginning, const TrainingRun& run) {
  spdlog::info("going on from {}", beginning.source);
  const std::string there = text_in(beginning.checkpoint.header, "contract");
  const std::string here = run.contract();
  if (there != here) {
    spdlog::warn(
        "another contract than the checkpoint's ({} there, {} here): the bytes will differ from "
        "those of an undisturbed run",
        parts_without(there, here), parts_without(here, there));
  }
}

nlohmann::json checkpoint_header(const RunSetting& setting, TrainingRun& run,
                                 const std::vector<Stage>& stages) {
  nlohmann::json planned = nlohmann::json::array();
  for (const Stage& stage : stages) {
    planned.push_back(planned_steps(stage.stop, run.loop_options()));
  }
  return {{"job", setting.job},
          {"same_job", setting.same_job},
          {"contract", run.contract()},
          {"data", run.data().train->description()},
          {"data_identity", run.data_identity()},
          {"planned_steps", planned}};
}

}  // namespace gentrain::trainers
