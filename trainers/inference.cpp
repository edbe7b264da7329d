// Evaluation and prediction with a model file.
#include "trainers/inference.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/data/faces.h"
#include "core/image/folder.h"
#include "core/image/pack.h"
#include "kernels/error.h"
#include "trainers/contract.h"
#include "trainers/face_preparation.h"
#include "trainers/face_source.h"
#include "trainers/srgan.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr const char* kTestImages = "t10k-images-idx3-ubyte";
constexpr const char* kTestLabels = "t10k-labels-idx1-ubyte";
/// Images that a worker computes at a time; part of what the loss's last bits depend on.
constexpr std::int64_t kChunk = 256;
/// More than a host has cores: ranks and threads are not bound by the shards of a training run.
constexpr std::int64_t kShards = 65536;

InferenceData mnist_test_set(const fs::path& folder) {
  return {data::load_idx(folder / kTestImages, folder / kTestLabels),
          fmt::format("data: MNIST's test set in {}", folder.string())};
}

InferenceData digits_test_set(std::string note, int threads) {
  const DataOptions defaults;
  return {data::make_digits(defaults.seed, 1, defaults.test_count, threads).test, std::move(note)};
}

InferenceData faces_test_set(std::string note, int threads) {
  const DataOptions defaults;
  return {data::make_faces(defaults.seed, 1, kTestFaces, threads).test, std::move(note)};
}

InferenceData any_test_set(int threads) {
  const std::vector<fs::path> folders = mnist_folders({});
  const fs::path folder = find_folder(folders, kTestImages);
  if (!folder.empty()) {
    return mnist_test_set(folder);
  }
  return digits_test_set(
      fmt::format("data: MNIST was not found in {}; taking the built-in digits", joined(folders)),
      threads);
}

bool is_hdf5(const fs::path& path) {
  const std::string ending = image::ending_of(path);
  return ending == ".h5" || ending == ".hdf5";
}

/// Shape of images as the model takes them.
image::FitOptions fit_of(const Shape& shape, image::Fit fit, const std::string& source) {
  if (shape.rank() != 3 || (shape[2] != 1 && shape[2] != 3)) {
    throw JobError(
        fmt::format("{}: images are grey or RGB, but the model takes {}", source, shape.str()));
  }
  return {shape[0], shape[1], fit, static_cast<int>(shape[2])};
}

/// A folder of MNIST's or of images.
InferenceData folder_data(const fs::path& folder, const Shape& shape, image::Fit fit) {
  if (data::idx_exists(folder / kTestImages)) {
    return mnist_test_set(folder);
  }
  return {image::open_listing(image::list_images(folder), fit_of(shape, fit, folder.string())),
          fmt::format("data: images in {}", folder.string())};
}

/// One image, whose label is unknown.
InferenceData image_data(const fs::path& file, const Shape& shape, image::Fit fit) {
  image::Listing listing{file.parent_path(), {}, {{file.filename().string(), -1}}};
  return {image::open_listing(std::move(listing), fit_of(shape, fit, file.string())),
          fmt::format("data: {}", file.string())};
}

}  // namespace

InferenceData load_inference_data(const std::string& source, const Shape& shape, int threads,
                                  image::Fit fit) {
  if (source.empty()) {
    return any_test_set(threads);
  }
  std::error_code error;
  const fs::path path(source);
  if (fs::is_directory(path, error)) {
    return folder_data(path, shape, fit);
  }
  if (!data::idx_exists(path)) {
    if (source == "digits") {
      return digits_test_set("data: the built-in digits", threads);
    }
    if (source == "faces") {
      return faces_test_set("data: the built-in faces", threads);
    }
    throw IoError(fmt::format(
        "{} is not there: a folder of images or of MNIST's files, an image, an idx file "
        "of images, an .h5 file, 'digits', 'faces' or, to evaluate, 'lfw' was expected",
        source));
  }
  if (image::is_pack(path)) {
    return {image::open_pack(path, fit_of(shape, fit, source)).samples,
            fmt::format("data: {}", source)};
  }
  if (is_hdf5(path)) {
    return {data::load_hdf5(path, {}).train, fmt::format("data: {}", source)};
  }
  if (image::has_image_name(path)) {
    return image_data(path, shape, fit);
  }
  return {data::load_idx_images(path), fmt::format("data: {}", source)};
}

Inference::Inference(const std::filesystem::path& model, const InferenceOptions& options,
                     comm::Communicator& communicator)
    : file_(model.string()), communicator_(communicator) {
  TrainOptions train;
  train.isa = options.isa;
  train.threads = options.threads;
  train.batch.shards = kShards;
  device_ = make_device(train);
  runner_ = std::make_unique<StepRunner>(communicator, *device_, worker_count(train, communicator),
                                         kShards);
  model_ = load_model(model, *device_, runner_->queue());
  contract_ = contract_text(train, device_->identity());
}

InferenceData Inference::load(const std::string& source) {
  const Shape& shape = description().image;
  std::error_code error;
  const bool makes_faces = is_srgan(description().model);
  TrainOptions job;
  job.model = description().model;
  const bool chooses = source.empty() && makes_faces;
  const bool named = source == "lfw" && !fs::exists(source, error);
  job.data.source = chooses ? DataOptions::Source::kAuto : DataOptions::Source::kLfw;
  if (!chooses && !named) {
    return load_inference_data(source, shape, workers(), description().fit);
  }
  if (!takes_photographs(job, communicator_)) {
    return faces_test_set(fmt::format("data: photographs of faces were not found in {}; taking the "
                                      "built-in faces",
                                      joined(photograph_folders(job.data))),
                          workers());
  }
  if (shape.rank() != 3 || shape[0] != shape[1] || shape[2] != 3) {
    throw JobError(fmt::format("{} takes images of {}, but faces are square colour images", file_,
                               shape.str()));
  }
  job.data.faces.size = shape[0];
  return {load_faces(job.data, workers(), communicator_).pair.test,
          fmt::format("data: faces of the photographs in {}", find_photographs(job.data).string())};
}

void Inference::check_shape(const data::Dataset& samples) const {
  const Shape& needed = description().image;
  if (samples.sample_shape() != needed) {
    throw JobError(fmt::format("{} takes images of {} but {} holds images of {}", file_,
                               needed.str(), samples.description(), samples.sample_shape().str()));
  }
}

Evaluation Inference::evaluate(const data::Dataset& samples, std::int64_t top_k) {
  check_shape(samples);
  const bool labelled = model_.objective->classifier() != nullptr;
  for (std::int64_t i = 0; labelled && i < samples.size(); ++i) {
    const std::int32_t label = samples.label(i);
    if (label < 0) {
      throw JobError(fmt::format("{}: there are no labels to compare with", samples.description()));
    }
    if (label >= description().classes) {
      throw JobError(fmt::format("{}: label {} of sample {}, but {} tells only {} classes apart",
                                 samples.description(), label, i, file_, description().classes));
    }
  }
  const std::vector<std::string> names = samples.class_names();
  if (const auto& known = description().class_names;
      labelled && !names.empty() && !known.empty() && names != known) {
    throw JobError(fmt::format("{}: has the classes {}, but {} tells {} apart",
                               samples.description(), fmt::join(names, ", "), file_,
                               fmt::join(known, ", ")));
  }
  check_equal_on_all_ranks(communicator_, [&]() -> std::vector<NamedText> {
    return {{"contract", contract_},
            {"model", weights_sha256(*device_, runner_->queue(), *model_.parameters)},
            {"data set", data_identity(samples)}};
  });
  Evaluation result =
      trainers::evaluate(communicator_, *runner_, *model_.objective,
                         {samples, description().test_normalization, kChunk,
                          std::clamp<std::int64_t>(top_k, 1, std::max(1, description().classes))});
  if (!std::isfinite(result.loss)) {
    throw NumericError(fmt::format("{}: the loss over {} is {}", file_, samples.description(),
                                   std::fabs(result.loss)));
  }
  return result;
}

ClassificationReport Inference::report(const data::Dataset& samples) {
  const Network* const network = model_.objective->classifier();
  if (network == nullptr) {
    throw JobError(
        fmt::format("{} holds a {}, which predicts no classes", file_, description().model.name));
  }
  return classification_report(communicator_, *runner_, *network,
                               {samples, description().test_normalization, kChunk});
}

/// What a model cannot do names its file.
template <class Compute>
auto Inference::named(const Compute& compute) const {
  try {
    return compute();
  } catch (const JobError& error) {
    throw JobError(fmt::format("{}: {}", file_, error.what()));
  }
}

double Inference::log_likelihood(const data::Dataset& samples, std::int64_t importance_samples) {
  return named([&] {
    return mean_log_likelihood(communicator_, *runner_, *model_.objective,
                               {samples, description().test_normalization, kChunk},
                               importance_samples);
  });
}

std::vector<image::Image> Inference::sample(std::uint64_t seed, std::int64_t count) {
  constexpr std::int64_t kAtATime = 256;
  std::vector<image::Image> images;
  for (std::int64_t first = 0; first < count; first += kAtATime) {
    Context context{*device_, runner_->queue(), nullptr, false,
                    RngKey(seed).fold(static_cast<std::uint64_t>(first))};
    const Tensor made =
        named([&] { return model_.objective->sample(context, std::min(kAtATime, count - first)); });
    const std::vector<image::Image> more =
        images_of(copy_to_host<float>(*device_, context.queue, made), description().image);
    images.insert(images.end(), more.begin(), more.end());
  }
  return images;
}

std::string Inference::weights_note() const {
  const double ema = description().model.srgan.ema;
  return ema == 0 ? "" : fmt::format("weights: averages of the generator's (model.ema {})", ema);
}

const Generator& Inference::generator() const {
  const auto* const srgan = dynamic_cast<const Srgan*>(model_.objective.get());
  if (srgan == nullptr) {
    throw JobError(
        fmt::format("{} holds a {}, which does not enlarge images: a model of srgan does", file_,
                    description().model.name));
  }
  return srgan->generator();
}

UpscaleSummary Inference::upscale(std::span<const UpscaleFile> files, const UpscaleWatch& watch) {
  Upscaler upscaler(*runner_, generator(), description().test_normalization);
  check_equal_on_all_ranks(communicator_, [&]() -> std::vector<NamedText> {
    std::string names;
    for (const UpscaleFile& file : files) {
      names += fmt::format("{} -> {}\n", file.from.string(), file.to.string());
    }
    return {{"contract", contract_},
            {"model", weights_sha256(*device_, runner_->queue(), *model_.parameters)},
            {"list of images", names}};
  });
  return trainers::upscale(communicator_, upscaler, files, watch);
}

std::vector<float> Inference::predict(const data::Dataset& samples, std::int64_t count) {
  check_shape(samples);
  const Network* const network = model_.objective->classifier();
  if (network == nullptr) {
    throw JobError(
        fmt::format("{} holds a {}, which predicts no classes", file_, description().model.name));
  }
  return trainers::predict(*runner_, *network, samples, description().test_normalization, 0, count);
}

}  // namespace gentrain::trainers
