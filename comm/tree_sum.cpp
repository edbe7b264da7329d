// Sums over the tree: merging within a rank, segments between ranks.
#include "comm/tree_sum.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "comm/backoff.h"
#include "kernels/error.h"

namespace gentrain::comm {

namespace {

void add(std::span<double> into, std::span<const double> from) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    into[i] += from[i];
  }
}

/// Element range as bytes.
Bytes bytes_of(std::vector<double>& values, const Range& range) {
  return {values.data() + range.first, static_cast<std::size_t>(range.size()) * sizeof(double)};
}

void wait_for(Communicator& communicator, Transfer& transfer) {
  Backoff backoff;
  while (!transfer.poll()) {
    communicator.activity().look();
    backoff.pause();
  }
}

}  // namespace

TreeSum::TreeSum(Communicator& communicator, std::int64_t shards)
    : communicator_(communicator),
      tree_(shards, communicator.size(), communicator.rank()),
      tag_(communicator.reserve_tags(1, false)),
      parked_(tree_.nodes()),
      partials_(static_cast<std::size_t>(tree_.partials_of(tree_.rank()))) {}

std::vector<double> TreeSum::zeros(std::int64_t elements) {
  std::vector<double> values;
  {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      values = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  values.assign(static_cast<std::size_t>(elements), 0.0);
  return values;
}

void TreeSum::put(std::int64_t shard, std::vector<double> value) {
  std::size_t node = tree_.leaf(shard);
  while (true) {
    std::vector<double> sibling;
    {
      const std::lock_guard lock(mutex_);
      const GradientTree::Next next = tree_.next(node);
      if (next == GradientTree::Next::kForeign) {
        throw Error(fmt::format("shard {} is not one of rank {}, which has [{}, {})", shard,
                                tree_.rank(), owned().first, owned().last));
      }
      if (next == GradientTree::Next::kPartial) {
        partials_[static_cast<std::size_t>(tree_.partial_index(node))] = std::move(value);
        return;
      }
      if (next == GradientTree::Next::kMerge) {
        sibling = std::exchange(parked_[node ^ 1], {});
        if (sibling.empty()) {
          parked_[node] = std::move(value);
          return;
        }
      }
    }
    if (!sibling.empty()) {
      if (sibling.size() != value.size()) {
        throw Error(fmt::format("shard {}: a vector of {} elements but its sibling has {}", shard,
                                value.size(), sibling.size()));
      }
      add(value, sibling);  // addition commutes: left and right may change places
      const std::lock_guard lock(mutex_);
      spare_.push_back(std::move(sibling));
    }
    node /= 2;
  }
}

/// The partial sums of all ranks in the segment that is this rank's.
std::vector<std::vector<double>> TreeSum::exchange_partials(std::int64_t elements) {
  const int ranks = tree_.ranks();
  const int rank = tree_.rank();
  const Range own = part_of(elements, ranks, rank);
  std::vector<std::vector<double>> parts(static_cast<std::size_t>(tree_.partials()),
                                         std::vector<double>(static_cast<std::size_t>(own.size())));
  for (std::size_t i = 0; i < partials_.size(); ++i) {
    const std::vector<double>& whole = partials_[i];
    std::copy(whole.begin() + own.first, whole.begin() + own.last,
              parts[static_cast<std::size_t>(tree_.first_partial(rank)) + i].begin());
  }
  std::vector<std::vector<ConstBytes>> send(static_cast<std::size_t>(ranks));
  std::vector<std::vector<Bytes>> receive(static_cast<std::size_t>(ranks));
  for (int r = 0; r < ranks; ++r) {
    const Range theirs = part_of(elements, ranks, r);
    for (std::vector<double>& partial : partials_) {
      if (r != rank && theirs.size() > 0) {
        const Bytes bytes = bytes_of(partial, theirs);
        send[static_cast<std::size_t>(r)].push_back({bytes.data, bytes.size});
      }
    }
    for (int i = tree_.first_partial(r); i < tree_.first_partial(r + 1); ++i) {
      if (r != rank && own.size() > 0) {
        receive[static_cast<std::size_t>(r)].push_back(
            bytes_of(parts[static_cast<std::size_t>(i)], {0, own.size()}));
      }
    }
  }
  wait_for(communicator_, *communicator_.all_to_all(send, receive, tag_));
  return parts;
}

std::vector<double> TreeSum::finish(std::int64_t elements) {
  const std::lock_guard lock(mutex_);
  for (const std::vector<double>& partial : partials_) {
    if (partial.size() != static_cast<std::size_t>(elements)) {
      throw Error(fmt::format("a sum of {} elements over shards [{}, {}): a partial sum has {}",
                              elements, owned().first, owned().last, partial.size()));
    }
  }
  std::vector<std::vector<double>> parts = exchange_partials(elements);
  for (const TreeAdd& step : tree_.adds()) {
    add(parts[static_cast<std::size_t>(step.into)], parts[static_cast<std::size_t>(step.from)]);
  }
  std::vector<double> total(static_cast<std::size_t>(elements));
  std::vector<Bytes> segments;
  for (int r = 0; r < tree_.ranks(); ++r) {
    segments.push_back(bytes_of(total, part_of(elements, tree_.ranks(), r)));
  }
  std::copy(parts[0].begin(), parts[0].end(),
            total.begin() + part_of(elements, tree_.ranks(), tree_.rank()).first);
  wait_for(communicator_, *communicator_.all_gather(segments, tag_));
  for (std::vector<double>& partial : partials_) {
    spare_.push_back(std::exchange(partial, {}));
  }
  return total;
}

void TreeSum::clear() {
  const std::lock_guard lock(mutex_);
  for (auto* vectors : {&parked_, &partials_}) {
    for (std::vector<double>& one : *vectors) {
      one.clear();
    }
  }
}

}  // namespace gentrain::comm
