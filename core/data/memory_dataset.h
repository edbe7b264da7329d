// What data sets share: the hash of decoded content, statistics of pixels, samples held in memory.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/data/dataset.h"
#include "core/io/posix_file.h"

namespace gentrain::data {

/// A data set that computes its hash once, when it is first asked for.
class HashedDataset : public Dataset {
 public:
  [[nodiscard]] std::string sha256(const std::stop_token& stop) const final;

 private:
  mutable std::mutex mutex_;
  mutable std::string hash_;
};

/// Samples one after another in memory.
class MemoryDataset final : public HashedDataset {
 public:
  /// pixels  labels.size() * shape.elements() bytes
  /// labels  0 <= label < classes
  MemoryDataset(io::Bytes pixels, const Shape& shape, std::vector<std::int32_t> labels, int classes,
                std::string description);

  [[nodiscard]] std::int64_t size() const override {
    return static_cast<std::int64_t>(labels_.size());
  }
  [[nodiscard]] Shape sample_shape() const override { return shape_; }
  [[nodiscard]] int classes() const override { return classes_; }
  void read(std::int64_t index, std::uint8_t* pixels) const override;
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return labels_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] bool in_memory() const override { return true; }
  [[nodiscard]] std::string description() const override { return description_; }

 private:
  io::Bytes pixels_;
  Shape shape_;
  std::size_t sample_bytes_;
  std::vector<std::int32_t> labels_;
  int classes_;
  std::string description_;
};

/// Counts pixels by value: sums of any number of pixels are then exact integers, whatever their
/// order.
class PixelStatistics {
 public:
  void add(std::span<const std::uint8_t> pixels);
  /// Mean and standard deviation of pixel / 255; a deviation of 0 becomes 1.
  [[nodiscard]] Normalization normalization() const;

 private:
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(256);
};

}  // namespace gentrain::data
