// Taking, writing and restoring checkpoints.
#include "trainers/checkpoint.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "kernels/error.h"
#include "trainers/model_io.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace {

using Unit = CheckpointOptions::Unit;

Update& update_of(TrainingRun& run, std::int64_t stage) {
  return *run.updates().at(static_cast<std::size_t>(stage));
}

std::string newest_text(const RunFolder& folder) {
  const auto steps = folder.checkpoints();
  return steps.empty() ? "there is none"
                       : fmt::format("the newest is {}", folder.checkpoint(steps.back()).string());
}

}  // namespace

CheckpointWriter::CheckpointWriter(RunFolder& folder, std::int64_t keep,
                                   std::function<void()> check)
    : folder_(folder), keep_(keep), check_(std::move(check)) {}

CheckpointWriter::~CheckpointWriter() {
  if (result_.valid()) {
    result_.wait();
  }
}

std::optional<std::int64_t> CheckpointWriter::writing() const {
  const bool done =
      !result_.valid() || result_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  return done ? std::nullopt : std::optional(step_);
}

void CheckpointWriter::start(Snapshot snapshot) {
  if (result_.valid()) {
    result_.wait();
  }
  step_ = snapshot.step;
  const auto failed = [this](const std::exception& error) {
    std::string text = fmt::format("the checkpoint of step {} is not written: {}; {}", step_,
                                   error.what(), newest_text(folder_));
    spdlog::error("{}", text);
    return text;
  };
  try {
    folder_.flush_metrics();  // its lines stand before the checkpoint does
  } catch (const IoError& error) {
    std::promise<std::string> ended;
    result_ = ended.get_future();
    ended.set_value(failed(error));
    return;
  }
  result_ =
      std::async(std::launch::async, [this, failed, taken = std::move(snapshot)]() -> std::string {
        try {
          write(taken);
          return "";
        } catch (const std::exception& error) {
          return failed(error);
        }
      });
}

void CheckpointWriter::finish() {
  if (!result_.valid()) {
    return;
  }
  const std::string error = result_.get();
  if (!error.empty()) {
    throw IoError(error);
  }
}

void CheckpointWriter::write(const Snapshot& snapshot) {
  folder_.sync_metrics();
  io::write_array_file(folder_.checkpoint(snapshot.step), snapshot.file, check_);
  std::vector<std::int64_t> steps = folder_.checkpoints();
  std::error_code ignored;
  std::erase(discarded_, snapshot.step);
  for (const std::int64_t step : discarded_) {
    std::filesystem::remove(folder_.checkpoint(step), ignored);
    std::erase(steps, step);
  }
  discarded_.clear();
  std::erase_if(steps, [&](std::int64_t step) { return step > snapshot.step; });
  const auto old = static_cast<std::ptrdiff_t>(steps.size()) - keep_;
  for (std::ptrdiff_t i = 0; i < old; ++i) {
    const std::int64_t step = steps[static_cast<std::size_t>(i)];
    if (step != snapshot.best_step) {
      std::filesystem::remove(folder_.checkpoint(step), ignored);
    }
  }
}

Checkpointer::Checkpointer(TrainingRun& run, nlohmann::json header,
                           std::vector<Observer*> observers, CheckpointWriter* writer,
                           std::function<std::int64_t()> best_step)
    : run_(run),
      header_(std::move(header)),
      observers_(std::move(observers)),
      writer_(writer),
      best_step_(std::move(best_step)) {}

bool Checkpointer::due(const StepReport& to_come) const {
  const CheckpointOptions::Interval& every = run_.options().checkpoint.every;
  switch (every.unit) {
    case Unit::kSteps:
      return (to_come.step + 1) % every.count == 0;
    case Unit::kEpochs:
      return to_come.ends_epoch && (to_come.epoch + 1) % every.count == 0;
    case Unit::kSeconds:
      return std::chrono::steady_clock::now() - last_time_ >= std::chrono::seconds(every.count);
    case Unit::kEnd:
    case Unit::kNever:
      break;
  }
  return false;
}

/// Rank 0 alone knows the time and whether it is still writing.
Wishes Checkpointer::wishes(const StepReport& to_come) {
  if (writer_ == nullptr || !due(to_come)) {
    return {};
  }
  if (const auto step = writer_->writing()) {
    if (std::exchange(skipped_for_, *step) != *step) {
      spdlog::info("the checkpoint of step {} is skipped: that of step {} is still being written",
                   to_come.step + 1, *step);
    }
    return {};
  }
  return {.stop = false, .checkpoint = true};
}

void Checkpointer::after_step(const StepReport& report) {
  const Unit unit = run_.options().checkpoint.every.unit;
  const bool best = unit != Unit::kEnd && unit != Unit::kNever && best_step_() == report.step + 1;
  if (report.wishes.checkpoint || best) {
    take(report.position());
  }
}

void Checkpointer::end(const LoopPosition& position, LoopEnd /*end*/) {
  if (run_.options().checkpoint.every.unit != Unit::kNever && position.step != last_step_) {
    take(position);
  }
  if (writer_ != nullptr) {
    const comm::PhaseScope writing(run_.communicator().activity(), comm::Phase::kWriting);
    writer_->finish();
  }
}

void Checkpointer::take(const LoopPosition& position) {
  last_step_ = position.step;
  last_time_ = std::chrono::steady_clock::now();
  Queue& queue = run_.runner().queue();
  Update& update = update_of(run_, position.stage);
  const auto states = update.gather_state(queue, 0);
  if (writer_ == nullptr) {
    return;
  }
  Snapshot snapshot;
  snapshot.step = position.step;
  snapshot.file.kind = io::FileKind::kCheckpoint;
  ObserverState observed;
  for (const Observer* observer : observers_) {
    observer->save(observed);
  }
  snapshot.best_step = observed.values.value("best_step", std::int64_t{0});
  nlohmann::json& header = snapshot.file.header;
  header = header_;
  header["step"] = position.step;
  header["position"] = {{"stage", position.stage},
                        {"stage_step", position.stage_step},
                        {"first_epoch", position.first_epoch}};
  header["observers"] = std::move(observed.values);
  const ParameterSet& parameters = run_.parameters();
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    snapshot.file.arrays.push_back({"weights/" + info.name, info.shape,
                                    copy_to_host<float>(run_.device(), queue, parameters[i])});
  }
  const std::vector<std::string> names = update.optimizer().state_names();
  for (std::size_t s = 0; s < states.size(); ++s) {
    add_arena(snapshot.file.arrays, "optimizer/" + names[s], parameters, states[s]);
  }
  std::move(observed.arrays.begin(), observed.arrays.end(),
            std::back_inserter(snapshot.file.arrays));
  writer_->start(std::move(snapshot));
}

namespace {

LoopPosition position_in(const nlohmann::json& header) {
  const nlohmann::json& position = header.at("position");
  return {position.at("stage").get<std::int64_t>(), position.at("stage_step").get<std::int64_t>(),
          header.at("step").get<std::int64_t>(), position.at("first_epoch").get<std::int64_t>()};
}

}  // namespace

LoopPosition restore(const io::ArrayFile& checkpoint, const std::string& source, TrainingRun& run,
                     const std::vector<Observer*>& observers) {
  Queue& queue = run.runner().queue();
  ParameterSet& parameters = run.parameters();
  try {
    const LoopPosition position = position_in(checkpoint.header);
    if (position.stage < 0 || position.stage >= std::ssize(run.updates()) || position.step < 1 ||
        position.stage_step < 1 || position.first_epoch < 0) {
      throw IoError(source + ": its position is none of this job's");
    }
    for (int i = 0; i < parameters.size(); ++i) {
      const ParameterInfo& info = parameters.info(i);
      copy_from_host<float>(
          run.device(), queue,
          values_of(checkpoint.arrays, "weights/" + info.name, info.shape, source), parameters[i]);
    }
    parameters.mark_changed();
    Update& update = update_of(run, position.stage);
    std::vector<std::vector<float>> states;
    for (const std::string& name : update.optimizer().state_names()) {
      states.push_back(arena_of(checkpoint.arrays, "optimizer/" + name, parameters, source));
    }
    update.set_state(queue, states);
    const ObserverState observed{checkpoint.header.at("observers"), checkpoint.arrays, source};
    for (Observer* observer : observers) {
      observer->restore(observed);
    }
    return position;
  } catch (const nlohmann::json::exception& error) {
    throw IoError(
        fmt::format("{}: the header is not that of a checkpoint: {}", source, error.what()));
  }
}

}  // namespace gentrain::trainers
