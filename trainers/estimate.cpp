// Estimates by trial.
#include "trainers/estimate.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <numeric>

#include <fmt/format.h>

#include "comm/communicator.h"
#include "core/data/faces.h"
#include "kernels/error.h"
#include "trainers/cached_stage.h"
#include "trainers/checkpoint.h"
#include "trainers/contract.h"
#include "trainers/evaluate.h"
#include "trainers/face_preparation.h"
#include "trainers/face_source.h"
#include "trainers/preflight.h"
#include "trainers/pretrained_weights.h"
#include "trainers/training.h"
#include "trainers/units.h"

namespace gentrain::trainers {

namespace {

/// Of two steps in a row at most one has a short last batch.
constexpr std::int64_t kTrialSteps = 3;
constexpr std::int64_t kMnistTraining = 60000;
constexpr std::int64_t kMnistTest = 10000;
constexpr std::int64_t kMnistBytes =
    (kMnistTraining + kMnistTest) * (std::int64_t{28} * 28 + std::int64_t{sizeof(std::int32_t)});

std::unique_ptr<comm::Communicator> pretend(int ranks, int rank) {
  return ranks == 1 ? comm::make_single() : comm::make_pretended(ranks, rank);
}

/// Puts something in the place of photographs of faces: their packs where they are prepared
/// already, else drawn faces. False if nothing can stand for them.
bool replace_photographs(TrainOptions& options, Estimate& estimate) {
  DataOptions& data = options.data;
  std::int64_t photographs = 0;
  try {
    if (const auto kept = find_kept_faces(data, 1)) {
      data.source = DataOptions::Source::kFolder;
      data.folder = kept->train.string();
      data.test_folder = kept->test.string();
      for (const std::filesystem::path& pack : {kept->train, kept->test}) {
        estimate.shared_mib += static_cast<double>(std::filesystem::file_size(pack)) / kMib;
      }
      return true;
    }
    const image::Listing listing = list_photographs(data, *comm::make_single());
    photographs = std::ssize(listing.files);
    estimate.data_note = fmt::format(
        "stand for the {} photographs in {}, which the first run prepares: there will be at most "
        "as many images",
        with_commas(photographs), listing.folder.string());
  } catch (const IoError& error) {
    estimate.missing = error.what();
    photographs = options.batch.global;
  }
  data.source = DataOptions::Source::kFaces;
  data.train_count = photographs;
  data.test_count = std::min(options.batch.global, photographs);
  if (data.faces.size != data::kFaceSide && estimate.missing.empty()) {
    estimate.missing = fmt::format(
        "the faces are not prepared yet, and drawn ones, of {} x {} pixels, cannot stand for those "
        "of {} x {}: the first run prepares them",
        data::kFaceSide, data::kFaceSide, data.faces.size, data.faces.size);
  }
  return data.faces.size == data::kFaceSide;
}

/// Whether digits can stand for the job's images.
bool takes_mnist(const TrainOptions& options) {
  using Source = DataOptions::Source;
  return options.data.source == Source::kMnist ||
         (options.data.source == Source::kAuto && !is_srgan(options.model));
}

/// The run itself, or one on stand-in images if the job's own are not there; null if something is
/// missing that nothing can stand for.
std::unique_ptr<TrainingRun> make_run(TrainOptions options, comm::Communicator& communicator,
                                      Estimate& estimate) {
  if (takes_photographs(options, *comm::make_single()) && !replace_photographs(options, estimate)) {
    return nullptr;
  }
  try {
    auto run = std::make_unique<TrainingRun>(options, communicator, "");
    run->prepare();
    return run;
  } catch (const IoError& error) {
    estimate.missing += (estimate.missing.empty() ? "" : "; ") + std::string(error.what());
  }
  if (!takes_mnist(options)) {
    return nullptr;
  }
  options.data.source = DataOptions::Source::kDigits;
  options.data.train_count = std::min(options.batch.global, kMnistTraining);
  options.data.test_count = std::min(options.batch.global, kMnistTest);
  options.data.validation = 0;
  estimate.resident_mib += static_cast<double>(kMnistBytes) / kMib;
  return std::make_unique<TrainingRun>(options, communicator, "");
}

/// Watches the tensor memory of a run.
class Meter {
 public:
  explicit Meter(TrainingRun& run) : memory_(run.device().memory()) {}

  [[nodiscard]] std::int64_t live() const {
    return static_cast<std::int64_t>(memory_.stats().live_bytes);
  }
  /// What came and went since the last call.
  std::int64_t passing() {
    const MemoryStats stats = memory_.stats();
    memory_.reset_peak();
    most_ = std::max(most_, stats.peak_bytes);
    return static_cast<std::int64_t>(stats.peak_bytes - stats.live_bytes);
  }
  /// The largest use up to the last call of passing().
  [[nodiscard]] std::int64_t most() const { return static_cast<std::int64_t>(most_); }

 private:
  CachingAllocator& memory_;
  std::uint64_t most_ = 0;
};

/// Measures one worker's steps and adds what `workers` of them hold.
class MemoryTrial final : public Observer {
 public:
  MemoryTrial(TrainingRun& run, Meter& meter, int workers, TensorMemory& memory)
      : run_(run), meter_(meter), workers_(workers), memory_(memory), before_(meter.live()) {}

  void begin_stage(const Stage& /*stage*/, std::int64_t /*steps_planned*/,
                   std::int64_t /*first_step*/) override {
    meter_.passing();
  }
  void after_step(const StepReport& report) override {
    memory_.worker = std::max(memory_.worker, meter_.passing());
    if (!report.ends_stage) {
      return;
    }
    comm::Exchange& exchange =
        run_.updates()[static_cast<std::size_t>(report.stage_index)]->exchange();
    const int more = most_copies() - exchange.live_copies();
    const auto copy = CachingAllocator::size_class(
        (static_cast<std::size_t>(run_.parameters().exchanged_elements()) +
         exchange.statistics().size()) *
        sizeof(float));
    memory_.gradients =
        std::max(memory_.gradients,
                 meter_.live() - before_ + std::max(more, 0) * static_cast<std::int64_t>(copy));
  }

 private:
  /// Copies of gradients on the rank that holds most of them.
  [[nodiscard]] int most_copies() const {
    const std::int64_t shards = run_.runner().shards();
    const int ranks = run_.communicator().size();
    int most = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const comm::Range owned = comm::part_of(shards, ranks, rank);
      const auto runs = comm::runs_of(owned, run_.side_by_side(), workers_);
      most = std::max(most, comm::gradient_copies(runs, shards, workers_));
    }
    return most;
  }

  TrainingRun& run_;
  Meter& meter_;
  int workers_;
  TensorMemory& memory_;
  std::int64_t before_;
};

/// Evaluates one chunk.
void try_evaluation(TrainingRun& run, StepRunner& runner) {
  const auto& test = run.data().test;
  std::vector<std::int64_t> first(
      static_cast<std::size_t>(std::min(run.evaluation_chunk(), test->size())));
  std::iota(first.begin(), first.end(), std::int64_t{0});
  const auto part = data::subset(test, std::move(first));
  const EvaluationData data{*part, run.data().test_normalization, run.evaluation_chunk()};
  evaluate(run.communicator(), runner, run.objective(), data);
}

/// What a worker keeps between its shards: the scratch of its queue, seen by adding a worker.
std::int64_t lasting_bytes(TrainingRun& run, const Meter& meter, std::vector<Stage>& stages) {
  StepRunner added(run.communicator(), run.device(), 1, run.options().batch.shards);
  const std::int64_t before = meter.live();
  const comm::Range samples{0, std::min(run.options().batch.global, run.data().train->size())};
  for (Stage& stage : stages) {
    for (std::size_t pass = 0; pass < stage.passes.size() && stage.stop.steps != 0; ++pass) {
      added.run(stage.passes[pass], {run.options().seed, 0, kTrialSteps, 0, samples},
                static_cast<std::int64_t>(pass));
      for (Update* update : stage.passes[pass].updates) {
        update->exchange().rest();
      }
    }
  }
  try_evaluation(run, added);
  return meter.live() - before;
}

/// What passes while pictures are made.
std::int64_t picture_bytes(TrainingRun& run, Meter& meter) {
  if (!draws_pictures(run)) {
    return 0;
  }
  Context context{run.device(), run.runner().queue(), nullptr, false, {}};
  meter.passing();
  run.objective().pictures({context, *run.data().test, run.data().test_normalization});
  return meter.passing();
}

std::int64_t try_stages(TrainingRun& run, Meter& meter, int workers, TensorMemory& memory) {
  memory.weights = meter.live();
  std::vector<Stage> stages = run.make_stages("");
  memory.optimizer = meter.live() - memory.weights;
  std::int64_t planned = 0;
  for (Stage& stage : stages) {
    const std::int64_t steps = planned_steps(stage.stop, run.loop_options());
    planned += steps;
    stage.stop = {std::nullopt, std::min(steps, kTrialSteps)};
  }
  MemoryTrial trial(run, meter, workers, memory);
  run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {&trial});
  if (run.options().best.metric != Metric::kNone) {
    memory.best = run.arena_bytes();
  }
  meter.passing();
  try_evaluation(run, run.runner());
  memory.worker = std::max(memory.worker, meter.passing());
  const std::int64_t lasting = lasting_bytes(run, meter, stages);
  meter.passing();
  memory.worker += lasting;
  memory.gradients = std::max<std::int64_t>(memory.gradients - lasting, 0);
  memory.total = memory.weights + memory.optimizer + memory.gradients + memory.best +
                 std::max(workers * memory.worker, picture_bytes(run, meter));
  memory.shared = run.shared_bytes();
  return planned;
}

/// The program's own files in memory, MiB.
double files_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssFile:")) {
      return std::stod(line.substr(line.find(':') + 1)) / 1024.0;
    }
  }
  return 0;
}

/// From the most that this process had so far, which is one rank.
void find_resident(const Meter& meter, int ranks, Estimate& estimate) {
  estimate.resident_mib +=
      peak_rss_mib() + static_cast<double>(estimate.memory.total - meter.most()) / kMib;
  estimate.shared_mib += static_cast<double>(estimate.memory.shared) / kMib + files_mib();
  estimate.host_mib = ranks * (estimate.resident_mib - estimate.shared_mib) + estimate.shared_mib +
                      estimate.writer_mib;
}

/// What the stages have in cached features, as `data` says; after try_stages().
void find_features(TrainingRun& run, const DataOptions& data, Estimate& estimate) {
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < run.options().stages.size(); ++i) {
    const StageOptions& stage = run.options().stages[i];
    StagePlan plan = plan_stage(run, stage.name, run.updates()[i]->trainable(), data);
    if (plan.text.empty() || planned_steps(stage.stop, run.loop_options()) == 0) {
      continue;
    }
    bytes += plan.bytes;  // where ranks share memory it stays until the run ends
    estimate.features.push_back(std::move(plan.text));
  }
  estimate.shared_mib += mib(bytes);
  estimate.resident_mib += mib(bytes);
}

std::int64_t most_bytes_sent(TrainingRun& run, int ranks) {
  std::int64_t most = 0;
  for (const StageOptions& stage : run.options().stages) {
    for (int rank = 0; rank < ranks; ++rank) {
      comm::ExchangeOptions options;
      options.mode = run.options().exchange;
      options.shards = run.options().batch.shards;
      options.statistics =
          std::ssize(run.objective().names(stage.name)) + std::int64_t{kWishStatistics};
      options.needs_norm = stage.clip_norm > 0;
      const auto communicator = pretend(ranks, rank);
      const comm::Exchange exchange(*communicator, run.device(), run.parameters(), options);
      most = std::max(most, exchange.bytes_sent_per_step());
    }
  }
  return most;
}

}  // namespace

Estimate estimate(const TrainOptions& options, int ranks) {
  check_supported(options, ranks);
  const auto communicator = pretend(ranks, ranks - 1);  // no rank has more shards than the last
  Estimate estimate;
  estimate.threads = worker_count(options, *communicator);
  TrainOptions one_worker = options;
  one_worker.threads = 1;
  one_worker.content.cache = false;  // nothing is written
  one_worker.data.cache_features = DataOptions::CacheFeatures::kOff;
  estimate.missing = missing_weights(options);
  one_worker.weights.use = estimate.missing.empty() ? WeightsOptions::Use::kWithoutEstimates
                                                    : WeightsOptions::Use::kNothing;
  const auto run = make_run(one_worker, *communicator, estimate);
  if (run == nullptr) {
    estimate.contract = contract_text(options, make_device(options)->identity());
    return estimate;
  }
  estimate.contract = run->contract();
  estimate.layers = run->objective().layers();
  estimate.parameters = run->parameters().count();
  estimate.data = run->data().train->description();
  if (estimate.data_note.empty()) {
    estimate.data_note = run->data_note();
  }
  estimate.shards = run->runner().owned().size();
  Meter meter(*run);
  estimate.steps = try_stages(*run, meter, estimate.threads, estimate.memory);
  estimate.writer_mib = static_cast<double>(checkpoint_bytes(*run)) / kMib;
  find_features(*run, options.data, estimate);
  find_resident(meter, ranks, estimate);
  estimate.exchanged_bytes = most_bytes_sent(*run, ranks);
  return estimate;
}

void check_fits(const Estimate& estimate, int ranks, std::optional<std::int64_t> available) {
  if (available && estimate.host_mib * kMib > static_cast<double>(*available)) {
    throw DeviceError(
        fmt::format("there is not enough memory: {} rank{} on this host need{} {:.0f} MiB, {:.0f} "
                    "MiB are free: "
                    "start fewer ranks a host",
                    ranks, ranks == 1 ? "" : "s", ranks == 1 ? "s" : "", estimate.host_mib,
                    static_cast<double>(*available) / kMib));
  }
}

}  // namespace gentrain::trainers
