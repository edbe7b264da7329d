// gentrain export MODEL OUT.h5|OUT.onnx: the network with its weights, for Keras or ONNX.
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/model_options.h"
#include "jobs/cli/opened_options.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/model_at_work.h"
#include "trainers/model_export.h"

namespace gentrain::jobs {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

/// "input [n, 28, 28, 1]"
std::string text_of(const std::vector<trainers::ModelTensor>& tensors) {
  std::vector<std::string> texts;
  for (const trainers::ModelTensor& tensor : tensors) {
    const auto extents = tensor.shape.extents();
    texts.push_back(extents.empty()
                        ? fmt::format("{} [n]", tensor.name)
                        : fmt::format("{} [n, {}]", tensor.name, fmt::join(extents, ", ")));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

int export_verb(Session& session, const Arguments& arguments) {
  OptionSet options("gentrain export MODEL OUT.h5|OUT.onnx [options]",
                    "The network with its weights: .h5 is a whole model of Keras 2 and 3, .onnx an "
                    "ONNX model. OUT is replaced\nif it is there. What becomes of pixels before "
                    "the network is the caller's part, and is printed.");
  add_model_options(options);
  options.add_argument("out");
  options.visible.add_options()(
      "weights", po::value<std::string>(),
      "of inception_v3, vgg16, vgg19 and squeezenet: a Keras file, or random; without it the file "
      "is looked for in $GENTRAIN_DATA/weights and data/weights")(
      "top", po::value<std::string>()->default_value("original"),
      "of a built-in network: original, or none: without its last layers");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  trainers::ModelChoice choice = model_choice(options);
  choice.top = top_of(options);
  const fs::path out = options.required("out");
  static_cast<void>(trainers::export_format_of(out));
  if (session.communicator.rank() != 0) {
    return kSuccess;
  }
  const auto alone = comm::make_single();
  trainers::ModelAtWork at_work(choice, inference_options(options), *alone);
  const trainers::OpenedModel& model = at_work.model();
  for (const fs::path& file : model.files()) {
    std::error_code error;
    if (fs::equivalent(file, out, error)) {
      throw JobError(fmt::format("{}: is the model that is read", out.string()));
    }
  }
  trainers::export_model(model, at_work.runner().queue(), out, GENTRAIN_VERSION);
  fmt::print("{}: {} to {}\n", out.string(), text_of(model.inputs()), text_of(model.outputs()));
  if (const std::string pixels = trainers::pixels_taken(model); !pixels.empty()) {
    fmt::print("of pixels x, 0 to 255, it takes {}\n", pixels);
  }
  return kSuccess;
}

}  // namespace gentrain::jobs
