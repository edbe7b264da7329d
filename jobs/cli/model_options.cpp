// Options of the verbs that work with a trained model.
#include "jobs/cli/model_options.h"

#include <fmt/format.h>

#include "jobs/cli/schema.h"
#include "kernels/error.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

void add_model_options(OptionSet& options) {
  options.add_argument("model");
  options.visible.add_options()(
      "threads", po::value<std::int64_t>()->default_value(0),
      "threads of a rank; 0: all cores shared out over this host's ranks")(
      "isa", po::value<std::string>()->default_value("auto"), "auto, v3 or v4");
}

trainers::InferenceOptions inference_options(const OptionSet& options) {
  trainers::InferenceOptions inference;
  inference.threads = options.get<std::int64_t>("threads");
  const Range threads = between(0, kMostThreads);
  if (!threads.contains(static_cast<double>(inference.threads))) {
    throw JobError(fmt::format("--threads {}: must be {}", inference.threads, threads.text()));
  }
  const auto& isa = options.get<std::string>("isa");
  if (isa == "v3") {
    inference.isa = trainers::IsaChoice::kV3;
  } else if (isa == "v4") {
    inference.isa = trainers::IsaChoice::kV4;
  } else if (isa != "auto") {
    throw JobError(fmt::format("--isa: there is no '{}' (known: auto, v3, v4)", isa));
  }
  return inference;
}

}  // namespace gentrain::jobs
