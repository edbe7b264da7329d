// The workers' half of an exchange.
#include "comm/local_sum.h"

#include <algorithm>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"

namespace gentrain::comm {

/// One run of owned shards: counts its complete parameters and sends complete buckets into the sum.
class LocalSum::Run : public ShardGradients {
 public:
  Run(LocalSum& sum, Copy& copy, const Range& run, Queue& queue)
      : sum_(sum), copy_(&copy), run_(run), queue_(queue) {}
  ~Run() override {
    if (copy_ != nullptr) {
      sum_.give_up();
    }
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  [[nodiscard]] std::uint64_t set_id() const override { return sum_.parameters_.id(); }
  [[nodiscard]] bool wants(int parameter) const override {
    return sum_.trainable_[static_cast<std::size_t>(parameter)];
  }

  Tensor slot(int parameter) override {
    const ParameterInfo& info = sum_.parameters_.info(parameter);
    return copy().values.slice(info.offset, info.shape);
  }

  void complete(int parameter) override {
    if (!wants(parameter) || copy().complete[static_cast<std::size_t>(parameter)]) {
      throw Error(fmt::format("shard {}: the gradient of {} came {}", run_.first,
                              sum_.parameters_.info(parameter).name,
                              wants(parameter) ? "twice" : "though it is frozen"));
    }
    sum_.complete(copy(), run_, parameter, queue_);
  }

  [[nodiscard]] std::int64_t shards() const override { return run_.size(); }

  [[nodiscard]] std::span<float> statistics(std::int64_t index) override {
    if (index < 0 || index >= run_.size()) {
      throw Error(fmt::format("shard {}: statistics of shard {} of a run of {}", run_.first, index,
                              run_.size()));
    }
    const auto count = static_cast<std::size_t>(sum_.statistics_);
    return std::span(copy().statistics).subspan(static_cast<std::size_t>(index) * count, count);
  }

  void finish() override {
    for (int p = 0; p < sum_.parameters_.size(); ++p) {
      if (wants(p) && !copy().complete[static_cast<std::size_t>(p)]) {
        if (sum_.parameters_.info(p).shape.elements() > 0) {
          sum_.device_.elementwise().fill(queue_, 0.0, slot(p).view());
        }
        sum_.complete(copy(), run_, p, queue_);
      }
    }
    const std::int64_t arena = sum_.parameters_.exchanged_elements();
    if (sum_.statistics_ > 0) {
      add_statistics();
      copy_from_host<float>(sum_.device_, queue_, statistics(0),
                            copy_->values.slice(arena, {sum_.statistics_}));
    }
    Copy* copy = std::exchange(copy_, nullptr);
    sum_.arrive(sum_.buckets_.size() - 1, run_, copy, queue_);
  }

 private:
  /// Leaves the tree's sum over the run in the statistics of its first shard.
  void add_statistics() {
    for (std::int64_t step = 1; step < run_.size(); step *= 2) {
      for (std::int64_t i = 0; i < run_.size(); i += 2 * step) {
        const std::span<float> into = statistics(i);
        const std::span<const float> from = statistics(i + step);
        std::transform(into.begin(), into.end(), from.begin(), into.begin(), std::plus<>());
      }
    }
  }

  Copy& copy() {
    if (copy_ == nullptr) {
      throw Error(fmt::format("shard {}: used after finish()", run_.first));
    }
    return *copy_;
  }

  LocalSum& sum_;
  Copy* copy_;  // null once finished: the copy may belong to another run then
  Range run_;
  Queue& queue_;
};

LocalSum::LocalSum(Device& device, ParameterSet& parameters, const GradientTree& tree,
                   const std::vector<Bucket>& buckets, const ExchangeOptions& options)
    : device_(device),
      parameters_(parameters),
      tree_(tree),
      buckets_(buckets),
      statistics_(options.statistics),
      runs_(runs_of(tree.owned(), options.side_by_side, options.workers)),
      limited_(options.workers > 0),
      most_copies_(
          static_cast<std::size_t>(gradient_copies(runs_, options.shards, options.workers))),
      buckets_of_(static_cast<std::size_t>(parameters.size())),
      states_(buckets.size()) {
  for (int p = 0; p < parameters.size(); ++p) {
    const ParameterInfo& info = parameters.info(p);
    const Range own{info.offset, info.offset + info.shape.elements()};
    for (std::size_t b = 0; b + 1 < buckets.size(); ++b) {
      const Range& elements = buckets[b].elements;
      if (std::max(own.first, elements.first) < std::min(own.last, elements.last)) {
        buckets_of_[static_cast<std::size_t>(p)].push_back(b);
      }
    }
  }
  for (BucketState& state : states_) {
    state.parked.assign(tree.nodes(), nullptr);
  }
}

LocalSum::~LocalSum() = default;

void LocalSum::begin(const std::vector<bool>& trainable) {
  const std::lock_guard lock(mutex_);
  if (frozen_set_ == 0 || trainable != trainable_) {
    ++frozen_set_;
    trainable_ = trainable;
    pending_.assign(buckets_.size(), 0);
    for (std::size_t p = 0; p < buckets_of_.size(); ++p) {
      for (const std::size_t b : buckets_of_[p]) {
        pending_[b] += trainable[p] ? 1 : 0;
      }
    }
    active_.assign(buckets_.size(), true);
    for (std::size_t b = 0; b + 1 < buckets_.size(); ++b) {
      active_[b] = pending_[b] > 0;
    }
    active_count_ = static_cast<std::size_t>(std::count(active_.begin(), active_.end(), true));
  }
  const int partials = tree_.partials_of(tree_.rank());
  for (BucketState& state : states_) {
    state.partials.assign(static_cast<std::size_t>(partials), nullptr);
    state.missing = partials;
  }
  taken_.assign(static_cast<std::size_t>(tree_.owned().size()), false);
  next_ = tree_.owned().first;
}

/// Notes that the shards of a run are begun.
void LocalSum::take(const Range& run) {
  const Range owned = tree_.owned();
  if (run.first < owned.first || run.last > owned.last) {
    throw Error(fmt::format("shard {} is not one of this rank's, [{}, {})", run.first, owned.first,
                            owned.last));
  }
  if (std::find(runs_.begin(), runs_.end(), run) == runs_.end()) {
    throw Error(fmt::format("shards [{}, {}) are not one of the runs that this rank's are cut into",
                            run.first, run.last));
  }
  const std::lock_guard lock(mutex_);
  for (std::int64_t shard = run.first; shard < run.last; ++shard) {
    const auto index = static_cast<std::size_t>(shard - owned.first);
    if (taken_[index]) {
      throw Error(fmt::format("shard {} was already begun in this step", shard));
    }
    taken_[index] = true;
  }
}

std::unique_ptr<ShardGradients> LocalSum::run(const Range& run, Queue& queue) {
  take(run);
  try {
    return std::make_unique<Run>(*this, *acquire(run, queue), run, queue);
  } catch (...) {
    give_up();
    throw;
  }
}

/// Waiting ends: copies are given in order of runs, so while no run is under way the finished ones
/// are the first ones, whose sums leave a copy free; and a run under way ends or is given up.
LocalSum::Copy* LocalSum::free_copy(const Range& run) {
  std::unique_lock lock(mutex_);
  if (limited_) {
    copy_freed_.wait(lock, [&] {
      return given_up_ || (run.first == next_ && (!free_.empty() || copies_.size() < most_copies_));
    });
    next_ += run.size();
    copy_freed_.notify_all();
  }
  // With a limit all copies are made in the first step: the memory held is the same in every run.
  if (free_.empty() || (limited_ && copies_.size() < most_copies_)) {
    copies_.push_back(std::make_unique<Copy>());
    return copies_.back().get();
  }
  Copy* copy = free_.back();
  free_.pop_back();
  return copy;
}

void LocalSum::give_up() {
  const std::lock_guard lock(mutex_);
  given_up_ = true;
  copy_freed_.notify_all();
}

LocalSum::Copy* LocalSum::acquire(const Range& run, Queue& queue) {
  Copy* copy = free_copy(run);
  if (!copy->values.defined()) {
    copy->values = Tensor::empty(device_, {parameters_.exchanged_elements() + statistics_});
    if (copy->values.elements() > 0) {
      device_.elementwise().fill(queue, 0.0, copy->values.view());
    }
    copy->frozen_set = frozen_set_;
  }
  if (copy->frozen_set != frozen_set_) {
    for (int p = 0; p < parameters_.size(); ++p) {
      const ParameterInfo& info = parameters_.info(p);
      const bool has_gradient = info.role != ParameterRole::kAverage && info.shape.elements() > 0;
      if (has_gradient && !trainable_[static_cast<std::size_t>(p)]) {
        device_.elementwise().fill(queue, 0.0, copy->values.slice(info.offset, info.shape).view());
      }
    }
    copy->frozen_set = frozen_set_;
  }
  copy->statistics.assign(static_cast<std::size_t>(statistics_ * run.size()), 0.0F);
  copy->pending = pending_;
  copy->complete.assign(buckets_of_.size(), false);
  copy->held = active_count_;
  return copy;
}

void LocalSum::complete(Copy& copy, const Range& run, int parameter, Queue& queue) {
  const auto p = static_cast<std::size_t>(parameter);
  copy.complete[p] = true;
  for (const std::size_t b : buckets_of_[p]) {
    if (--copy.pending[b] == 0) {
      arrive(b, run, &copy, queue);
    }
  }
}

void LocalSum::arrive(std::size_t bucket, const Range& run, Copy* copy, Queue& queue) {
  std::size_t node = tree_.node(run);
  while (tree_.next(node) != GradientTree::Next::kPartial) {
    if (tree_.next(node) == GradientTree::Next::kMerge) {
      queue.wait();
      Copy* sibling = sibling_or_park(bucket, node, copy);
      if (sibling == nullptr) {
        return;
      }
      Copy* left = node % 2 == 0 ? copy : sibling;
      Copy* right = node % 2 == 0 ? sibling : copy;
      add(bucket, *left, *right, queue);
      queue.wait();
      put_back(right);
      copy = left;
    }
    node /= 2;
  }
  queue.wait();
  add_partial(bucket, tree_.partial_index(node), copy);
}

LocalSum::Copy* LocalSum::sibling_or_park(std::size_t bucket, std::size_t node, Copy* copy) {
  const std::lock_guard lock(mutex_);
  std::vector<Copy*>& parked = states_[bucket].parked;
  Copy* sibling = std::exchange(parked[node ^ 1], nullptr);
  if (sibling == nullptr) {
    parked[node] = copy;
  }
  return sibling;
}

void LocalSum::add_partial(std::size_t bucket, int index, Copy* copy) {
  const std::lock_guard lock(mutex_);
  BucketState& state = states_[bucket];
  state.partials[static_cast<std::size_t>(index)] = copy;
  if (--state.missing == 0) {
    complete_.push_back(bucket);
    any_complete_.store(true, std::memory_order_release);
  }
}

void LocalSum::add(std::size_t bucket, const Copy& into, const Copy& from, Queue& queue) {
  const Range& range = buckets_[bucket].elements;
  if (range.size() > 0) {
    const Tensor sum = into.values.slice(range.first, {range.size()});
    const Tensor other = from.values.slice(range.first, {range.size()});
    device_.elementwise().add(queue, sum.cview(), other.cview(), sum.view());
  }
}

void LocalSum::put_back(Copy* copy) {
  const std::lock_guard lock(mutex_);
  if (--copy->held == 0) {
    free_.push_back(copy);
    copy_freed_.notify_all();
  }
}

void LocalSum::take_complete(std::vector<std::size_t>& buckets) {
  if (!any_complete_.load(std::memory_order_acquire)) {
    return;
  }
  const std::lock_guard lock(mutex_);
  buckets.insert(buckets.end(), complete_.begin(), complete_.end());
  complete_.clear();
  any_complete_.store(false, std::memory_order_release);
}

Tensor LocalSum::partial(std::size_t bucket, int index, const Range& range) const {
  const std::lock_guard lock(mutex_);
  const Copy* copy = states_[bucket].partials[static_cast<std::size_t>(index)];
  return copy->values.slice(range.first, {range.size()});
}

void LocalSum::release(std::size_t bucket) {
  const std::lock_guard lock(mutex_);
  for (Copy*& copy : states_[bucket].partials) {
    if (--copy->held == 0) {
      free_.push_back(copy);
      copy_freed_.notify_all();
    }
    copy = nullptr;
  }
}

void LocalSum::drop_copies() {
  const std::lock_guard lock(mutex_);
  free_.clear();
  copies_.clear();
}

int LocalSum::copies() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(copies_.size());
}

}  // namespace gentrain::comm
