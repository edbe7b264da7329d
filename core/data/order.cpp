// Which samples when: the order of an epoch, parts of data sets. All pure functions of a seed.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/data/memory_dataset.h"
#include "kernels/error.h"

namespace gentrain::data {
namespace {

// Names of the random streams, folded into the seed's key.
constexpr std::uint64_t kOrderStream = 0x6f72646572;  // "order"
constexpr std::uint64_t kSplitStream = 0x73706c6974;  // "split"

// Unbiased integers below a bound from the words of a stream.
// Source: Lemire 2019, "Fast random integer generation in an interval".
class RandomBelow {
 public:
  explicit RandomBelow(const RngKey& key) : key_(key) {}

  std::uint32_t operator()(std::uint32_t bound) {
    std::uint64_t product = std::uint64_t{word()} * bound;
    if (static_cast<std::uint32_t>(product) < bound) {
      const std::uint32_t threshold = -bound % bound;
      while (static_cast<std::uint32_t>(product) < threshold) {
        product = std::uint64_t{word()} * bound;
      }
    }
    return static_cast<std::uint32_t>(product >> 32);
  }

 private:
  std::uint32_t word() {
    if (used_ == 4) {
      block_ = key_.block(next_++);
      used_ = 0;
    }
    return block_[used_++];
  }

  RngKey key_;
  std::uint64_t next_ = 0;
  PhiloxBlock block_{};
  std::size_t used_ = 4;
};

// Source: Durstenfeld 1964, Algorithm 235 (Fisher and Yates in place).
std::vector<std::int64_t> permutation(const RngKey& key, std::int64_t size) {
  if (size < 0 || size > std::int64_t{UINT32_MAX}) {
    throw JobError(fmt::format("a data set of {} samples cannot be shuffled: from 0 to {} can",
                               size, UINT32_MAX));
  }
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  RandomBelow below(key);
  for (std::size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[below(static_cast<std::uint32_t>(left))]);
  }
  return order;
}

class Subset final : public HashedDataset {
 public:
  Subset(std::shared_ptr<const Dataset> whole, std::vector<std::int64_t> indices)
      : whole_(std::move(whole)), indices_(std::move(indices)) {}

  [[nodiscard]] std::int64_t size() const override {
    return static_cast<std::int64_t>(indices_.size());
  }
  [[nodiscard]] Shape sample_shape() const override { return whole_->sample_shape(); }
  [[nodiscard]] int classes() const override { return whole_->classes(); }
  [[nodiscard]] std::vector<std::string> class_names() const override {
    return whole_->class_names();
  }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    whole_->read(at(index), pixels);
  }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return whole_->label(at(index));
  }
  [[nodiscard]] bool in_memory() const override { return whole_->in_memory(); }
  [[nodiscard]] std::string description() const override {
    return fmt::format("{} of {} samples of {}", size(), whole_->size(), whole_->description());
  }

 private:
  [[nodiscard]] std::int64_t at(std::int64_t index) const {
    return indices_[static_cast<std::size_t>(index)];
  }

  std::shared_ptr<const Dataset> whole_;
  std::vector<std::int64_t> indices_;
};

}  // namespace

std::vector<std::int64_t> sample_order(std::uint64_t seed, std::int64_t epoch, std::int64_t size) {
  return permutation(RngKey(seed).fold(kOrderStream).fold(static_cast<std::uint64_t>(epoch)), size);
}

std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> whole,
                                      std::vector<std::int64_t> indices) {
  for (const std::int64_t index : indices) {
    if (index < 0 || index >= whole->size()) {
      throw ShapeError(fmt::format("subset: sample {} of {}, which has {}", index,
                                   whole->description(), whole->size()));
    }
  }
  return std::make_shared<Subset>(std::move(whole), std::move(indices));
}

SplitIndices split_indices(std::int64_t size, double fraction, std::uint64_t seed) {
  if (!(fraction > 0 && fraction < 1)) {
    throw JobError(
        fmt::format("data.validation: a fraction between 0 and 1 is needed, not {}", fraction));
  }
  const auto count = static_cast<std::int64_t>(std::llround(fraction * static_cast<double>(size)));
  if (count == 0 || count == size) {
    throw JobError(
        fmt::format("data.validation: a fraction of {} of {} samples leaves {} for training and {} "
                    "for validation",
                    fraction, size, size - count, count));
  }
  std::vector<std::int64_t> validation = permutation(RngKey(seed).fold(kSplitStream), size);
  std::vector<std::int64_t> train(validation.begin() + count, validation.end());
  validation.resize(static_cast<std::size_t>(count));
  std::sort(train.begin(), train.end());
  std::sort(validation.begin(), validation.end());
  return {std::move(train), std::move(validation)};
}

Split split_validation(const std::shared_ptr<const Dataset>& whole, double fraction,
                       std::uint64_t seed) {
  SplitIndices indices = split_indices(whole->size(), fraction, seed);
  return {subset(whole, std::move(indices.train)), subset(whole, std::move(indices.validation))};
}

}  // namespace gentrain::data
