// A trained model at work: what eval, predict, sample and upscale share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/image/image.h"
#include "trainers/classification_report.h"
#include "trainers/data_source.h"
#include "trainers/evaluate.h"
#include "trainers/model_io.h"
#include "trainers/options.h"
#include "trainers/step.h"
#include "trainers/upscale.h"

namespace gentrain::trainers {

struct InferenceOptions {
  IsaChoice isa = IsaChoice::kAuto;
  std::int64_t threads = 0;  // of a rank; 0: max(1, allowed cores / ranks on this host)
};

/// Samples to compute with, and a line for the log where the choice was left open.
struct InferenceData {
  std::shared_ptr<const data::Dataset> samples;
  std::string note;
};

/// Drawn faces that stand for a test set.
inline constexpr std::int64_t kTestFaces = 256;

/// The samples that `source` names: a folder with MNIST's test set (idx files) or with images,
/// "digits" (the built-in test set), "faces" (the first kTestFaces of the built-in test set), an
/// HDF5 file (.h5, .hdf5), a pack, an image file or an idx file of images; the labels of the last
/// two are unknown (-1). Empty: MNIST's test set if it is found, else that of the built-in digits.
/// Images are made `shape`, [h, w, c], as image::fitted() does.
///
/// Throws IoError: missing, damaged, no image. Throws JobError for images where `shape` is none of
/// grey or RGB images.
InferenceData load_inference_data(const std::string& source, const Shape& shape, int threads,
                                  image::Fit fit = image::Fit::kCrop);

/// A model file on this rank's device, ready to compute.
class Inference {
 public:
  /// Throws IoError, DeviceError (see load_model, make_device).
  Inference(const std::filesystem::path& model, const InferenceOptions& options,
            comm::Communicator& communicator);

  [[nodiscard]] const ModelDescription& description() const { return model_.description; }
  [[nodiscard]] int workers() const { return runner_->pool().workers(); }

  /// What load_inference_data() gives for the model, and "lfw": the test set of faces prepared out
  /// of photographs, as a training job with data.source lfw takes it. Empty of a model that makes
  /// faces (srgan): that, or "faces" where there are no photographs. Collective. Throws as
  /// load_inference_data() and load_faces(); JobError for "lfw" where the model takes no square
  /// colour images.
  InferenceData load(const std::string& source);

  /// Every sample once, over all ranks; of a classifier with top_k, see Evaluation. Collective.
  /// Throws JobError if the samples are not what the model takes, have no labels, or classes of
  /// other names; CommError if the ranks have different models, data or contracts; NumericError if
  /// the loss is not finite.
  Evaluation evaluate(const data::Dataset& samples, std::int64_t top_k = 1);

  /// What a classifier's evaluation tells beside its sums. Collective, behind evaluate(), which
  /// checks the samples. Throws JobError of another model.
  ClassificationReport report(const data::Dataset& samples);

  /// The mean of log p(x) over the samples, nats: see Objective::log_likelihood. Collective, behind
  /// evaluate(), which checks the samples. Throws JobError of a model that gives images no
  /// probability.
  double log_likelihood(const data::Dataset& samples, std::int64_t importance_samples);

  /// `count` images that the model makes of the noise of a seed. On this rank alone. Throws
  /// JobError of a model that makes none.
  std::vector<image::Image> sample(std::uint64_t seed, std::int64_t count);

  /// A line that says which weights make images, where the model has averages too; else empty.
  [[nodiscard]] std::string weights_note() const;

  /// What enlarges images. Throws JobError of a model that does not.
  [[nodiscard]] const Generator& generator() const;
  /// Enlarges the files, over all ranks; see trainers::upscale(). Collective. Throws as
  /// generator(); CommError if the ranks have different models, files or contracts.
  UpscaleSummary upscale(std::span<const UpscaleFile> files, const UpscaleWatch& watch);

  /// Probabilities [count, classes] of the first `count` samples. On this rank alone.
  /// Throws JobError if the samples are not what the model takes or there are fewer, or if the
  /// model is no classifier.
  std::vector<float> predict(const data::Dataset& samples, std::int64_t count);

 private:
  void check_shape(const data::Dataset& samples) const;
  template <class Compute>
  auto named(const Compute& compute) const;

  std::string file_;
  std::string contract_;
  comm::Communicator& communicator_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<StepRunner> runner_;
  LoadedModel model_;
};

}  // namespace gentrain::trainers
