// Decoding, preparing, computing: what a worker does with a batch.
#include "trainers/model_works.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/graph/axes.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::trainers {

namespace {

constexpr std::array<std::string_view, 3> kPools = {"avg", "max", "none"};

Context context_of(Device& device, Worker& worker) {
  return {device, *worker.queue, nullptr, false, {}};
}

}  // namespace

PictureWork::PictureWork(const OpenedModel& model, ReadPicture read)
    : model_(model), read_(std::move(read)), image_(model.image()) {}

std::size_t PictureWork::item_bytes() const {
  return static_cast<std::size_t>(image_.elements());
}

void PictureWork::load(const StreamItem& item, std::int64_t /*index*/,
                       std::span<std::uint8_t> sample) const {
  const progress::Flush reading;  // as long: a server may be slow, an image may have 2^27 pixels
  const int channels = static_cast<int>(image_[2]);
  const image::Image picture =
      image::fitted(image::decode_image(read_(item.name), item.name, {.channels = channels}),
                    {.h = image_[0], .w = image_[1], .fit = model_.fit(), .channels = channels});
  std::ranges::copy(picture.pixels, sample.begin());
}

PredictionWork::PredictionWork(const OpenedModel& model, ReadPicture read)
    : PictureWork(model, std::move(read)) {
  static_cast<void>(model.classes());
}

std::size_t PredictionWork::row_values() const {
  return static_cast<std::size_t>(model_.classes());
}

std::vector<float> PredictionWork::compute(Worker& worker, std::span<const std::uint8_t> samples,
                                           std::int64_t n) const {
  Context context = context_of(model_.device(), worker);
  return model_.probabilities(context, samples, n);
}

void PredictionWork::check(const StreamItem& item, std::span<const float> row) const {
  if (!std::ranges::all_of(row, [](float value) { return std::isfinite(value); })) {
    throw IoError(
        fmt::format("{}: {} gives a probability that is not finite", item.name, model_.name()));
  }
}

std::string_view name_of(FeaturePool pool) {
  return kPools.at(static_cast<std::size_t>(pool));
}

FeaturePool feature_pool_of(const std::string& name) {
  const auto* const found = std::ranges::find(kPools, name);
  if (found == kPools.end()) {
    throw JobError(
        fmt::format("--pool: there is no '{}' (known: {})", name, fmt::join(kPools, ", ")));
  }
  return static_cast<FeaturePool>(found - kPools.begin());
}

FeatureWork::FeatureWork(const OpenedModel& model, ReadPicture read, ModelTensor layer,
                         FeaturePool pool)
    : PictureWork(model, std::move(read)), layer_(std::move(layer)), pool_(pool) {
  const Shape& shape = model.graph()->node(layer_.node).shape;
  pools_ = pool != FeaturePool::kNone && shape.rank() != 1;
  if (pools_ && shape.rank() != 3) {
    throw JobError(
        fmt::format("--pool {}: {} gives {}, a map [h, w, c] or a row is needed; take --pool none",
                    name_of(pool), layer_.name, layer_.shape.str()));
  }
  row_ = pools_ ? Shape{shape[2]} : shape;
}

std::size_t FeatureWork::row_values() const {
  return static_cast<std::size_t>(row_.elements());
}

std::vector<float> FeatureWork::compute(Worker& worker, std::span<const std::uint8_t> samples,
                                        std::int64_t n) const {
  Context context = context_of(model_.device(), worker);
  const Tensor x = model_.prepared(context, samples, n);
  Tensor y = model_.compute(context, {&x, 1}, {&layer_.node, 1})[0];
  if (pools_) {
    y = graph::pool_all(
        context,
        pool_ == FeaturePool::kMax ? graph::PoolingKind::kMax : graph::PoolingKind::kAverage, y);
  }
  return copy_to_host<float>(context.device, context.queue, y);
}

std::vector<std::string> array_names(const std::string& name, std::size_t count) {
  if (count == 1) {
    return {name};
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    names.push_back(fmt::format("{}_{}", name, i));
  }
  return names;
}

std::vector<std::size_t> places_in_file(const ModelTensor& tensor) {
  const auto rank = static_cast<std::size_t>(tensor.shape.rank());
  std::vector<std::size_t> strides(rank, 1);  // of the file's axes
  for (std::size_t i = rank; i-- > 1;) {
    strides[i - 1] = strides[i] * static_cast<std::size_t>(tensor.shape[static_cast<int>(i)]);
  }
  std::vector<std::size_t> places = {0};
  for (const int axis : tensor.axes) {  // the node's axes, the last one fastest
    const auto extent = static_cast<std::size_t>(tensor.shape[axis]);
    std::vector<std::size_t> finer;
    finer.reserve(places.size() * extent);
    for (const std::size_t place : places) {
      for (std::size_t i = 0; i < extent; ++i) {
        finer.push_back(place + i * strides[static_cast<std::size_t>(axis)]);
      }
    }
    places = std::move(finer);
  }
  return places;
}

ArrayWork::ArrayWork(const OpenedModel& model, const std::filesystem::path& file,
                     std::vector<ModelTensor> wanted)
    : model_(model), wanted_(std::move(wanted)) {
  for (const ModelTensor& tensor : wanted_) {
    nodes_.push_back(tensor.node);
    out_places_.push_back(places_in_file(tensor));
  }
  const std::vector<ModelTensor>& inputs = model.inputs();
  const std::vector<std::string> names = array_names("input", inputs.size());
  file_ = std::make_unique<io::RowFileReader>(file, names);
  rows_ = file_->rows(0);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    in_places_.push_back(places_in_file(inputs[i]));
    if (file_->row_shape(i) != inputs[i].shape) {
      throw IoError(fmt::format("{}: /{} has rows of {} where the model's input {} is {}",
                                file.string(), names[i], file_->row_shape(i).str(), inputs[i].name,
                                inputs[i].shape.str()));
    }
    if (file_->rows(i) != rows_ || rows_ == 0) {
      throw IoError(fmt::format("{}: /{} has {} rows, /{} {}: as many are needed, and at least one",
                                file.string(), names[i], file_->rows(i), names[0], rows_));
    }
  }
}

std::size_t ArrayWork::item_bytes() const {
  std::size_t values = 0;
  for (const std::vector<std::size_t>& places : in_places_) {
    values += places.size();
  }
  return values * sizeof(float);
}

std::size_t ArrayWork::row_values() const {
  std::size_t values = 0;
  for (const std::vector<std::size_t>& places : out_places_) {
    values += places.size();
  }
  return values;
}

void ArrayWork::load(const StreamItem& /*item*/, std::int64_t index,
                     std::span<std::uint8_t> sample) const {
  std::size_t at = 0;  // bytes
  for (std::size_t i = 0; i < in_places_.size(); ++i) {
    std::vector<float> in_file(in_places_[i].size());
    file_->read(i, index, in_file);
    for (const std::size_t place : in_places_[i]) {
      std::memcpy(sample.data() + at, &in_file[place], sizeof(float));
      at += sizeof(float);
    }
  }
}

std::vector<float> ArrayWork::compute(Worker& worker, std::span<const std::uint8_t> samples,
                                      std::int64_t n) const {
  Context context = context_of(model_.device(), worker);
  std::vector<Tensor> inputs;
  std::size_t at = 0;  // bytes, in a sample
  for (std::size_t i = 0; i < in_places_.size(); ++i) {
    const std::size_t elements = in_places_[i].size();
    std::vector<float> values(static_cast<std::size_t>(n) * elements);
    for (std::size_t k = 0; k < static_cast<std::size_t>(n); ++k) {
      std::memcpy(values.data() + k * elements, samples.data() + k * item_bytes() + at,
                  elements * sizeof(float));
    }
    at += elements * sizeof(float);
    const Shape& shape = model_.graph()->node(model_.inputs()[i].node).shape;
    inputs.push_back(Tensor::empty(context.device, batch_shape(n, shape)));
    copy_from_host<float>(context.device, context.queue, values, inputs.back());
  }
  const std::vector<Tensor> results = model_.compute_graph(context, inputs, nodes_);
  std::vector<float> rows(static_cast<std::size_t>(n) * row_values());
  std::size_t first = 0;  // of a tensor, in a row
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::vector<float> values =
        copy_to_host<float>(context.device, context.queue, results[i]);
    const std::vector<std::size_t>& places = out_places_[i];
    for (std::size_t k = 0; k < values.size(); ++k) {
      rows[k / places.size() * row_values() + first + places[k % places.size()]] = values[k];
    }
    first += places.size();
  }
  return rows;
}

}  // namespace gentrain::trainers
