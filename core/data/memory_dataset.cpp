// The hash covers one line of text ("60000 samples [28, 28, 1]"), all pixels, then all labels as
// 32-bit little-endian integers: equal for equal content, whatever file it came from.
#include "core/data/memory_dataset.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "core/io/sha256.h"

namespace gentrain::data {
namespace {

/// Empty if it was stopped.
std::string content_hash(const Dataset& dataset, const std::stop_token& stop) {
  constexpr std::int64_t kBlockBytes = 1 << 18;
  const Shape shape = dataset.sample_shape();
  const std::int64_t size = dataset.size();
  const std::int64_t sample_bytes = shape.elements();
  const std::int64_t per_block = std::max<std::int64_t>(kBlockBytes / sample_bytes, 1);
  io::Sha256 hash;
  const std::string head = fmt::format("{} samples {}\n", size, shape.str());
  hash.update(head.data(), head.size());
  std::vector<std::uint8_t> block(static_cast<std::size_t>(per_block * sample_bytes));
  for (std::int64_t first = 0; first < size; first += per_block) {
    if (stop.stop_requested()) {
      return {};
    }
    const std::int64_t count = std::min(per_block, size - first);
    for (std::int64_t i = 0; i < count; ++i) {
      dataset.read(first + i, block.data() + i * sample_bytes);
    }
    hash.update(block.data(), static_cast<std::size_t>(count * sample_bytes));
  }
  std::vector<std::int32_t> labels(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) {
    labels[static_cast<std::size_t>(i)] = dataset.label(i);
  }
  hash.update(std::as_bytes(std::span<const std::int32_t>(labels)));
  return hash.finish();
}

}  // namespace

std::string HashedDataset::sha256(const std::stop_token& stop) const {
  const std::lock_guard lock(mutex_);
  if (hash_.empty()) {
    hash_ = content_hash(*this, stop);
  }
  return hash_;
}

MemoryDataset::MemoryDataset(io::Bytes pixels, const Shape& shape, std::vector<std::int32_t> labels,
                             int classes, std::string description)
    : pixels_(std::move(pixels)),
      shape_(shape),
      sample_bytes_(static_cast<std::size_t>(shape.elements())),
      labels_(std::move(labels)),
      classes_(classes),
      description_(std::move(description)) {}

void MemoryDataset::read(std::int64_t index, std::uint8_t* pixels) const {
  std::memcpy(pixels, pixels_.data.get() + static_cast<std::size_t>(index) * sample_bytes_,
              sample_bytes_);
}

void PixelStatistics::add(std::span<const std::uint8_t> pixels) {
  // Four tables, as equal neighbours in one would wait for each other.
  std::array<std::array<std::uint64_t, 256>, 4> tables{};
  std::size_t i = 0;
  for (; i + 4 <= pixels.size(); i += 4) {
    ++tables[0][pixels[i]];
    ++tables[1][pixels[i + 1]];
    ++tables[2][pixels[i + 2]];
    ++tables[3][pixels[i + 3]];
  }
  for (; i < pixels.size(); ++i) {
    ++tables[0][pixels[i]];
  }
  for (std::size_t value = 0; value < 256; ++value) {
    for (const auto& table : tables) {
      counts_[value] += table[value];
    }
  }
}

Normalization PixelStatistics::normalization() const {
  std::uint64_t count = 0;
  std::uint64_t sum = 0;
  std::uint64_t squares = 0;
  for (std::uint64_t value = 0; value < 256; ++value) {
    count += counts_[value];
    sum += counts_[value] * value;
    squares += counts_[value] * value * value;
  }
  if (count == 0) {
    return {};
  }
  const double mean = static_cast<double>(sum) / static_cast<double>(count);
  const double variance = static_cast<double>(squares) / static_cast<double>(count) - mean * mean;
  const double stddev = variance > 1e-9 ? std::sqrt(variance) / 255 : 1;
  return {mean / 255, stddev};
}

}  // namespace gentrain::data
