// Things by name, such as pictures, through a model: in fixed batches that are dealt over ranks and
// workers, rows out in the order in which the names came, with memory for a window of batches
// alone.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "trainers/step.h"

namespace gentrain::trainers {

/// One thing to compute.
struct StreamItem {
  std::string name;         // a path, a URL; need not be UTF-8
  std::int32_t label = -1;  // of its class; -1: unknown
};

/// The next item, or nothing at the end. Called by one thread of rank 0, which may wait in it, but
/// not for long once `stop` was asked for. What it throws ends the stream, behind the rows of the
/// items that it gave before.
using StreamSource = std::function<std::optional<StreamItem>(const std::stop_token& stop)>;

/// What is done with items; the functions are called by several workers at once.
class StreamWork {
 public:
  virtual ~StreamWork() = default;
  /// Bytes that an item is loaded into, and numbers of its row.
  [[nodiscard]] virtual std::size_t item_bytes() const = 0;
  [[nodiscard]] virtual std::size_t row_values() const = 0;
  /// Fills `sample`, item_bytes() zeros. `index`: of the item, from 0. An IoError is why there is
  /// no row; any other exception ends the stream.
  virtual void load(const StreamItem& item, std::int64_t index,
                    std::span<std::uint8_t> sample) const = 0;
  /// The rows of n samples, one behind the other: n * row_values() numbers. n is always the batch.
  /// Where an item could not be loaded its sample is zeros and its row is passed over, so that the
  /// others' do not depend on it; behind the last item there is the last loaded one once more.
  [[nodiscard]] virtual std::vector<float> compute(Worker& worker,
                                                   std::span<const std::uint8_t> samples,
                                                   std::int64_t n) const = 0;
  /// Looks at the row of an item that was loaded: an IoError is why it is none.
  virtual void check(const StreamItem& /*item*/, std::span<const float> /*row*/) const {}
};

/// What became of an item.
struct StreamRow {
  std::int64_t index = 0;
  const StreamItem& item;
  const std::string& error;       // why there are no values; empty if there are
  std::span<const float> values;  // row_values() of them
};

struct StreamSummary {
  std::int64_t items = 0;
  std::int64_t failed = 0;  // that have no row
  std::string first_error;
};

/// Computes all items of a source, `batch` at a time: items [k * batch, (k + 1) * batch) together,
/// whoever does it, a short last batch filled up. `row` is called on rank 0 alone, by the calling
/// thread, in the items' order, while later ones are still being computed; at most four batches for
/// each worker of the job are in memory.
///
/// Collective; `source` and `row` are of account on rank 0 alone. The summary is that of all ranks.
/// Throws JobError for a batch below 1 on every rank; on one rank, which has to end the others,
/// what source, work and row throw, and DeviceError if a thread cannot be started.
StreamSummary stream(comm::Communicator& communicator, StepRunner& runner,
                     const StreamSource& source, const StreamWork& work, std::int64_t batch,
                     const std::function<void(const StreamRow&)>& row);

}  // namespace gentrain::trainers
