// Taking, writing and restoring checkpoints.
#include "trainers/checkpoint.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/model_io.h"
#include "trainers/run_lock.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace {

using Unit = CheckpointOptions::Unit;

Update& update_of(TrainingRun& run, std::int64_t stage) {
  return *run.updates().at(static_cast<std::size_t>(stage));
}

std::string newest_text(const RunFolder& folder) {
  try {
    const auto steps = folder.checkpoints();
    return steps.empty()
               ? "there is none"
               : fmt::format("the newest is {}", folder.checkpoint(steps.back()).string());
  } catch (const IoError& error) {
    return error.what();
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(RunFolder& folder, const ParameterSet& parameters,
                                   std::int64_t keep)
    : folder_(folder), parameters_(parameters), keep_(keep) {}

CheckpointWriter::~CheckpointWriter() {
  if (result_.valid()) {
    result_.wait();
  }
}

/// Takes the result of the one under way, waiting for it.
void CheckpointWriter::collect() {
  if (result_.valid()) {
    error_ = result_.get();
  }
}

std::optional<std::int64_t> CheckpointWriter::writing() {
  if (result_.valid() && result_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    return step_;
  }
  collect();
  return std::nullopt;
}

std::string CheckpointWriter::failed(std::int64_t step, const std::exception& error) const {
  std::string text = fmt::format("the checkpoint of step {} is not written: {}; {}", step,
                                 error.what(), newest_text(folder_));
  spdlog::error("{}", text);
  return text;
}

void CheckpointWriter::start(Snapshot snapshot) {
  collect();
  step_ = snapshot.step;
  try {
    folder_.flush_metrics();  // its lines stand before the checkpoint does
  } catch (const LostLockError&) {
    throw;
  } catch (const IoError& error) {
    error_ = failed(step_, error);
    return;
  }
  result_ = std::async(std::launch::async, [this, taken = std::move(snapshot)]() mutable {
    return write(std::move(taken));
  });
}

void CheckpointWriter::finish() {
  collect();
  spare_.clear();
  if (!error_.empty()) {
    throw IoError(error_);
  }
}

std::vector<float> CheckpointWriter::spare() {
  const std::lock_guard lock(mutex_);
  if (spare_.empty()) {
    return {};
  }
  std::vector<float> one = std::move(spare_.back());
  spare_.pop_back();
  return one;
}

/// The arrays of a snapshot, where they lie.
io::ArrayViews CheckpointWriter::views_of(const Snapshot& snapshot) const {
  io::ArrayViews views{io::FileKind::kCheckpoint, snapshot.header, {}};
  for (const Snapshot::Arena& arena : snapshot.arenas) {
    for (int i = 0; i < parameters_.size(); ++i) {
      const ParameterInfo& info = parameters_.info(i);
      const auto values = std::span(arena.values)
                              .subspan(static_cast<std::size_t>(info.offset),
                                       static_cast<std::size_t>(info.shape.elements()));
      views.arrays.push_back({fmt::format("{}/{}", arena.prefix, info.name), info.shape,
                              io::ElementType::kF32, std::as_bytes(values)});
    }
  }
  for (const io::NamedArray& array : snapshot.observers) {
    views.arrays.push_back(io::view_of(array));
  }
  return views;
}

std::string CheckpointWriter::write(Snapshot snapshot) {
  const progress::Background background;
  std::string error;
  try {
    folder_.sync_metrics();
    io::write_array_views(folder_.checkpoint(snapshot.step), views_of(snapshot),
                          [this] { folder_.check_lock(); });
    remove_old(snapshot);
  } catch (const LostLockError&) {
    throw;
  } catch (const std::exception& caught) {
    error = failed(snapshot.step, caught);
  }
  const std::lock_guard lock(mutex_);
  spare_.clear();
  for (Snapshot::Arena& arena : snapshot.arenas) {
    spare_.push_back(std::move(arena.values));
  }
  return error;
}

void CheckpointWriter::remove_old(const Snapshot& snapshot) {
  std::vector<std::int64_t> steps = folder_.checkpoints();
  std::error_code ignored;
  std::erase(discarded_, snapshot.step);
  for (const std::int64_t step : discarded_) {
    std::filesystem::remove(folder_.checkpoint(step), ignored);
    std::erase(steps, step);
  }
  discarded_.clear();
  std::erase_if(steps, [&](std::int64_t step) { return step > snapshot.step; });
  const auto best = snapshot.best_step == 0
                        ? steps.end()
                        : std::lower_bound(steps.begin(), steps.end(), snapshot.best_step);
  const auto newest = steps.end() - std::min<std::int64_t>(keep_, std::ssize(steps));
  for (auto step = steps.begin(); step != newest; ++step) {
    if (step != best) {
      std::filesystem::remove(folder_.checkpoint(*step), ignored);
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
  if (every.unit == Unit::kSeconds) {
    return std::chrono::steady_clock::now() - last_time_ >= std::chrono::seconds(every.count);
  }
  return is_due(every, to_come);
}

void Checkpointer::skip(std::int64_t step, std::int64_t writing) {
  if (std::exchange(skipped_for_, writing) != writing) {
    spdlog::info("the checkpoint of step {} is skipped: that of step {} is still being written",
                 step, writing);
  }
}

/// Rank 0 alone knows the time and whether it is still writing.
Wishes Checkpointer::wishes(const StepReport& to_come) {
  if (writer_ == nullptr) {
    return {};
  }
  const auto writing = writer_->writing();
  const bool is_due = due(to_come);
  if (writing && is_due) {
    skip(to_come.step + 1, *writing);
  }
  return {.stop = false, .checkpoint = !writing && (is_due || best_is_owed_)};
}

void Checkpointer::after_step(const StepReport& report) {
  const Unit unit = run_.options().checkpoint.every.unit;
  const bool best = unit != Unit::kEnd && unit != Unit::kNever && best_step_() == report.step + 1;
  if (report.wishes.checkpoint) {
    last_step_ = report.step + 1;
  }
  if (report.wishes.checkpoint || best) {
    take(report.position(), report.wishes.checkpoint);
  }
}

void Checkpointer::end(const LoopPosition& position, LoopEnd /*end*/) {
  if (run_.options().checkpoint.every.unit != Unit::kNever && position.step != last_step_) {
    take(position, true);
  }
  if (writer_ != nullptr) {
    const comm::PhaseScope writing(run_.communicator().activity(), comm::Phase::kWriting);
    writer_->finish();
  }
}

/// Collective; what rank 0 alone knows may make it drop what was gathered.
void Checkpointer::take(const LoopPosition& position, bool even_if_writing) {
  Queue& queue = run_.runner().queue();
  Update& update = update_of(run_, position.stage);
  std::vector<std::vector<float>> states(update.optimizer().state_names().size());
  if (writer_ != nullptr && position.step != taken_) {
    for (std::vector<float>& state : states) {
      state = writer_->spare();
    }
  }
  states = update.gather_state(queue, 0, std::move(states));
  if (writer_ == nullptr || position.step == taken_) {
    return;
  }
  if (const auto writing = writer_->writing(); writing && !even_if_writing) {
    skip(position.step, *writing);
    best_is_owed_ = true;
    return;
  }
  taken_ = position.step;
  last_time_ = std::chrono::steady_clock::now();
  Snapshot snapshot;
  snapshot.step = position.step;
  ObserverState observed;
  for (const Observer* observer : observers_) {
    observer->save(observed);
  }
  snapshot.best_step = observed.values.value("best_step", std::int64_t{0});
  nlohmann::json& header = snapshot.header;
  header = header_;
  header["step"] = position.step;
  header["position"] = {{"stage", position.stage},
                        {"stage_step", position.stage_step},
                        {"first_epoch", position.first_epoch}};
  header["observers"] = std::move(observed.values);
  const Tensor& weights = run_.parameters().arena();
  snapshot.arenas.push_back({"weights", writer_->spare()});
  snapshot.arenas.back().values.resize(static_cast<std::size_t>(weights.elements()));
  run_.device().to_host(queue, weights.data(), snapshot.arenas.back().values.data(),
                        weights.bytes());
  const std::vector<std::string> names = update.optimizer().state_names();
  for (std::size_t s = 0; s < states.size(); ++s) {
    snapshot.arenas.push_back({"optimizer/" + names[s], std::move(states[s])});
  }
  snapshot.observers = std::move(observed.arrays);
  best_is_owed_ = false;
  writer_->start(std::move(snapshot));
}

std::int64_t checkpoint_bytes(const TrainingRun& run) {
  if (run.options().checkpoint.every.unit == Unit::kNever) {
    return 0;
  }
  std::size_t states = 0;
  for (const auto& update : run.updates()) {
    states = std::max(states, update->optimizer().state_names().size());
  }
  const std::size_t best = run.options().best.metric != Metric::kNone ? 1 : 0;
  return static_cast<std::int64_t>(1 + states + best) * run.arena_bytes();
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
    const std::vector<std::string> names = update.optimizer().state_names();
    for (std::size_t s = 0; s < names.size(); ++s) {  // one at a time: all ranks hold it whole
      update.set_state(queue, s,
                       arena_of(checkpoint.arrays, "optimizer/" + names[s], parameters, source));
    }
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
