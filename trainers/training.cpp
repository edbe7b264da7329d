// The life cycle of a training run.
#include "trainers/training.h"

#include <algorithm>
#include <future>
#include <optional>
#include <stop_token>
#include <thread>

#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "core/io/sha256.h"
#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/cached_stage.h"
#include "trainers/checkpoint.h"
#include "trainers/classification_report.h"
#include "trainers/contract.h"
#include "trainers/gan_watch.h"
#include "trainers/observers.h"
#include "trainers/pictures.h"
#include "trainers/preflight.h"
#include "trainers/resume.h"
#include "trainers/run_log.h"
#include "trainers/run_session.h"

namespace gentrain::trainers {

namespace {

void announce_run(TrainingRun& run, const RunSetting& setting) {
  spdlog::info("job {}: {} rank{} x {} thread{}, {}", setting.job, run.communicator().size(),
               run.communicator().size() == 1 ? "" : "s", run.workers(),
               run.workers() == 1 ? "" : "s", run.device().identity().name);
  spdlog::info("contract: {}", run.contract());
  spdlog::info("data: {}", run.data().train->description());
  if (!run.data_fact().empty()) {
    spdlog::info("{}", run.data_fact());
  }
  if (!run.data_note().empty()) {
    spdlog::warn("{}", run.data_note());
  }
  spdlog::info("{} training and {} test images, {} parameters",
               with_commas(run.data().train->size()), with_commas(run.data().test->size()),
               with_commas(run.parameters().count()));
  for (const std::string& note : run.objective().notes()) {
    spdlog::info("{}", note);
  }
  if (!run.shares()) {
    spdlog::warn("/dev/shm has no room: each rank keeps {} bytes of frozen weights for itself",
                 with_commas(run.shared_bytes()));
  }
  if (run.options().exchange == comm::ExchangeMode::kLibrary) {
    spdlog::info("exchange: library: another number of ranks gives other bytes");
  }
  const std::int64_t wanted = wanted_workers(run.options(), run.communicator());
  if (wanted > run.workers()) {
    spdlog::info("{} shards for {} threads: more batch.shards would use all of them",
                 run.runner().owned().size(), wanted);
  }
}

/// The lines at the end of a run.
void print_summary(const nlohmann::json& summary, const RunFolder& folder) {
  const auto row = [](const char* name, const std::string& value) {
    spdlog::info("  {:<16} {}", name, value);
  };
  spdlog::info("finished {}", summary["job"].get<std::string>());
  if (summary["metrics"].contains("top1")) {
    row("top-1", fmt::format("{:.4f}  ({} of {})", summary["metrics"]["top1"].get<double>(),
                             with_commas(summary["metrics"]["correct"].get<std::int64_t>()),
                             with_commas(summary["metrics"]["samples"].get<std::int64_t>())));
  }
  for (const auto& [name, value] : summary["metrics"].items()) {
    if (value.is_number_float() && name != "top1") {
      row(name.c_str(), fmt::format("{:.4f}", value.get<double>()));
    }
  }
  row("steps", with_commas(summary["steps"].get<std::int64_t>()));
  if (summary.contains("step_ms")) {
    row("images/s", with_digits(summary["images_per_s"].get<double>()));
    row("ms per step", fmt::format("{:.2f}", summary["step_ms"].get<double>()));
    row("to first step", fmt::format("{:.2f} s", summary["startup_s"].get<double>()));
  }
  row("peak memory", fmt::format("{:.0f} MiB a rank", summary["peak_rss_mib"].get<double>()));
  row("weights", summary["weights_sha256"].get<std::string>().substr(0, 16));
  row("output", folder.path().string());
}

nlohmann::json metrics_of(const EvaluationObserver& evaluation, bool restored) {
  const auto& result = restored ? evaluation.best() : evaluation.last();
  return result ? to_json(*result) : nlohmann::json::object();
}

/// What a run gathers while it goes.
struct Watch {
  StepTimes& times;
  EvaluationObserver& evaluation;
};

/// The update whose optimizer was the last to take a step.
const Update& last_update(TrainingRun& run, const StepTimes& times) {
  return *run.updates().at(static_cast<std::size_t>(times.last_stage()));
}

nlohmann::json summarize(TrainingRun& run, const RunSetting& setting, const Watch& watch,
                         const std::string& data_sha256) {
  Queue& queue = run.runner().queue();
  const auto state = last_update(run, watch.times).gather_state(queue, 0);
  const PeakMemory memory = memory_of_ranks(run);
  const bool keeps_best = run.options().best.metric != Metric::kNone;
  nlohmann::json summary = {
      {"job", setting.job},
      {"ranks", run.communicator().size()},
      {"shards", run.options().batch.shards},
      {"threads", run.workers()},
      {"device", run.device().identity().kind},
      {"isa", run.device().identity().isa},
      {"precision", name_of(run.options().precision)},
      {"contract", run.contract()},
      {"data", run.data().train->description()},
      {"steps", watch.times.steps()},
      {"weights_sha256", weights_sha256(run.device(), queue, run.parameters())},
      {"state_sha256", run.communicator().rank() == 0
                           ? state_sha256(run.device(), queue, run.parameters(), state)
                           : ""},
      {"data_sha256", data_sha256},
      {"metrics", metrics_of(watch.evaluation, keeps_best)},
      {"train", {{"loss_mean_500", watch.times.mean_loss(500)}}},
      {"peak_rss_mib", memory.largest},
      {"peak_rss_mib_all_ranks", memory.all},
      {"tensor_peak_mib", memory.tensors},
      {"restarts", restarts()}};
  if (watch.times.took_steps()) {
    summary["images_per_s"] = watch.times.images_per_second();
    summary["step_ms"] = watch.times.median_seconds() * 1e3;
    summary["startup_s"] = watch.times.startup_seconds();
  }
  if (keeps_best && watch.evaluation.best()) {
    summary["best_step"] = watch.evaluation.best_step();
  }
  return summary;
}

/// The parts of the summary that a model keeps: what it is, not how fast it came to be.
nlohmann::json model_record(const nlohmann::json& summary) {
  nlohmann::json record;
  for (const char* key :
       {"job", "contract", "data", "steps", "weights_sha256", "data_sha256", "metrics"}) {
    record[key] = summary[key];
  }
  return record;
}

/// What a begun run consists of beside its TrainingRun.
struct RunParts {
  RunFolder& folder;
  StepTimes& times;
  const RunSetting& setting;
  Beginning& beginning;  // its checkpoint is let go when it stands restored
  RunSession& session;
};

/// Features of the stage that has most of them, which the ranks of a host share: each stage lets
/// its own go.
std::int64_t feature_bytes(const std::vector<Stage>& stages) {
  std::int64_t most = 0;
  for (const Stage& stage : stages) {
    most = std::max(most, stage.cached == nullptr ? 0 : stage.cached->feature_bytes());
  }
  return most;
}

void preflight(TrainingRun& run, const std::vector<Stage>& stages, const RunFolder& folder,
               const std::string& id) {
  comm::Communicator& communicator = run.communicator();
  check_output_is_shared(communicator, folder.path(), id);
  compare_clocks(communicator);
  const std::int64_t snapshot = communicator.rank() == 0 ? checkpoint_bytes(run) : 0;
  const auto runs = comm::runs_of(run.runner().owned(), run.side_by_side(), run.workers());
  const int copies = comm::gradient_copies(runs, run.options().batch.shards, run.workers());
  // What is certain: activations are not known before a step.
  const std::int64_t features = feature_bytes(stages) / communicator.ranks_on_host();
  check_memory(communicator, copies * run.arena_bytes() + snapshot + features, available_memory());
  if (snapshot > 0) {
    check_space(folder.path(), snapshot);
  }
}

nlohmann::json finish(TrainingRun& run, const RunParts& parts, EvaluationObserver& evaluation,
                      const std::string& data_sha256) {
  run.communicator().activity().enter(comm::Phase::kEnding);
  evaluation.restore_best();
  const std::int64_t samples = run.options().evaluate.importance_samples;
  const double likelihood =
      samples == 0 ? 0
                   : mean_log_likelihood(run.communicator(), run.runner(), run.objective(),
                                         run.evaluation_data(), samples);
  nlohmann::json summary = summarize(run, parts.setting, {parts.times, evaluation}, data_sha256);
  if (samples > 0) {
    summary["metrics"]["log_likelihood"] = likelihood;
  }
  const std::optional<ClassificationReport> report = end_report(run, parts.times.steps());
  if (run.communicator().rank() == 0) {
    const comm::PhaseScope writing(run.communicator().activity(), comm::Phase::kWriting);
    parts.folder.flush_metrics();
    if (run.options().checkpoint.every.unit != CheckpointOptions::Unit::kNever) {
      save_model(parts.folder.model(), run.description(model_record(summary)), run.device(),
                 run.runner().queue(), run.parameters(), [&parts] { parts.folder.check_lock(); });
    }
    if (report) {
      write_report(parts.folder, *report, *run.data().test);
    }
    parts.folder.write_summary(summary);
    parts.folder.write_status("finished", parts.times.steps(), 0);
    print_summary(summary, parts.folder);
    warn_of_waiting(run.loader().waited(), run.workers(), parts.times.all_seconds());
  }
  run.communicator().barrier();
  return summary;
}

void stop(TrainingRun& run, const RunParts& parts) {
  if (run.communicator().rank() == 0) {
    parts.folder.flush_metrics();
    parts.folder.write_status("stopped", parts.times.steps(), parts.setting.stopped_code);
    const bool kept = run.options().checkpoint.every.unit != CheckpointOptions::Unit::kNever;
    spdlog::info("stopped on request behind step {}: {}", with_commas(parts.times.steps()),
                 kept ? "the same command goes on from there"
                      : "without a checkpoint, as checkpoint.every is never");
  }
  run.communicator().barrier();
}

/// Brings the folder to where the run begins. Rank 0.
void begin_in_folder(TrainingRun& run, const RunParts& parts, const std::vector<Stage>& stages,
                     const LoopPosition& start) {
  const bool goes_on = parts.beginning.kind == Beginning::Kind::kGoesOn;
  const bool own = parts.beginning.earlier == RunFolder::Earlier::kStays;
  if (goes_on && own && parts.setting.resume.mode == ResumeOptions::Mode::kPath &&
      parts.beginning.passed_over.empty()) {
    parts.folder.remove_checkpoints_behind(start.step);  // first: else they would be gone on from
  }
  announce_run(run, parts.setting);
  parts.session.write_records(run, parts.times.steps());
  if (goes_on) {
    parts.folder.cut_metrics(start.step, goes_on_in(stages, run.loop_options(), start));
  }
}

/// Trains `run`.
RunResult train_into(TrainingRun& run, const RunParts& parts) {
  const TrainOptions& options = run.options();
  comm::Communicator& communicator = run.communicator();
  RunFolder& folder = parts.folder;
  const bool first_rank = communicator.rank() == 0;
  std::vector<Stage> stages = run.make_stages("");
  preflight(run, stages, folder, parts.session.id());
  // Goes on beside the training; an error ends it too.
  std::packaged_task<std::string(const std::stop_token&)> hash_data(
      [data = run.data()](const std::stop_token& stop) {
        const progress::Background background;
        const std::string both = data.train->sha256(stop) + data.test->sha256(stop);
        return io::sha256(std::as_bytes(std::span(both)));
      });
  std::future<std::string> data_hash = hash_data.get_future();
  std::jthread hashing;
  std::optional<CheckpointWriter> writer;
  if (first_rank) {
    writer.emplace(folder, run.parameters(), options.checkpoint.keep);
  }
  FiniteCheck finite(run.runner(), run.parameters());
  StepLog log(folder, options.log, parts.setting.terminal);
  EvaluationObserver evaluation({communicator, run.runner(), run.objective(), run.parameters(),
                                 run.evaluation_data(), options.evaluate, options.early_stop,
                                 options.best, first_rank ? &folder : nullptr});
  std::optional<PictureWriter> pictures;
  GanWatch gan;
  StopOnSignal stop_on_signal;
  Checkpointer checkpointer(run, checkpoint_header(parts.setting, run, stages),
                            {&parts.times, &evaluation, &gan}, writer ? &*writer : nullptr,
                            [&evaluation] { return evaluation.best_step(); });
  std::vector<Observer*> observers = {&parts.times, &finite, &stop_on_signal};
  if (first_rank) {
    observers.insert(observers.end(), {&log, &gan});
  }
  if (first_rank && draws_pictures(run)) {
    observers.push_back(&pictures.emplace(run, folder));
  }
  observers.insert(observers.end(), {&evaluation, &checkpointer});

  LoopPosition start;
  const bool goes_on = parts.beginning.kind == Beginning::Kind::kGoesOn;
  if (goes_on) {
    start = go_on(parts.beginning, run, stages, observers);
  }
  parts.session.take_folder();
  if (first_rank) {
    begin_in_folder(run, parts, stages, start);
    writer->discard(parts.beginning.passed_over);
    hashing = std::jthread([&hash_data](const std::stop_token& stop) { hash_data(stop); });
  }
  if (goes_on) {
    say_going_on(parts.beginning, run);
    if (parts.beginning.earlier == RunFolder::Earlier::kStays) {
      checkpointer.resume_at(start.step);
    }
    parts.beginning.checkpoint = {};
    malloc_trim(0);  // its many arrays leave holes, which the C library would keep
  }
  const LoopEnd end =
      run_stages(stages, run.loop_options(), run.runner(), &run.loader(), observers, start);
  if (end == LoopEnd::kStopped) {
    stop(run, parts);
    return {RunResult::Kind::kStopped, {}};
  }
  return {RunResult::Kind::kFinished,
          finish(run, parts, evaluation, first_rank ? data_hash.get() : "")};
}

}  // namespace

RunResult train(const TrainOptions& options, const RunSetting& setting,
                comm::Communicator& communicator) {
  RunSession session(setting, options, communicator);
  if (session.nothing_to_do()) {
    return {RunResult::Kind::kNothingToDo, {}};
  }
  Beginning& beginning = session.beginning();
  StepTimes times(setting.process_start);
  TrainOptions used = options;
  if (beginning.kind == Beginning::Kind::kGoesOn) {
    // The checkpoint has all weights, and knows of which file.
    used.weights.use = used.init_from.file.empty() ? WeightsOptions::Use::kOfCheckpoint
                                                   : WeightsOptions::Use::kNothing;
    used.weights.identity = beginning.checkpoint.header.value("objective", std::string());
    used.init_from = {};
    used.model.imported.network = beginning.checkpoint.header.value("network", std::string());
  }
  try {
    TrainingRun run(used, communicator, setting.identity);
    return train_into(run, {session.folder(), times, setting, beginning, session});
  } catch (const std::exception& error) {
    session.record_failure(times.steps(), error);
    throw;
  }
}

}  // namespace gentrain::trainers
