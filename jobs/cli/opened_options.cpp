// Options of a model of any writer.
#include "jobs/cli/opened_options.h"

#include <fmt/format.h>

#include "jobs/cli/schema.h"
#include "kernels/error.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

constexpr std::int64_t kBatch = 8;
constexpr std::int64_t kMostBatch = 4096;

image::Fit fit_of(const std::string& name) {
  if (name == "crop") {
    return image::Fit::kCrop;
  }
  if (name == "stretch") {
    return image::Fit::kStretch;
  }
  throw JobError(fmt::format("--fit: there is no '{}' (known: crop, stretch)", name));
}

trainers::PretrainedOptions::Top top_of(const std::string& name) {
  if (name == "original") {
    return trainers::PretrainedOptions::Top::kOriginal;
  }
  if (name == "none") {
    return trainers::PretrainedOptions::Top::kNone;
  }
  throw JobError(fmt::format("--top: there is no '{}' (known: original, none)", name));
}

}  // namespace

void add_opened_options(OptionSet& options, const std::string& top) {
  options.visible.add_options()(
      "weights", po::value<std::string>(),
      "of inception_v3, vgg16, vgg19 and squeezenet: a Keras file, or random; without it the file "
      "is looked for in $GENTRAIN_DATA/weights and data/weights")(
      "preprocess", po::value<std::string>(),
      "what becomes of pixels: inception, caffe, torch or none; of built-in networks their own, of "
      "a file of Keras or ONNX none; a model of gentrain's says it itself")(
      "fit", po::value<std::string>(),
      "how pictures get the model's size: crop (the middle) or stretch")(
      "classes", po::value<std::string>(),
      "names of the classes: imagenet_class_index.json, or a JSON list");
  if (!top.empty()) {
    options.visible.add_options()(
        "top", po::value<std::string>()->default_value(top),
        "of a built-in network: original, or none: without its last layers");
  }
}

void add_batch_option(OptionSet& options) {
  options.visible.add_options()(
      "batch", po::value<std::int64_t>()->default_value(kBatch),
      "pictures or rows that are computed together; another number may change the last bits");
}

trainers::ModelChoice model_choice(const OptionSet& options) {
  trainers::ModelChoice choice;
  choice.model = options.required("model");
  const auto text = [&](const char* name) {
    return options.has(name) ? options.get<std::string>(name) : std::string();
  };
  choice.weights = text("weights");
  choice.classes = text("classes");
  if (options.has("preprocess")) {
    choice.preprocessing = trainers::preprocessing_of(text("preprocess"));
  }
  if (options.has("fit")) {
    choice.fit = fit_of(text("fit"));
  }
  return choice;
}

trainers::PretrainedOptions::Top top_of(const OptionSet& options) {
  return top_of(options.get<std::string>("top"));
}

std::int64_t batch_of(const OptionSet& options) {
  const auto batch = options.get<std::int64_t>("batch");
  if (const Range range = between(1, kMostBatch); !range.contains(static_cast<double>(batch))) {
    throw JobError(fmt::format("--batch {}: must be {}", batch, range.text()));
  }
  return batch;
}

}  // namespace gentrain::jobs
