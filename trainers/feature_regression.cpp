// The life cycle of a regression on features.
#include "trainers/feature_regression.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "core/io/sha256.h"
#include "kernels/error.h"
#include "trainers/checkpoint.h"
#include "trainers/contract.h"
#include "trainers/model_io.h"
#include "trainers/models/pretrained.h"
#include "trainers/preflight.h"
#include "trainers/regression_state.h"
#include "trainers/run_session.h"
#include "trainers/stop_signal.h"
#include "trainers/units.h"

namespace gentrain::trainers {

namespace {

using Unit = CheckpointOptions::Unit;

const GraphNetwork& network_of(const TrainingRun& run) {
  return dynamic_cast<const GraphNetwork&>(*run.objective().classifier());
}

/// Puts a regression into the network. On each rank.
void set_regression(TrainingRun& run, const DenseWeights& values) {
  ParameterSet& parameters = run.parameters();
  Queue& queue = run.runner().queue();
  const auto set = [&](const char* name, const std::vector<float>& of) {
    const int index = parameters.find(fmt::format("{}/{}", kRegressionNode, name));
    copy_from_host<float>(run.device(), queue, of, parameters[index]);
  };
  set("weight", values.weight);
  set("bias", values.bias);
  queue.wait();
  parameters.mark_changed();
}

/// The summary's part that is equal for equal runs, on any number of ranks.
nlohmann::json metrics_of(const FeatureEvaluation& test, const FeatureEvaluation& train,
                          const LogisticResult& fit) {
  nlohmann::json metrics = to_json(test.evaluation);
  metrics["train_top1"] = train.evaluation.top1();
  metrics["objective"] = fit.history.empty() ? 0.0 : fit.history.back();
  metrics["nonzero_weights"] = fit.model.nonzero();
  return metrics;
}

class FeatureRegression {
 public:
  FeatureRegression(TrainingRun& run, const RegressionOptions& regression,
                    const RunSetting& setting, RunSession& session, std::int64_t& iterations)
      : run_(run),
        options_(run.options()),
        regression_(regression),
        setting_(setting),
        session_(session),
        iterations_(iterations),
        communicator_(run.communicator()),
        writes_(communicator_.rank() == 0),
        images_(*run.whole_data()),
        split_(split_features(images_, options_.data.validation,
                              options_.data.validation_seed.value_or(options_.seed))) {}

  RunResult run() {
    run_.prepare();
    const graph::Graph& graph = network_of(run_).executor().graph();
    node_ = graph.index_of(kFeaturesNode);
    width_ = graph.node(node_).shape.elements();
    preflight();
    const std::string hashes = image_hashes(images_, run_.workers(), communicator_);
    data_identity_ = identity_of(hashes);
    std::optional<optim::OwlqnState> state = restored();
    iterations_ = state ? state->iterations() : 0;
    session_.take_folder();
    if (writes_) {
      begin_in_folder(state.has_value());
    }
    if (state) {
      say_going_on(session_.beginning(), run_);
      session_.beginning().checkpoint = {};
    }
    const ImageFeatures features = make_features(hashes);
    const LabelledFeatures data{
        features.width, images_.classes(), split_.train.labels, [&](std::int64_t sample) {
          return features.row(split_.train.numbers[static_cast<std::size_t>(sample)]);
        }};
    LogisticFit fit(communicator_, run_.runner().pool(), regression_.fit, data);
    if (state) {
      fit.resume(*std::move(state));
    }
    std::optional<CheckpointWriter> writer;
    if (writes_) {
      writer.emplace(session_.folder(), run_.parameters(), options_.checkpoint.keep);
      writer->discard(session_.beginning().passed_over);
    }
    const bool ended = iterate(fit, writer);
    if (writer) {
      writer->finish();
    }
    return ended ? finish(fit, features) : stop();
  }

 private:
  void preflight() {
    check_output_is_shared(communicator_, session_.folder().path(), session_.id());
    compare_clocks(communicator_);
    const std::int64_t features =
        static_cast<std::int64_t>(sizeof(float)) * images_.size() * width_;
    // One behind the other: what loads the features, then the fit.
    const std::int64_t beside = std::max(
        feature_loader_bytes(images_.size(), width_),
        regression_bytes(width_, images_.classes(), regression_.fit.shards, run_.workers()));
    note_ = fmt::format(
        "features: {} images x {} numbers, {:.1f} MiB on each host; beside them {:.1f} MiB a rank",
        with_commas(images_.size()), with_commas(width_), mib(features), mib(beside));
    check_memory(communicator_, features / communicator_.ranks_on_host() + beside,
                 available_memory());
    if (writes_ && options_.checkpoint.every.unit != Unit::kNever) {
      check_space(session_.folder().path(),
                  regression_state_bytes(width_, images_.classes()) + run_.arena_bytes() / 2);
    }
  }

  /// What the run is fitted to.
  [[nodiscard]] std::string identity_of(const std::string& hashes) const {
    io::Sha256 hash;
    hash.update(hashes.data(), hashes.size());
    for (const FeatureSamples* part : {&split_.train, &split_.test}) {
      hash.update(part->numbers.data(), part->numbers.size() * sizeof(std::int64_t));
      hash.update(part->labels.data(), part->labels.size() * sizeof(std::int32_t));
    }
    return hash.finish();
  }

  /// What the beginning's checkpoint has, if the run goes on. Throws JobError for another run's.
  std::optional<optim::OwlqnState> restored() {
    const Beginning& beginning = session_.beginning();
    if (beginning.kind != Beginning::Kind::kGoesOn) {
      return std::nullopt;
    }
    const auto text = [&](const char* key) {
      return beginning.checkpoint.header.value(key, std::string());
    };
    if (text("data_identity") != data_identity_) {
      throw JobError(fmt::format(
          "{}: the run was on other images ({}), or on another split of them, than now ({})",
          beginning.source, text("data"), run_.data().train->description()));
    }
    if (const std::string weights = run_.objective().identity(); text("objective") != weights) {
      throw JobError(fmt::format("{}: the run began with {}, but now there is {}", beginning.source,
                                 text("objective").empty() ? "no weights" : text("objective"),
                                 weights.empty() ? "none" : weights));
    }
    return regression_state_from(beginning.checkpoint.arrays, beginning.source);
  }

  void begin_in_folder(bool goes_on) {
    const Beginning& beginning = session_.beginning();
    RunFolder& folder = session_.folder();
    const bool own = beginning.earlier == RunFolder::Earlier::kStays;
    if (goes_on && own && setting_.resume.mode == ResumeOptions::Mode::kPath &&
        beginning.passed_over.empty()) {
      folder.remove_checkpoints_behind(iterations_);
    }
    spdlog::info("job {}: {} rank{} x {} thread{}, {}", setting_.job, communicator_.size(),
                 communicator_.size() == 1 ? "" : "s", run_.workers(),
                 run_.workers() == 1 ? "" : "s", run_.device().identity().name);
    spdlog::info("contract: {}", run_.contract());
    spdlog::info("data: {}: {} images to fit to, {} to test with", images_.description(),
                 split_.train.numbers.size(), split_.test.numbers.size());
    if (!run_.data_note().empty()) {
      spdlog::warn("{}", run_.data_note());
    }
    for (const std::string& note : run_.objective().notes()) {
      spdlog::info("{}", note);
    }
    spdlog::info("{}", note_);
    session_.write_records(run_, iterations_);
    if (goes_on) {
      folder.cut_metrics(iterations_, false);
      taken_ = own ? iterations_ : 0;
    }
  }

  ImageFeatures make_features(const std::string& hashes) {
    // The regression is no part of what the features depend on, whatever it was drawn as.
    const auto classes = static_cast<std::size_t>(images_.classes());
    set_regression(run_, {std::vector<float>(classes * static_cast<std::size_t>(width_)),
                          std::vector<float>(classes)});
    const auto start = std::chrono::steady_clock::now();
    const DeviceIdentity& device = run_.device().identity();
    const data::Normalization normalization = run_.data().train_normalization;
    const FeatureSource source{
        images_,
        normalization,
        network_of(run_),
        node_,
        fmt::format("{} of {}, mean {}, std {}, {} {} {} {}, weights {}",
                    to_json(options_.model).dump(), images_.sample_shape().str(),
                    normalization.mean, normalization.stddev, device.kind, device.isa,
                    device.libraries, name_of(options_.precision),
                    weights_sha256(run_.device(), run_.runner().queue(), run_.parameters())),
        options_.precision == Precision::kBf16Emulated};
    const std::filesystem::path cache = cache_folder(options_.data);
    ImageFeatures features = load_features(communicator_, run_.runner(), source, hashes, cache);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    spdlog::info("features: {} computed in {:.1f} s, {} taken from the cache {}",
                 with_commas(features.computed), seconds.count(),
                 with_commas(features.samples - features.computed), cache.string());
    return features;
  }

  /// True at the end of the fit, false if somebody asked to stop before.
  bool iterate(LogisticFit& fit, std::optional<CheckpointWriter>& writer) {
    for (bool more = true; more;) {
      communicator_.activity().set_step(iterations_ + 1);
      if (asked_to_stop()) {
        checkpoint(fit, writer, true);
        return false;
      }
      more = fit.step();
      if (fit.state().iterations() > iterations_) {
        iterations_ = fit.state().iterations();
        if (writes_) {
          record(fit);
          checkpoint(fit, writer, false);
        }
      }
    }
    checkpoint(fit, writer, true);
    return true;
  }

  bool asked_to_stop() {
    const auto all = communicator_.all_gather_text(stop_asked() ? "stop" : "");
    return std::ranges::any_of(all, [](const std::string& text) { return !text.empty(); });
  }

  void record(const LogisticFit& fit) {
    const std::int64_t nonzero = fit.model().nonzero();
    const double objective = fit.state().values.back();
    session_.folder().append_metrics({{"step", iterations_},
                                      {"objective", objective},
                                      {"nonzero_weights", nonzero},
                                      {"evaluations", fit.state().evaluations}});
    session_.folder().try_write_status(iterations_);
    if (iterations_ % options_.log.every == 0) {
      spdlog::info("iteration {:>4}  objective {:.6f}, {} weights are not zero", iterations_,
                   objective, with_commas(nonzero));
    }
  }

  /// Rank 0: as often as the job says; `last`: at the end too.
  void checkpoint(const LogisticFit& fit, std::optional<CheckpointWriter>& writer, bool last) {
    const CheckpointOptions::Interval& every = options_.checkpoint.every;
    if (!writer || every.unit == Unit::kNever || iterations_ == taken_) {
      return;
    }
    const auto now = std::chrono::steady_clock::now();
    bool due = last;
    if (every.unit == Unit::kSteps || every.unit == Unit::kEpochs) {
      due = due || iterations_ % every.count == 0;
    } else if (every.unit == Unit::kSeconds) {
      due = due || now - taken_at_ >= std::chrono::seconds(every.count);
    }
    if (!due) {
      return;
    }
    const comm::PhaseScope phase(communicator_.activity(), comm::Phase::kWriting);
    Snapshot snapshot;
    snapshot.step = iterations_;
    snapshot.header = {{"job", setting_.job},
                       {"same_job", setting_.same_job},
                       {"step", iterations_},
                       {"contract", run_.contract()},
                       {"data", run_.data().train->description()},
                       {"data_identity", data_identity_},
                       {"objective", run_.objective().identity()}};
    snapshot.observers.push_back(to_array(fit.state()));
    writer->start(std::move(snapshot));
    taken_ = iterations_;
    taken_at_ = now;
  }

  RunResult stop() {
    if (writes_) {
      session_.folder().flush_metrics();
      session_.folder().write_status("stopped", iterations_, setting_.stopped_code);
      spdlog::info("stopped on request behind iteration {}: the same command goes on", iterations_);
    }
    communicator_.barrier();
    return {RunResult::Kind::kStopped, {}};
  }

  RunResult finish(const LogisticFit& fit, const ImageFeatures& features) {
    communicator_.activity().enter(comm::Phase::kEnding);
    LogisticResult result{fit.model(), iterations_, fit.state().values, fit.state().ending};
    // What the file will have: the evaluation is of that.
    result.model = logistic_model_from(to_arrays(result.model), "the fitted regression");
    set_regression(run_, dense_weights(result.model));
    const std::vector<std::string> names = images_.class_names();
    const FeatureEvaluation test = evaluate_features(result.model, features, split_.test, names);
    const FeatureEvaluation train = evaluate_features(result.model, features, split_.train, names);
    const std::vector<std::byte> state = optim::to_bytes(fit.state());
    nlohmann::json summary = summarize(result, metrics_of(test, train, result), features);
    summary["state_sha256"] = io::sha256(state);
    if (writes_) {
      write(summary, test.report);
      print(result, test.evaluation);
    }
    communicator_.barrier();
    return {RunResult::Kind::kFinished, std::move(summary)};
  }

  nlohmann::json summarize(const LogisticResult& result, nlohmann::json metrics,
                           const ImageFeatures& features) {
    const PeakMemory memory = memory_of_ranks(run_);
    return {
        {"job", setting_.job},
        {"kind", "feature_regression"},
        {"ranks", communicator_.size()},
        {"shards", regression_.fit.shards},
        {"threads", run_.workers()},
        {"device", run_.device().identity().kind},
        {"isa", run_.device().identity().isa},
        {"precision", name_of(options_.precision)},
        {"contract", run_.contract()},
        {"data", images_.description()},
        {"steps", iterations_},
        {"weights_sha256", weights_sha256(run_.device(), run_.runner().queue(), run_.parameters())},
        {"data_sha256", data_identity_},
        {"metrics", std::move(metrics)},
        {"regression", to_json(result)},
        {"train_images", split_.train.numbers.size()},
        {"features_computed", features.computed},
        {"peak_rss_mib", memory.largest},
        {"peak_rss_mib_all_ranks", memory.all},
        {"tensor_peak_mib", memory.tensors},
        {"restarts", restarts()}};
  }

  void write(const nlohmann::json& summary, const ClassificationReport& report) {
    const comm::PhaseScope writing(communicator_.activity(), comm::Phase::kWriting);
    RunFolder& folder = session_.folder();
    folder.flush_metrics();
    if (options_.checkpoint.every.unit != Unit::kNever) {
      nlohmann::json record;
      for (const char* key :
           {"job", "contract", "data", "steps", "weights_sha256", "data_sha256", "metrics"}) {
        record[key] = summary[key];
      }
      save_model(folder.model(), run_.description(std::move(record)), run_.device(),
                 run_.runner().queue(), run_.parameters(), [&folder] { folder.check_lock(); });
    }
    write_report(folder, report, *run_.data().test);
    folder.write_summary(summary);
    folder.write_status("finished", iterations_, 0);
  }

  void print(const LogisticResult& result, const Evaluation& test) const {
    spdlog::info("finished {}: {} iterations, ended by {}", setting_.job, iterations_,
                 optim::name_of(result.ending));
    spdlog::info("Test set accuracy {:.4f} ({} of {})", test.top1(), with_commas(test.correct),
                 with_commas(test.samples));
    spdlog::info("{} of {} weights are not zero", with_commas(result.model.nonzero()),
                 with_commas(std::ssize(result.model.coefficients)));
    spdlog::info("output {}", session_.folder().path().string());
  }

  TrainingRun& run_;
  const TrainOptions& options_;
  const RegressionOptions& regression_;
  const RunSetting& setting_;
  RunSession& session_;
  std::int64_t& iterations_;
  comm::Communicator& communicator_;
  bool writes_;  // rank 0
  const data::Dataset& images_;
  FeatureSplit split_;
  int node_ = -1;
  std::int64_t width_ = 0;
  std::string note_;
  std::string data_identity_;
  std::int64_t taken_ = 0;  // the iteration of the last checkpoint
  std::chrono::steady_clock::time_point taken_at_ = std::chrono::steady_clock::now();
};

}  // namespace

RunResult run_feature_regression(const TrainOptions& options, const RegressionOptions& regression,
                                 const RunSetting& setting, comm::Communicator& communicator) {
  const TrainOptions whole = feature_options(options, regression);
  RunSession session(setting, whole, communicator);
  if (session.nothing_to_do()) {
    return {RunResult::Kind::kNothingToDo, {}};
  }
  std::int64_t iterations = 0;
  try {
    TrainingRun run(whole, communicator, setting.identity);
    return FeatureRegression(run, regression, setting, session, iterations).run();
  } catch (const std::exception& error) {
    session.record_failure(iterations, error);
    throw;
  }
}

}  // namespace gentrain::trainers
