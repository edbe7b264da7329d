// Two loaders behind one interface: one copies from memory in the asking thread, the other owns a
// few threads that read what was announced, up to a bound, and hands finished batches out: by
// swapping, or as copies while they will be asked for again.
#include "core/data/loader.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <list>
#include <mutex>
#include <numeric>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::data {
namespace {

using Clock = std::chrono::steady_clock;
using Order = std::shared_ptr<const std::vector<std::int64_t>>;

/// What may be read ahead and not yet fetched for the last time: the bound is passed by one batch a
/// thread at most.
constexpr std::size_t kReadAheadBytes = std::size_t{64} << 20;

/// The orders of the two epochs used last: a step's shards may lie on both sides of an epoch's end.
class EpochOrders {
 public:
  EpochOrders(std::uint64_t seed, bool shuffle, std::int64_t size)
      : seed_(seed), shuffle_(shuffle), size_(size) {}

  Order get(std::int64_t epoch) {
    const std::lock_guard lock(mutex_);
    if (!shuffle_) {
      epoch = 0;
    }
    for (const auto& [cached, order] : cache_) {
      if (order && cached == epoch) {
        return order;
      }
    }
    std::vector<std::int64_t> order;
    if (shuffle_) {
      order = sample_order(seed_, epoch, size_);
    } else {
      order.resize(static_cast<std::size_t>(size_));
      std::iota(order.begin(), order.end(), std::int64_t{0});
    }
    std::swap(cache_[0], cache_[1]);
    cache_[0] = {epoch, std::make_shared<const std::vector<std::int64_t>>(std::move(order))};
    return cache_[0].second;
  }

 private:
  std::uint64_t seed_;
  bool shuffle_;
  std::int64_t size_;
  std::mutex mutex_;
  std::array<std::pair<std::int64_t, Order>, 2> cache_{};
};

/// Reads batches: what both loaders share.
class BatchReader {
 public:
  BatchReader(std::shared_ptr<const Dataset> dataset, std::uint64_t seed, bool shuffle,
              const AugmentOptions& augmentation = {})
      : dataset_(std::move(dataset)),
        seed_(seed),
        sample_bytes_(static_cast<std::size_t>(dataset_->sample_shape().elements())),
        orders_(seed, shuffle, dataset_->size()),
        augmentation_(augmentation),
        augments_(augments(augmentation)) {}

  [[nodiscard]] std::size_t bytes(const BatchRequest& request) const {
    return static_cast<std::size_t>(request.last - request.first) *
           (sample_bytes_ + sizeof(std::int32_t));
  }

  /// Reads until done or until `stop` is true.
  void read(const BatchRequest& request, ShardBatch& batch, const std::atomic<bool>& stop) {
    if (request.first < 0 || request.first > request.last || request.last > dataset_->size()) {
      throw ShapeError(fmt::format("load: positions {} to {} of {}, which has {} samples",
                                   request.first, request.last, dataset_->description(),
                                   dataset_->size()));
    }
    const Order order = orders_.get(request.epoch);
    const auto count = static_cast<std::size_t>(request.last - request.first);
    batch.pixels.resize(count * sample_bytes_);
    batch.labels.resize(count);
    std::vector<std::uint8_t> stored(augments_ ? sample_bytes_ : 0);
    for (std::size_t i = 0; i < count && !stop.load(std::memory_order_relaxed); ++i) {
      const std::int64_t index = (*order)[static_cast<std::size_t>(request.first) + i];
      const std::span pixels(batch.pixels.data() + i * sample_bytes_, sample_bytes_);
      dataset_->read(index, augments_ ? stored.data() : pixels.data());
      if (augments_) {
        augment(augmentation_, {seed_, request.epoch, index}, dataset_->sample_shape(), stored,
                pixels);
      }
      batch.labels[i] = dataset_->label(index);
    }
    progress::tick();
  }

 private:
  std::shared_ptr<const Dataset> dataset_;
  std::uint64_t seed_;
  std::size_t sample_bytes_;
  EpochOrders orders_;
  AugmentOptions augmentation_;
  bool augments_;
};

class MemoryLoader final : public Loader {
 public:
  MemoryLoader(std::shared_ptr<const Dataset> dataset, std::uint64_t seed, bool shuffle)
      : reader_(std::move(dataset), seed, shuffle) {}

  void load(const BatchRequest& request, ShardBatch& batch) override {
    reader_.read(request, batch, never_);
  }
  void announce(const std::vector<BatchRequest>& /*requests*/, int /*times*/) override {}
  void forget() override {}
  [[nodiscard]] double waited() const override { return 0; }

 private:
  BatchReader reader_;
  const std::atomic<bool> never_{false};
};

class PrefetchingLoader final : public Loader {
 public:
  PrefetchingLoader(std::shared_ptr<const Dataset> dataset, std::uint64_t seed, bool shuffle,
                    int threads, const AugmentOptions& augmentation)
      : reader_(std::move(dataset), seed, shuffle, augmentation) {
    try {
      for (int i = 0; i < threads; ++i) {
        threads_.emplace_back([this] { run(); });
      }
    } catch (const std::system_error& error) {
      end_threads();
      throw DeviceError(
          fmt::format("{} thread{} wanted to read ahead, but this host starts no more: {}", threads,
                      threads == 1 ? " was" : "s were", error.what()));
    }
  }

  ~PrefetchingLoader() override { end_threads(); }
  PrefetchingLoader(const PrefetchingLoader&) = delete;
  PrefetchingLoader& operator=(const PrefetchingLoader&) = delete;

  void load(const BatchRequest& request, ShardBatch& batch) override {
    const Clock::time_point start = Clock::now();
    if (!take(request, batch)) {
      reader_.read(request, batch, never_);
    }
    const std::chrono::nanoseconds time = Clock::now() - start;
    waited_ns_ += time.count();
  }

  void announce(const std::vector<BatchRequest>& requests, int times) override {
    {
      const std::lock_guard lock(mutex_);
      for (const BatchRequest& request : requests) {
        if (request.first < request.last && find(request) == entries_.end()) {
          Entry& entry = entries_.emplace_back();
          entry.request = request;
          entry.times = times;
        }
      }
    }
    changed_.notify_all();
  }

  void forget() override {
    std::unique_lock lock(mutex_);
    entries_.remove_if([](const Entry& entry) { return entry.state == State::kAnnounced; });
    changed_.wait(lock, [this] {
      return std::none_of(entries_.begin(), entries_.end(),
                          [](const Entry& entry) { return entry.state == State::kReading; });
    });
    for (Entry& entry : entries_) {
      keep(entry.batch);
    }
    entries_.clear();
    ready_bytes_ = 0;
  }

  [[nodiscard]] double waited() const override {
    return static_cast<double>(waited_ns_.load()) * 1e-9;
  }

 private:
  static constexpr std::size_t kSpareBatches = 32;

  enum class State : std::uint8_t { kAnnounced, kReading, kReady };
  struct Entry {
    BatchRequest request;
    int times = 1;  // that it will still be asked for
    State state = State::kAnnounced;
    ShardBatch batch;
    std::exception_ptr error;
  };
  using Iterator = std::list<Entry>::iterator;

  Iterator find(const BatchRequest& request) {
    return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.request.epoch == request.epoch && entry.request.first == request.first &&
             entry.request.last == request.last;
    });
  }

  void end_threads() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }

  void keep(ShardBatch& batch) {
    if (spare_.size() < kSpareBatches) {
      spare_.push_back(std::move(batch));
    }
  }

  // Gives what was read of a request, or false if the asking thread has to read for itself: the
  // request was not announced, or no reading thread has come to it. What will be asked for again
  // the asking thread reads for the next time too, where there is room. Rethrows reading's error.
  bool take(const BatchRequest& request, ShardBatch& batch) {
    std::unique_lock lock(mutex_);
    const Iterator entry = find(request);
    if (entry == entries_.end()) {
      return false;
    }
    if (entry->state == State::kAnnounced && (entry->times == 1 || !has_room())) {
      if (--entry->times == 0) {
        entries_.erase(entry);
      }
      return false;
    }
    if (entry->state == State::kAnnounced) {
      fill(*entry, never_, lock);
    }
    changed_.wait(lock, [&] { return entry->state == State::kReady; });
    const std::exception_ptr error = entry->error;
    if (--entry->times > 0) {
      batch = entry->batch;
    } else {
      ready_bytes_ -= reader_.bytes(request);
      std::swap(batch, entry->batch);
      keep(entry->batch);
      entries_.erase(entry);
    }
    lock.unlock();
    changed_.notify_all();
    if (error) {
      std::rethrow_exception(error);
    }
    return true;
  }

  // Reads an entry, unlocked meanwhile.
  void fill(Entry& entry, const std::atomic<bool>& stop, std::unique_lock<std::mutex>& lock) {
    entry.state = State::kReading;
    ready_bytes_ += reader_.bytes(entry.request);
    if (!spare_.empty()) {
      entry.batch = std::move(spare_.back());
      spare_.pop_back();
    }
    lock.unlock();
    try {
      reader_.read(entry.request, entry.batch, stop);
    } catch (...) {
      entry.error = std::current_exception();
    }
    lock.lock();
    entry.state = State::kReady;
    changed_.notify_all();
  }

  [[nodiscard]] bool has_room() const { return ready_bytes_ < kReadAheadBytes; }

  Iterator next() {
    if (!has_room()) {
      return entries_.end();
    }
    return std::find_if(entries_.begin(), entries_.end(),
                        [](const Entry& entry) { return entry.state == State::kAnnounced; });
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      Iterator entry;
      changed_.wait(lock, [&] { return stop_ || (entry = next()) != entries_.end(); });
      if (stop_) {
        return;
      }
      fill(*entry, stop_, lock);
    }
  }

  BatchReader reader_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Entry> entries_;       // in the order of announcement
  std::vector<ShardBatch> spare_;  // memory to read into
  std::size_t ready_bytes_ = 0;    // of entries being read or ready
  std::atomic<bool> stop_{false};
  const std::atomic<bool> never_{false};
  std::atomic<std::int64_t> waited_ns_{0};
  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace

std::unique_ptr<Loader> make_loader(std::shared_ptr<const Dataset> dataset, std::uint64_t seed,
                                    bool shuffle, int threads, const AugmentOptions& augmentation) {
  check_augmentation(augmentation);
  const Shape shape = dataset->sample_shape();
  if (augments(augmentation) && shape.rank() != 3) {
    throw ShapeError(fmt::format("augmentation: {} has samples {}, images [h, w, c] needed",
                                 dataset->description(), shape.str()));
  }
  if (dataset->in_memory() && !augments(augmentation)) {
    return std::make_unique<MemoryLoader>(std::move(dataset), seed, shuffle);
  }
  return std::make_unique<PrefetchingLoader>(std::move(dataset), seed, shuffle, threads,
                                             augmentation);
}

}  // namespace gentrain::data
