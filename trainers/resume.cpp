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
#include "trainers/json_members.h"

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

/// The checkpoint if it is whole and `same_job`'s, else nothing but a warning. A bad sector is
/// damage; what cannot be read for another reason is not: IoError.
std::optional<Candidate> usable(const fs::path& path, const std::string& same_job) {
  io::Bytes bytes;
  try {
    bytes = io::read_file(path);
  } catch (const io::MediumError& error) {
    spdlog::warn("{}: passed over", error.what());
    return std::nullopt;
  }
  try {
    Candidate candidate = read_candidate(path, std::move(bytes));
    if (text_in(candidate.file.header, "same_job") == same_job) {
      return candidate;
    }
    spdlog::warn("{} is another job's: passed over", path.string());
  } catch (const IoError& error) {
    spdlog::warn("{}: passed over", error.what());
  }
  return std::nullopt;
}

/// The newest usable checkpoint of a folder. What is passed over is added to a list.
std::optional<Candidate> newest_valid(const RunFolder& folder, const std::string& same_job,
                                      std::vector<std::int64_t>& passed_over) {
  const std::vector<std::int64_t> steps = folder.checkpoints();
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (auto candidate = usable(folder.checkpoint(*step), same_job)) {
      return candidate;
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

/// A path that means the same from every working directory.
fs::path whole_path(const fs::path& path) {
  std::error_code error;
  return fs::weakly_canonical(fs::absolute(path), error);
}

class Chooser {
 public:
  Chooser(const RunSetting& setting, const TrainOptions& options, const RunFolder& folder)
      : setting_(setting), options_(options), folder_(folder), run_(folder.read_run()) {}

  /// As is_done().
  [[nodiscard]] bool done() const {
    std::error_code error;
    const bool same = text_in(run_, "identity") == setting_.identity && !setting_.overwrite;
    return same && finished() &&
           (setting_.resume.mode == Mode::kAuto || again() ||
            (setting_.resume.mode == Mode::kPath && names_the_newest()));
  }

  Beginning choose() {
    if (done()) {
      spdlog::info("{} holds this run, finished: there is nothing to do", folder_.path().string());
      Beginning beginning;
      beginning.kind = Kind::kFinished;
      beginning.earlier = RunFolder::Earlier::kStays;
      return beginning;
    }
    const bool holds_run = folder_.holds_run();
    if (setting_.resume.mode == Mode::kPath && !(holds_run && again())) {
      return from_path(holds_run);
    }
    if (!holds_run || setting_.overwrite) {
      return {};
    }
    if (setting_.resume.mode == Mode::kNever || text_in(run_, "same_job").empty()) {
      throw JobError(fmt::format(
          "{} holds a run already: start anew over it with --overwrite, or write elsewhere with "
          "--set output=FOLDER",
          folder_.path().string()));
    }
    require_same_job(folder_.path(), text_in(run_, "same_job"), setting_.same_job);
    return go_on_here();
  }

  /// What the beginning goes on from, if it does.
  [[nodiscard]] std::optional<Candidate>& candidate() { return candidate_; }

 private:
  [[nodiscard]] bool finished() const {
    std::error_code error;
    return folder_.is_finished() &&
           (options_.checkpoint.every.unit == CheckpointOptions::Unit::kNever ||
            fs::exists(folder_.model(), error));
  }

  /// Whether this is the same command again, after one that began with a named checkpoint.
  [[nodiscard]] bool again() const {
    return setting_.resume.mode == Mode::kPath && !setting_.overwrite &&
           text_in(run_, "from") == whole_path(setting_.resume.path).string() &&
           text_in(run_, "same_job") == setting_.same_job;
  }

  /// Whether --resume names this folder, or its newest checkpoint.
  [[nodiscard]] bool names_the_newest() const {
    const fs::path named = whole_path(setting_.resume.path);
    const std::vector<std::int64_t> steps = folder_.checkpoints();
    return named == whole_path(folder_.path()) ||
           (!steps.empty() && named == whole_path(folder_.checkpoint(steps.back())));
  }

  Beginning go_on_here() {
    Beginning beginning;
    beginning.earlier = RunFolder::Earlier::kStays;
    beginning.from = text_in(run_, "from");
    candidate_ = newest_valid(folder_, setting_.same_job, beginning.passed_over);
    if (candidate_) {
      beginning.kind = Kind::kGoesOn;
      return beginning;
    }
    if (finished()) {
      throw JobError(fmt::format(
          "{} holds this run, finished with another stop, but no checkpoint to go on from: start "
          "anew with --overwrite",
          folder_.path().string()));
    }
    beginning.earlier = RunFolder::Earlier::kCheckpointsStay;
    if (!beginning.from.empty()) {
      beginning.kind = Kind::kGoesOn;
      candidate_ = named(beginning.from);
      return beginning;
    }
    spdlog::warn(
        "{} holds an unfinished run without a valid checkpoint: it starts from the "
        "beginning",
        folder_.path().string());
    return beginning;
  }

  /// The checkpoint that --resume names: a file, or the newest of a run's folder.
  [[nodiscard]] Candidate named(const fs::path& path) const {
    if (!io::is_there(path)) {
      throw IoError(fmt::format(
          "--resume {}: there is no such checkpoint or folder (known words: auto, never)",
          path.string()));
    }
    if (std::error_code ignored; !fs::is_directory(path, ignored)) {
      Candidate candidate = read_candidate(path, io::read_file(path));
      require_same_job(candidate.path, text_in(candidate.file.header, "same_job"),
                       setting_.same_job);
      return candidate;
    }
    std::vector<std::int64_t> passed_over;  // of another folder
    std::optional<Candidate> candidate =
        newest_valid(RunFolder(path), setting_.same_job, passed_over);
    if (!candidate) {
      throw IoError(fmt::format(
          "--resume {}: there is no valid checkpoint of this job in its folder checkpoints",
          path.string()));
    }
    return std::move(*candidate);
  }

  Beginning from_path(bool holds_run) {
    Beginning beginning;
    beginning.kind = Kind::kGoesOn;
    beginning.from = whole_path(setting_.resume.path).string();
    candidate_ = named(setting_.resume.path);
    const bool inside =
        whole_path(candidate_->path).parent_path() == whole_path(folder_.path() / "checkpoints");
    if (holds_run && !inside && !setting_.overwrite) {
      throw JobError(fmt::format(
          "{} holds a run already and {} is not its checkpoint: start over it with --overwrite, or "
          "write elsewhere with --set output=FOLDER",
          folder_.path().string(), candidate_->path));
    }
    if (inside) {
      beginning.earlier = RunFolder::Earlier::kStays;
    }
    return beginning;
  }

  const RunSetting& setting_;
  const TrainOptions& options_;
  const RunFolder& folder_;
  const nlohmann::json run_;  // run.json; null: none
  std::optional<Candidate> candidate_;
};

}  // namespace

bool is_done(const RunSetting& setting, const TrainOptions& options, const RunFolder& folder) {
  return Chooser(setting, options, folder).done();
}

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
  const std::string objective = run.objective().identity();
  if (const std::string there = text_in(header, "objective"); there != objective) {
    throw JobError(fmt::format("{}: the run was trained with {}, but now there is {}",
                               beginning.source, there.empty() ? "no such weights" : there,
                               objective.empty() ? "none" : objective));
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
  const ModelOptions model = run.description(nullptr).model;
  return {{"job", setting.job},
          {"same_job", setting.same_job},
          {"contract", run.contract()},
          {"data", run.data().train->description()},
          {"data_identity", run.data_identity()},
          {"objective", run.objective().identity()},
          {"network", model.imported.network},  // of the file that an imported one is out of
          {"planned_steps", planned}};
}

}  // namespace gentrain::trainers
