// Benchmarks of whole steps.
#include "trainers/bench.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.h"
#include "trainers/cached_stage.h"
#include "trainers/observers.h"
#include "trainers/preflight.h"
#include "trainers/units.h"

namespace gentrain::trainers {

namespace {

/// Collects the times of full batches, and stops the stage when there are enough.
class Stopwatch final : public Observer {
 public:
  Stopwatch(const BenchOptions& options, std::int64_t full_batch,
            std::chrono::system_clock::time_point process_start)
      : options_(options), full_batch_(full_batch), process_start_(process_start) {}

  void after_step(const StepReport& report) override {
    if (report.step == 0) {
      startup_ =
          std::chrono::duration<double>(std::chrono::system_clock::now() - process_start_).count();
    }
    if (report.step >= options_.warmup && report.images == full_batch_) {
      seconds_.push_back(report.seconds);
    }
  }
  [[nodiscard]] bool wants_stop() const override {
    return static_cast<std::int64_t>(seconds_.size()) >= options_.steps;
  }

  [[nodiscard]] double startup() const { return startup_; }
  [[nodiscard]] double median() const {
    std::vector<double> sorted = seconds_;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t middle = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
  [[nodiscard]] double fastest() const {
    return *std::min_element(seconds_.begin(), seconds_.end());
  }

 private:
  BenchOptions options_;
  std::int64_t full_batch_;
  std::chrono::system_clock::time_point process_start_;
  double startup_ = 0;
  std::vector<double> seconds_;
};

void check(const BenchOptions& options) {
  if (options.steps < 1) {
    throw JobError(fmt::format("--steps {}: at least 1 step has to be timed", options.steps));
  }
  if (options.warmup < 0) {
    throw JobError(fmt::format("--warmup {}: cannot be below 0", options.warmup));
  }
}

/// A stage that takes no steps is not prepared for any.
void check_takes_steps(const TrainingRun& run, const StageOptions& stage) {
  if (planned_steps(stage.stop, run.loop_options()) == 0) {
    throw JobError(fmt::format("bench: stage {} takes no steps, as its stop says", stage.name));
  }
}

/// A stage whose only pass computes the network's results and keeps nothing.
Stage forward_stage(TrainingRun& run, const std::string& name) {
  Pass pass;
  pass.shard = [&run](ShardRun& shard) {
    if (shard.samples.size() == 0) {
      return;
    }
    Context context{shard.context.device, shard.context.queue, nullptr, false, {}};
    context.bf16 = shard.context.bf16;
    run.loader().load({shard.position.epoch, shard.samples.first, shard.samples.last},
                      shard.worker.batch);
    const Tensor x =
        normalized_images(context, shard.worker.batch.pixels, shard.samples.size(),
                          run.data().train->sample_shape(), run.data().train_normalization);
    run.objective().forward(context, x);
  };
  return {name, {}, {std::move(pass)}, {}};
}

/// Fills in what differs between ranks: the slowest and the largest count.
void combine_ranks(TrainingRun& run, BenchResult& result) {
  const nlohmann::json mine = {result.step_ms,      result.step_ms_min,     result.startup_s,
                               result.peak_rss_mib, result.tensor_peak_mib, result.exchanged_bytes,
                               result.threads};
  for (const std::string& text : run.communicator().all_gather_text(mine.dump())) {
    const nlohmann::json one = nlohmann::json::parse(text);
    const auto raise = [&one](auto& value, std::size_t at) {
      value = std::max(value, one[at].get<std::decay_t<decltype(value)>>());
    };
    raise(result.step_ms, 0);
    raise(result.step_ms_min, 1);
    raise(result.startup_s, 2);
    raise(result.peak_rss_mib, 3);
    raise(result.tensor_peak_mib, 4);
    raise(result.exchanged_bytes, 5);
    raise(result.threads, 6);
    result.peak_rss_mib_all_ranks += one[3].get<double>();
  }
}

}  // namespace

BenchResult bench(TrainingRun& run, const BenchOptions& options,
                  std::chrono::system_clock::time_point process_start) {
  check(options);
  BenchResult result;
  result.stage = options.stage.empty() ? run.options().stages.back().name : options.stage;
  const StageOptions& stage = run.stage(result.stage);
  result.batch = std::min(run.options().batch.global, run.data().train->size());
  std::vector<Stage> stages;
  double flops = 0;  // of an image
  if (options.forward) {
    stages = {forward_stage(run, result.stage)};
    flops = run.objective().forward_flops();
  } else {
    check_takes_steps(run, stage);
    stages = run.make_stages(result.stage);
    Update& update = *run.updates().back();
    result.exchanged_bytes = update.exchange().bytes_sent_per_step();
    flops = run.objective().training_flops(result.stage, run.parameters(), update.trainable());
  }
  stages[0].stop = {std::nullopt, std::numeric_limits<std::int64_t>::max()};

  Stopwatch stopwatch(options, result.batch, process_start);
  FiniteCheck finite(run.runner(), run.parameters());
  std::vector<Observer*> observers = {&stopwatch};
  if (!options.forward) {
    observers.push_back(&finite);
  }
  run_stages(stages, run.loop_options(), run.runner(), &run.loader(), observers);
  if (stages[0].cached != nullptr && !stages[0].cached->layer().empty()) {
    result.features = stages[0].cached->layer();
    flops = training_flops_per_image(stages[0].cached->layers(), run.parameters(),
                                     run.updates().back()->trainable());
  }

  result.shards = run.options().batch.shards;
  result.ranks = run.communicator().size();
  result.threads = run.workers();
  result.step_ms = stopwatch.median() * 1e3;
  result.step_ms_min = stopwatch.fastest() * 1e3;
  result.startup_s = stopwatch.startup();
  result.peak_rss_mib = peak_rss_mib();
  result.tensor_peak_mib = static_cast<double>(run.device().memory().stats().peak_bytes) / kMib;
  result.gflop_per_step = flops * static_cast<double>(result.batch) * 1e-9;
  combine_ranks(run, result);
  return result;
}

}  // namespace gentrain::trainers
