// Estimates by trial.
#include "trainers/estimate.h"

#include <memory>

#include "comm/communicator.h"
#include "kernels/error.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace {

/// The run itself, or one on stand-in images if the job's own are not there.
std::unique_ptr<ClassifierRun> make_run(TrainOptions options, comm::Communicator& communicator,
                                        std::string& missing) {
  try {
    return std::make_unique<ClassifierRun>(options, communicator);
  } catch (const IoError& error) {
    missing = error.what();
  }
  if (options.data.source == DataOptions::Source::kHdf5) {
    throw IoError(missing);  // nothing is known of the images' shape
  }
  options.data.source = DataOptions::Source::kDigits;
  options.data.train_count = options.batch.global;
  options.data.test_count = 1;
  options.data.validation = 0;
  return std::make_unique<ClassifierRun>(options, communicator);
}

}  // namespace

Estimate estimate_classifier(const TrainOptions& options, int ranks) {
  constexpr double kMib = 1024.0 * 1024.0;
  const auto communicator = ranks == 1 ? comm::make_single() : comm::make_pretended(ranks);
  Estimate estimate;
  const auto run = make_run(options, *communicator, estimate.missing);
  estimate.contract = run->contract();
  estimate.layers = run->network().layers();
  estimate.parameters = run->parameters().count();
  estimate.data = run->data().train->description();
  estimate.threads = run->workers();
  std::vector<Stage> stages = run->make_stages("");
  constexpr std::int64_t kTrialSteps = 2;
  for (Stage& stage : stages) {
    estimate.steps += planned_steps(stage.stop, run->loop_options());
    stage.stop = {std::nullopt, kTrialSteps};
  }
  run_stages(stages, run->loop_options(), run->runner(), &run->loader(), {});
  estimate.exchanged_bytes = run->updates().back()->exchange().bytes_sent_per_step();
  estimate.tensor_mib = static_cast<double>(run->device().memory().stats().peak_bytes) / kMib;
  estimate.resident_mib = peak_rss_mib();
  return estimate;
}

}  // namespace gentrain::trainers
