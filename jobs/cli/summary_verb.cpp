// gentrain summary MODEL|JOB: the layers of a model, or of a job's.
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/opened_options.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/model_at_work.h"
#include "trainers/model_summary.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

trainers::ModelSummary summary_of_file(const std::string& file, const OptionSet& options) {
  if (const std::string ending = image::ending_of(file); ending != ".yaml" && ending != ".yml") {
    if (options.has("set")) {
      throw JobError(fmt::format("--set: {} is no job", file));
    }
    trainers::ModelChoice choice;
    choice.model = file;
    choice.top = top_of(options);
    choice.without_weights = true;
    const auto alone = comm::make_single();
    const trainers::ModelAtWork at_work(choice, inference_options(options), *alone);
    return summary_of(at_work.model());
  }
  const Job job = load_job(
      file, options.has("set") ? options.get<std::vector<std::string>>("set") : Arguments());
  if (job.kind == JobKind::kPrepareFaces) {
    throw JobError(fmt::format("{}: the job prepares faces and has no model", file));
  }
  if (job.kind == JobKind::kDeepDream) {
    throw JobError(
        fmt::format("{}: a summary of a deepdream job cannot be given; ask for that of its network "
                    "by the network's name or file",
                    file));
  }
  trainers::ModelSummary summary =
      job.kind == JobKind::kFeatureRegression
          ? trainers::summary_of_features(trainers::feature_options(job, job.regression))
          : trainers::summary_of_job(job);
  summary.name = file;
  return summary;
}

}  // namespace

int summary_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "gentrain summary MODEL|JOB [options]",
      "Layers with shapes, parameters and FLOPs, of a model of gentrain, Keras or ONNX, of "
      "inception_v3, vgg16,\nvgg19 or squeezenet, or of a job's model (JOB: a .yaml file), with "
      "what each of its stages freezes.");
  add_model_options(options);
  options.visible.add_options()("json", po::bool_switch(), "one JSON object")(
      "top", po::value<std::string>()->default_value("original"),
      "of a built-in network: original, or none: without its last layers")(
      "set", po::value<std::vector<std::string>>()->composing(), "KEY=VALUE: a key of the job");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const std::string file = options.required("model");
  if (session.communicator.rank() != 0) {
    return kSuccess;
  }
  const trainers::ModelSummary summary = summary_of_file(file, options);
  std::cout << (options.get<bool>("json") ? to_json(summary).dump() + "\n" : text_of(summary));
  return kSuccess;
}

}  // namespace gentrain::jobs
