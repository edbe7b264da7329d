// gentrain eval MODEL [DATA]: loss and accuracy of a trained model.
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "comm/watchdog.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/schema.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/observers.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

/// What --importance-samples says; 0 without it. Throws JobError for a count out of range.
std::int64_t importance_samples(const OptionSet& options) {
  if (!options.has("importance-samples")) {
    return 0;
  }
  const auto samples = options.get<std::int64_t>("importance-samples");
  if (const Range range = between(1, kMostSamples); !range.contains(static_cast<double>(samples))) {
    throw JobError(fmt::format("--importance-samples {}: must be {}", samples, range.text()));
  }
  return samples;
}

/// What --top-k says. Throws JobError for a count out of range.
std::int64_t top_k(const OptionSet& options) {
  const auto count = options.get<std::int64_t>("top-k");
  if (const Range range = between(1, kMostOutputs); !range.contains(static_cast<double>(count))) {
    throw JobError(fmt::format("--top-k {}: must be {}", count, range.text()));
  }
  return count;
}

}  // namespace

int eval_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "[mpirun -np N] gentrain eval MODEL [DATA] [options]",
      "Loss of a model, and accuracy of a classifier, over a data set: a folder of images or with\n"
      "MNIST's test set, a pack, 'digits', 'faces' (256 built-in ones), 'lfw' (the test set of\n"
      "faces out of photographs), or an .h5 file with /x and /y. Without DATA MNIST's test set, "
      "or\n"
      "the built-in digits where it is not found; of srgan those of lfw, or the built-in faces. "
      "The\nlast line is one JSON object.");
  add_model_options(options);
  options.add_argument("data");
  options.visible.add_options()(
      "importance-samples", po::value<std::int64_t>(),
      "of an autoencoder: estimates log p(x) too, with so many samples of each image's latent "
      "numbers")("top-k", po::value<std::int64_t>()->default_value(5),
                 "of a classifier: counts images whose class is among so many likeliest ones too")(
      "report", po::value<std::string>(),
      "of a classifier: folder for precision and recall of each class and the confusion matrix "
      "(evaluation.json, confusion.png), and the worst mistakes (mistakes.png)");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const std::int64_t samples = importance_samples(options);
  const std::int64_t likeliest = top_k(options);
  const comm::Watchdog watchdog(session.communicator);
  trainers::Inference inference(options.required("model"), inference_options(options),
                                session.communicator);
  const trainers::InferenceData data =
      inference.load(options.has("data") ? options.get<std::string>("data") : "");
  trainers::Evaluation result = inference.evaluate(*data.samples, likeliest);
  if (samples > 0) {
    result.terms.emplace_back("log_likelihood", inference.log_likelihood(*data.samples, samples));
  }
  if (options.has("report")) {
    const std::string folder = options.get<std::string>("report");
    const trainers::ClassificationReport report = inference.report(*data.samples);
    if (session.communicator.rank() == 0) {
      trainers::write_report(folder, report, *data.samples);
    }
  }
  if (session.communicator.rank() == 0) {
    std::cout << data.note << "\n";
    if (const std::string note = inference.weights_note(); !note.empty()) {
      std::cout << note << "\n";
    }
    std::cout << trainers::describe(result) << "\n" << to_json(result).dump() << std::endl;
  }
  session.communicator.barrier();
  return kSuccess;
}

}  // namespace gentrain::jobs
