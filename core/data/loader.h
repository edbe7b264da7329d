// Loader: the samples of a step's shards, ready when a worker asks for them. Data sets in memory
// are copied by the asking thread; others are read ahead by threads of their own, and so are images
// that are augmented.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/data/augment.h"
#include "core/data/dataset.h"

namespace gentrain::data {

/// The samples of one shard in order: pixels [size, sample_shape()], labels [size].
struct ShardBatch {
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> labels;
};

/// Which samples: positions [first, last) of an epoch's order.
struct BatchRequest {
  std::int64_t epoch = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
};

class Loader {
 public:
  virtual ~Loader() = default;
  /// Fills `batch` with the samples at these positions of the epoch's order. Thread-safe; vectors
  /// are reused. Throws what Dataset::read throws.
  virtual void load(const BatchRequest& request, ShardBatch& batch) = 0;
  /// Says what will be asked for next, in this order, and then `times` - 1 times again; it may be
  /// read ahead, and kept until it was asked for so often.
  virtual void announce(const std::vector<BatchRequest>& requests, int times = 1) = 0;
  /// What was announced will not be asked for any more: it is dropped. Waits for the batch that is
  /// being read; while nobody loads.
  virtual void forget() = 0;
  /// Seconds that load() waited for data, over all threads.
  [[nodiscard]] virtual double waited() const = 0;
};

/// `shuffle` false takes samples in stored order (evaluation). A data set on disk, or one of images
/// that are augmented, is read ahead by `threads` threads, each a batch at a time: the samples are
/// the same for any number. Throws DeviceError if one cannot be started, JobError and ShapeError as
/// check_augmentation() and augment().
std::unique_ptr<Loader> make_loader(std::shared_ptr<const Dataset> dataset, std::uint64_t seed,
                                    bool shuffle, int threads = 1,
                                    const AugmentOptions& augmentation = {});

}  // namespace gentrain::data
