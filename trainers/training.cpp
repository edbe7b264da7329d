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
#include "trainers/checkpoint.h"
#include "trainers/classification_report.h"
#include "trainers/contract.h"
#include "trainers/gan_watch.h"
#include "trainers/observers.h"
#include "trainers/pictures.h"
#include "trainers/preflight.h"
#include "trainers/resume.h"
#include "trainers/run_lock.h"
#include "trainers/run_log.h"

namespace gentrain::trainers {

namespace {

nlohmann::json environment(TrainingRun& run, const RunSetting& setting) {
  const DeviceIdentity& device = run.device().identity();
  nlohmann::json left_out = nlohmann::json::array();
  for (const image::BadFile& file : run.left_out()) {
    left_out.push_back(file.reason);
  }
  return {{"contract", run.contract()},
          {"version", setting.version},
          {"processor", device.name},
          {"device", device.kind},
          {"isa", device.isa},
          {"libraries", device.libraries},
          {"image_library", run.image_library()},
          {"ranks", run.communicator().size()},
          {"threads", run.workers()},
          {"notes", run.objective().notes()},
          {"rank0", run.communicator().where()},
          {"images_left_out", std::move(left_out)}};
}

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

/// Peak memory over the ranks, MiB.
struct PeakMemory {
  double largest = 0;  // resident, of a rank
  double all = 0;      // resident, of all ranks
  double tensors = 0;  // largest tensor memory of a rank
};

PeakMemory memory_of_ranks(TrainingRun& run) {
  constexpr double kMib = 1024.0 * 1024.0;
  const double tensors = static_cast<double>(run.device().memory().stats().peak_bytes) / kMib;
  const nlohmann::json mine = {peak_rss_mib(), tensors};
  PeakMemory peak;
  for (const std::string& text : run.communicator().all_gather_text(mine.dump())) {
    const nlohmann::json one = nlohmann::json::parse(text);
    peak.largest = std::max(peak.largest, one[0].get<double>());
    peak.all += one[0].get<double>();
    peak.tensors = std::max(peak.tensors, one[1].get<double>());
  }
  return peak;
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
  std::string id;
  std::function<void()> take_folder;  // collective; before it an earlier run stands untouched
};

void preflight(TrainingRun& run, const RunFolder& folder, const std::string& id) {
  comm::Communicator& communicator = run.communicator();
  check_output_is_shared(communicator, folder.path(), id);
  compare_clocks(communicator);
  const std::int64_t snapshot = communicator.rank() == 0 ? checkpoint_bytes(run) : 0;
  const auto runs = comm::runs_of(run.runner().owned(), run.side_by_side(), run.workers());
  const int copies = comm::gradient_copies(runs, run.options().batch.shards, run.workers());
  // What is certain: activations are not known before a step.
  check_memory(communicator, copies * run.arena_bytes() + snapshot, available_memory());
  if (snapshot > 0) {
    check_space(folder.path(), snapshot);
  }
}

/// The files that say what the run is.
void write_records(TrainingRun& run, const RunParts& parts) {
  announce_run(run, parts.setting);
  // A finished run that goes on ceases to be finished first; otherwise run.json comes first:
  // without it nobody could tell whose run is under way.
  const bool recorded = !parts.folder.read_run().is_null();
  if (recorded) {
    parts.folder.write_status("running", parts.times.steps(), 0);
  }
  parts.folder.write_run({{"job", parts.setting.job},
                          {"run", parts.id},
                          {"from", parts.beginning.from},
                          {"same_job", parts.setting.same_job},
                          {"identity", parts.setting.identity}});
  if (!recorded) {
    parts.folder.write_status("running", parts.times.steps(), 0);
  }
  parts.folder.write_job(parts.setting.resolved);
  parts.folder.write_environment(environment(run, parts.setting));
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
  write_records(run, parts);
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
  preflight(run, folder, parts.id);
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
  parts.take_folder();
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

/// Leaves word of a rank's error in the run's folder, unless that is another run's by now.
void record_failure(const RunFolder& folder, const comm::Communicator& communicator,
                    std::int64_t steps, const std::exception& error, int exit_code) {
  if (dynamic_cast<const LostLockError*>(&error) != nullptr) {
    leave_log_file();
    return;
  }
  const bool memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
  folder.append_error(fmt::format("rank {} ({}): {}", communicator.rank(), communicator.where(),
                                  memory ? "there is not enough memory" : error.what()));
  try {
    folder.write_status("failed", steps, exit_code);
  } catch (const IoError&) {  // the error itself matters more
    spdlog::debug("status.json could not be written");
  }
}

/// The lock of rank 0, and its id on every rank.
std::string share_id(comm::Communicator& communicator, const std::optional<RunLock>& lock) {
  std::string id = lock ? lock->id() : std::string(32, ' ');
  communicator.broadcast({id.data(), id.size()}, 0);
  return id;
}

/// While it lives the watchdog's words go to the run's folder too, once open() says that it is this
/// run's.
class AlarmLog {
 public:
  AlarmLog(comm::Communicator& communicator, const RunFolder& folder)
      : communicator_(communicator), folder_(folder) {}
  ~AlarmLog() { communicator_.activity().set_log({}); }
  AlarmLog(const AlarmLog&) = delete;
  AlarmLog& operator=(const AlarmLog&) = delete;

  void open() const {
    communicator_.activity().set_log([this](const std::string& words, bool ends) {
      folder_.append_error(words);
      if (ends) {
        folder_.write_status("failed", communicator_.activity().step(), comm::kRankTroubleCode);
      }
    });
  }

 private:
  comm::Communicator& communicator_;
  const RunFolder& folder_;
};

}  // namespace

RunResult train(const TrainOptions& options, const RunSetting& setting,
                comm::Communicator& communicator) {
  RunFolder folder(setting.output);
  const bool first_rank = communicator.rank() == 0;
  std::optional<RunLock> lock;
  const auto take_lock = [&] {
    folder.prepare();
    lock.emplace(folder.path());
  };
  // A finished run is left as it is, down to the times of its files.
  if (first_rank && !is_done(setting, options, folder)) {
    take_lock();
  }
  Beginning beginning = choose_beginning(setting, options, folder, communicator);
  if (beginning.kind == Beginning::Kind::kFinished) {
    return {RunResult::Kind::kNothingToDo, {}};
  }
  bool late = first_rank && !lock;
  communicator.broadcast({&late, sizeof late}, 0);
  if (late) {  // another run may have come and gone meanwhile
    if (first_rank) {
      take_lock();
    }
    beginning = choose_beginning(setting, options, folder, communicator);
    if (beginning.kind == Beginning::Kind::kFinished) {
      return {RunResult::Kind::kNothingToDo, {}};
    }
  }
  const std::string id = share_id(communicator, lock);
  folder.write_as(id);
  // A run that never begins leaves an earlier one as it is.
  bool empty = first_rank && !folder.holds_run();
  communicator.broadcast({&empty, sizeof empty}, 0);
  const AlarmLog alarms(communicator, folder);
  StepTimes times(setting.process_start);
  bool taken = false;  // errors of any rank may go to the folder
  const auto take_folder = [&] {
    if (taken) {
      return;
    }
    if (first_rank) {
      folder.make_ready(beginning.earlier);
      log_to_file(folder.log(), beginning.earlier == RunFolder::Earlier::kStays);
    }
    taken = true;
    alarms.open();
    communicator.barrier();
  };
  if (empty) {
    take_folder();
  }
  TrainOptions used = options;
  if (beginning.kind == Beginning::Kind::kGoesOn) {
    // The checkpoint has all weights, and knows of which file.
    used.weights.use = used.init_from.file.empty() ? WeightsOptions::Use::kOfCheckpoint
                                                   : WeightsOptions::Use::kNothing;
    used.weights.identity = beginning.checkpoint.header.value("objective", std::string());
    used.init_from = {};
  }
  try {
    TrainingRun run(used, communicator, setting.identity);
    return train_into(run, {folder, times, setting, beginning, id, take_folder});
  } catch (const std::exception& error) {
    if (taken) {
      record_failure(folder, communicator, times.steps(), error, setting.exit_code_of(error));
    }
    throw;
  }
}

}  // namespace gentrain::trainers
