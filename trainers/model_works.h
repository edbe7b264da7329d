// What streams of pictures and arrays go through: predictions, and features of a layer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/row_file.h"
#include "trainers/opened_model.h"
#include "trainers/streaming.h"

namespace gentrain::trainers {

/// The bytes of the file that a picture's name stands for. Throws IoError naming it. Called by
/// several workers at once.
using ReadPicture = std::function<std::vector<std::uint8_t>(const std::string& name)>;

/// Pictures, decoded and fitted as the model takes them: what both below have in common.
class PictureWork : public StreamWork {
 public:
  /// `model` must outlive it. Throws JobError as OpenedModel::image().
  PictureWork(const OpenedModel& model, ReadPicture read);
  [[nodiscard]] std::size_t item_bytes() const override;
  /// Throws IoError as image::decode_image().
  void load(const StreamItem& item, std::int64_t index,
            std::span<std::uint8_t> sample) const override;

 protected:
  const OpenedModel& model_;

 private:
  ReadPicture read_;
  Shape image_;
};

/// Rows of probabilities, one for each class.
class PredictionWork final : public PictureWork {
 public:
  /// Throws JobError as OpenedModel::classes().
  PredictionWork(const OpenedModel& model, ReadPicture read);
  [[nodiscard]] std::size_t row_values() const override;
  [[nodiscard]] std::vector<float> compute(Worker& worker, std::span<const std::uint8_t> samples,
                                           std::int64_t n) const override;
  /// Throws IoError naming picture and model if a probability is not finite.
  void check(const StreamItem& item, std::span<const float> row) const override;
};

/// What becomes of the pixels of a layer's map: their mean, the largest value of each channel, or
/// all of them.
enum class FeaturePool : std::uint8_t { kAverage, kMax, kNone };
/// "avg", "max", "none"
std::string_view name_of(FeaturePool pool);
/// Throws JobError that lists the known names.
FeaturePool feature_pool_of(const std::string& name);

/// Rows of a layer's output, of pictures.
class FeatureWork final : public PictureWork {
 public:
  /// layer: of `model`; a row of numbers is taken as it is, whatever the pool. Throws JobError for
  /// an output that is neither a row nor a map [h, w, c] and is to be pooled.
  FeatureWork(const OpenedModel& model, ReadPicture read, ModelTensor layer, FeaturePool pool);
  [[nodiscard]] const Shape& row_shape() const { return row_; }
  [[nodiscard]] std::size_t row_values() const override;
  [[nodiscard]] std::vector<float> compute(Worker& worker, std::span<const std::uint8_t> samples,
                                           std::int64_t n) const override;

 private:
  ModelTensor layer_;
  FeaturePool pool_;
  bool pools_;
  Shape row_;
};

/// Outputs and layers of a model whose inputs are the rows of arrays: /input, or /input_0, /input_1
/// and so on, each as the model's file declares it.
class ArrayWork final : public StreamWork {
 public:
  /// wanted: tensors of `model`, in the order in which a row holds them; each in the order of axes
  /// of the model's file. Throws IoError: as RowFileReader, arrays that do not fit the model's
  /// inputs or differ in their rows, or have none.
  ArrayWork(const OpenedModel& model, const std::filesystem::path& file,
            std::vector<ModelTensor> wanted);
  [[nodiscard]] std::int64_t rows() const { return rows_; }
  [[nodiscard]] std::size_t item_bytes() const override;
  [[nodiscard]] std::size_t row_values() const override;
  void load(const StreamItem& item, std::int64_t index,
            std::span<std::uint8_t> sample) const override;
  [[nodiscard]] std::vector<float> compute(Worker& worker, std::span<const std::uint8_t> samples,
                                           std::int64_t n) const override;

 private:
  const OpenedModel& model_;
  std::vector<ModelTensor> wanted_;
  std::vector<int> nodes_;                            // of the wanted ones
  std::vector<std::vector<std::size_t>> in_places_;   // by input
  std::vector<std::vector<std::size_t>> out_places_;  // by wanted one
  std::unique_ptr<io::RowFileReader> file_;
  std::int64_t rows_ = 0;
};

/// Where each element of a tensor of the node's axes stands in the file's order, and the names of
/// the arrays of `count` tensors: "input", or "input_0" and so on.
std::vector<std::size_t> places_in_file(const ModelTensor& tensor);
std::vector<std::string> array_names(const std::string& name, std::size_t count);

}  // namespace gentrain::trainers
