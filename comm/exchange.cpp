// The communicator's half of an exchange: a state machine over the buckets, driven by poll().
#include "comm/exchange.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include <fmt/format.h>

#include "comm/buckets.h"
#include "comm/gradient_tree.h"
#include "comm/local_sum.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/reduce.h"

namespace gentrain::comm {

namespace {

constexpr std::int64_t kAlignElements = 16;

std::int64_t blocks_in(const Range& range) {
  return (range.size() + kReduceBlock - 1) / kReduceBlock;
}

Tensor piece(const Tensor& tensor, const Range& range) {
  return tensor.slice(range.first, {range.size()});
}

}  // namespace

class Exchange::Implementation {
 public:
  Implementation(Communicator& communicator, Device& device, ParameterSet& parameters,
                 const ExchangeOptions& options)
      : communicator_(communicator),
        device_(device),
        parameters_(parameters),
        options_(options),
        ranks_(communicator.size()),
        rank_(communicator.rank()),
        tree_(options.shards, ranks_, rank_),
        buckets_(make_buckets(parameters.exchanged_elements(), options.bucket_elements,
                              options.statistics, ranks_)),
        local_(device, parameters, tree_, buckets_, options),
        work_(buckets_.size()),
        // With a norm no bucket is let go of before all are summed.
        received_(options.needs_norm
                      ? buckets_.size()
                      : std::clamp(options.buckets_at_once, std::size_t{1}, buckets_.size())),
        statistics_(static_cast<std::size_t>(options.statistics)) {
    if (parameters.arena().defined() && parameters.arena().dtype() != DType::kF32) {
      throw ShapeError(fmt::format("exchange: the parameters are {} but only f32 is exchanged",
                                   name_of(parameters.arena().dtype())));
    }
    first_tag_ = communicator.reserve_tags(2 * static_cast<int>(buckets_.size()),
                                           options.mode == ExchangeMode::kLibrary);
    for (Work& work : work_) {
      work.send.resize(static_cast<std::size_t>(ranks_));
      work.receive.resize(static_cast<std::size_t>(ranks_));
    }
  }

  [[nodiscard]] const std::vector<Range>& runs() const { return local_.runs(); }

  [[nodiscard]] std::vector<Range> owned_segments() const {
    std::vector<Range> segments;
    for (std::size_t b = tail(); b-- > 0;) {
      if (segment(b).size() > 0) {
        segments.push_back(segment(b));
      }
    }
    return segments;
  }

  [[nodiscard]] std::int64_t bytes_sent_per_step() const {
    const bool library = options_.mode == ExchangeMode::kLibrary;
    const std::int64_t partials = tree_.partials_of(rank_);
    std::int64_t floats = 0;
    std::int64_t blocks = 0;
    for (std::size_t b = 0; b < buckets_.size(); ++b) {
      for (int r = 0; r < ranks_; ++r) {
        if (r != rank_) {
          const std::int64_t elements = segment_of(b, r).size();
          floats += (library && b != tail() ? 1 : partials) * elements;
        }
      }
      if (b != tail()) {
        floats += (ranks_ - 1) * segment(b).size();
        blocks += (ranks_ - 1) * blocks_in(segment(b));
      }
    }
    return floats * static_cast<std::int64_t>(sizeof(float)) +
           (options_.needs_norm ? blocks * static_cast<std::int64_t>(sizeof(double)) : 0);
  }

  void begin(Queue& queue, UpdateSegment update, const std::vector<bool>& trainable) {
    if (open_) {
      throw Error("exchange: begin() while the last step has not ended");
    }
    const auto count = static_cast<std::size_t>(parameters_.size());
    if (!trainable.empty() && trainable.size() != count) {
      throw ShapeError(
          fmt::format("exchange: {} trainable flags for {} parameters", trainable.size(), count));
    }
    queue_ = &queue;
    update_ = std::move(update);
    local_.begin(trainable.empty() ? std::vector<bool>(count, true) : trainable);
    for (std::size_t b = 0; b < work_.size(); ++b) {
      work_[b].phase = local_.active(b) ? Phase::kComputing : Phase::kDone;
      work_[b].locally_complete = work_[b].updated = false;
    }
    norm_ = 0;
    norm_phase_ = options_.needs_norm ? NormPhase::kSumming : NormPhase::kDone;
    open_ = true;
  }

  std::unique_ptr<ShardGradients> run(const Range& run, Queue& queue) {
    if (!open_) {
      throw Error(fmt::format("exchange: shard {} outside of a step", run.first));
    }
    return local_.run(run, queue);
  }

  bool poll() {
    if (!open_) {
      return true;
    }
    complete_.clear();
    local_.take_complete(complete_);
    for (const std::size_t b : complete_) {
      work_[b].locally_complete = true;
    }
    for (std::size_t b = 0; b < work_.size(); ++b) {
      advance(b);
    }
    advance_norm();
    const auto open = [](const Work& work) { return work.phase != Phase::kDone; };
    if (const auto at = std::ranges::find_if(work_, open); at != work_.end()) {
      communicator_.activity().set_bucket(static_cast<std::int32_t>(at - work_.begin()));
      return false;
    }
    if (std::ranges::any_of(work_, &Work::updated)) {
      parameters_.mark_changed(local_.trainable());
    }
    open_ = false;
    return true;
  }

  [[nodiscard]] const std::vector<float>& statistics() const { return statistics_; }
  [[nodiscard]] double norm() const { return norm_; }
  void give_up() { local_.give_up(); }
  [[nodiscard]] int live_copies() const { return local_.copies(); }

  void rest() {
    if (open_) {
      throw Error("exchange: rest() while the last step has not ended");
    }
    local_.drop_copies();
    std::ranges::fill(received_, Tensor());
  }

 private:
  enum class Phase : std::uint8_t {
    kComputing,  // shards of this rank are under way
    kSumming,    // partial sums are moving
    kSummed,     // the own segment's gradient is there, the norm is not
    kGathering,  // new weights are moving
    kDone,
  };
  enum class NormPhase : std::uint8_t { kSumming, kGathering, kDone };

  struct Work {
    Phase phase = Phase::kDone;
    bool locally_complete = false;
    bool updated = false;
    std::vector<Tensor> partials;
    Tensor sum;
    std::vector<std::vector<ConstBytes>> send;
    std::vector<std::vector<Bytes>> receive;
    std::unique_ptr<Transfer> transfer;
  };

  [[nodiscard]] std::size_t tail() const { return buckets_.size() - 1; }
  [[nodiscard]] const Range& segment_of(std::size_t b, int rank) const {
    return buckets_[b].segments[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] const Range& segment(std::size_t b) const { return segment_of(b, rank_); }
  [[nodiscard]] int tag(std::size_t b) const { return first_tag_ + 2 * static_cast<int>(b); }
  [[nodiscard]] bool summed_by_library(std::size_t b) const {
    return options_.mode == ExchangeMode::kLibrary && ranks_ > 1 && b != tail();
  }

  /// Takes a bucket as far as it goes without waiting.
  void advance(std::size_t b) {
    Work& work = work_[b];
    if (work.phase == Phase::kComputing && work.locally_complete && in_turn(b) &&
        (ranks_ == 1 || has_room(b))) {
      if (ranks_ > 1) {
        summed_by_library(b) ? start_library_sum(b) : start_tree_sum(b);
      }
      work.phase = Phase::kSumming;
    }
    if (work.phase == Phase::kSumming && (!work.transfer || work.transfer->poll())) {
      work.transfer.reset();
      end_sum(b);
    }
    if (work.phase == Phase::kGathering && work.transfer->poll()) {
      work.transfer.reset();
      work.phase = Phase::kDone;
    }
  }

  /// Library sums are collectives of the whole communicator: the same order on all ranks.
  [[nodiscard]] bool in_turn(std::size_t b) const {
    if (!summed_by_library(b)) {
      return true;
    }
    return std::none_of(work_.begin(), work_.begin() + static_cast<std::ptrdiff_t>(b),
                        [](const Work& w) { return w.phase == Phase::kComputing; });
  }

  /// Whether the buckets before this one that share its memory for partial sums are done with it.
  /// The first open bucket always has room, on every rank: no rank waits for ever.
  [[nodiscard]] bool has_room(std::size_t b) const {
    std::size_t other = b % received_.size();
    while (other < b && work_[other].phase >= Phase::kGathering) {
      other += received_.size();
    }
    return other == b;
  }

  void start_tree_sum(std::size_t b) {
    Work& work = work_[b];
    const std::int64_t elements = segment(b).size();
    const std::int64_t stride = (elements + kAlignElements - 1) / kAlignElements * kAlignElements;
    const int own = tree_.partials_of(rank_);
    Tensor& received = received_[b % received_.size()];
    const std::int64_t needed = (tree_.partials() - own) * stride;
    if (!received.defined() || received.elements() < needed) {
      received = Tensor::empty(device_, {needed});
    }
    work.partials.clear();
    std::int64_t position = 0;
    for (int r = 0; r < ranks_; ++r) {
      auto& send = work.send[static_cast<std::size_t>(r)];
      auto& receive = work.receive[static_cast<std::size_t>(r)];
      send.clear();
      receive.clear();
      for (int i = 0; i < tree_.partials_of(r); ++i) {
        if (r == rank_) {
          work.partials.push_back(local_.partial(b, i, segment(b)));
          continue;
        }
        work.partials.push_back(received.slice(position, {elements}));
        position += stride;
        if (elements > 0) {
          receive.push_back({work.partials.back().data(), work.partials.back().bytes()});
        }
      }
      for (int i = 0; r != rank_ && i < own && segment_of(b, r).size() > 0; ++i) {
        const Tensor part = local_.partial(b, i, segment_of(b, r));
        send.push_back({part.data(), part.bytes()});
      }
    }
    work.transfer = communicator_.all_to_all(work.send, work.receive, tag(b));
  }

  void start_library_sum(std::size_t b) {
    const Range& elements = buckets_[b].elements;
    const Tensor sum = local_.partial(b, 0, elements);
    for (int i = 1; i < tree_.partials_of(rank_); ++i) {
      device_.elementwise().add(*queue_, sum.cview(), local_.partial(b, i, elements).cview(),
                                sum.view());
    }
    queue_->wait();
    std::vector<std::span<float>> parts;
    for (const Range& part : buckets_[b].segments) {
      const Tensor values = local_.partial(b, 0, part);
      parts.emplace_back(values.view().as<float>(), static_cast<std::size_t>(part.size()));
    }
    work_[b].transfer = communicator_.reduce_scatter(parts, tag(b));
  }

  void end_sum(std::size_t b) {
    Work& work = work_[b];
    if (ranks_ == 1 || summed_by_library(b)) {
      work.sum = local_.partial(b, 0, segment(b));
    } else {
      for (const TreeAdd& step : tree_.adds()) {
        const Tensor& into = work.partials[static_cast<std::size_t>(step.into)];
        if (into.elements() > 0) {
          const Tensor& from = work.partials[static_cast<std::size_t>(step.from)];
          device_.elementwise().add(*queue_, into.cview(), from.cview(), into.view());
        }
      }
      work.sum = work.partials.front();
    }
    if (b == tail()) {
      if (work.sum.elements() > 0) {
        device_.to_host(*queue_, work.sum.data(), statistics_.data(), work.sum.bytes());
      }
      release(b);
      work.phase = Phase::kDone;
    } else if (options_.needs_norm) {
      work.phase = Phase::kSummed;
    } else {
      update(b);
    }
  }

  void update(std::size_t b) {
    Work& work = work_[b];
    if (segment(b).size() > 0) {
      update_(segment(b), work.sum, norm_);
      queue_->wait();
    }
    work.updated = true;
    release(b);
    work.phase = ranks_ > 1 ? Phase::kGathering : Phase::kDone;
    if (ranks_ > 1) {
      std::vector<Bytes> parts;
      for (const Range& part : buckets_[b].segments) {
        const Tensor weights = piece(parameters_.arena(), part);
        parts.push_back({weights.data(), weights.bytes()});
      }
      work.transfer = communicator_.all_gather(parts, tag(b) + 1);
    }
  }

  void release(std::size_t b) {
    work_[b].sum = {};
    work_[b].partials.clear();
    local_.release(b);
  }

  /// The norm: once all segments are summed, block sums of squares travel to all ranks, which add
  /// them from the arena's first block to its last.
  void advance_norm() {
    if (norm_phase_ == NormPhase::kSumming) {
      for (std::size_t b = 0; b < tail(); ++b) {
        if (local_.active(b) && work_[b].phase != Phase::kSummed) {
          return;
        }
      }
      start_norm();
      norm_phase_ = NormPhase::kGathering;
    }
    if (norm_phase_ == NormPhase::kGathering && (!norm_transfer_ || norm_transfer_->poll())) {
      norm_transfer_.reset();
      end_norm();
      norm_phase_ = NormPhase::kDone;
      for (std::size_t b = 0; b < tail(); ++b) {
        if (local_.active(b)) {
          update(b);
        }
      }
    }
  }

  /// Block sums lie by rank, then bucket; `position[b * ranks + r]` is where those of a segment
  /// begin.
  void start_norm() {
    norm_position_.assign(tail() * static_cast<std::size_t>(ranks_), 0);
    std::vector<Range> parts;
    std::int64_t position = 0;
    for (int r = 0; r < ranks_; ++r) {
      const std::int64_t first = position;
      for (std::size_t b = 0; b < tail(); ++b) {
        norm_position_[b * static_cast<std::size_t>(ranks_) + static_cast<std::size_t>(r)] =
            position;
        position += local_.active(b) ? blocks_in(segment_of(b, r)) : 0;
      }
      parts.push_back({first, position});
    }
    block_sums_ = Tensor::empty(device_, {position}, DType::kF64);
    for (std::size_t b = 0; b < tail(); ++b) {
      if (local_.active(b) && segment(b).size() > 0) {
        const std::int64_t first =
            norm_position_[b * static_cast<std::size_t>(ranks_) + static_cast<std::size_t>(rank_)];
        const Range blocks{first, first + blocks_in(segment(b))};
        device_.reduce().square_sums(*queue_, gradient_of(b).cview(),
                                     piece(block_sums_, blocks).view());
      }
    }
    queue_->wait();
    if (ranks_ > 1) {
      std::vector<Bytes> bytes;
      for (const Range& part : parts) {
        const Tensor sums = piece(block_sums_, part);
        bytes.push_back({sums.data(), sums.bytes()});
      }
      norm_transfer_ = communicator_.all_gather(bytes, tag(tail()) + 1);
    }
  }

  /// The summed gradient of this rank's segment, without statistics.
  [[nodiscard]] Tensor gradient_of(std::size_t b) const {
    return without_statistics(device_, *queue_, parameters_, work_[b].sum, segment(b));
  }

  void end_norm() {
    const std::vector<double> sums = copy_to_host<double>(device_, *queue_, block_sums_);
    block_sums_ = {};
    double total = 0;
    for (std::size_t b = tail(); b-- > 0;) {
      for (int r = 0; local_.active(b) && r < ranks_; ++r) {
        const auto first = static_cast<std::size_t>(
            norm_position_[b * static_cast<std::size_t>(ranks_) + static_cast<std::size_t>(r)]);
        const auto count = static_cast<std::size_t>(blocks_in(segment_of(b, r)));
        for (std::size_t i = first; i < first + count; ++i) {
          total += sums[i];
        }
      }
    }
    norm_ = std::sqrt(total);
  }

  Communicator& communicator_;
  Device& device_;
  ParameterSet& parameters_;
  const ExchangeOptions options_;
  const int ranks_;
  const int rank_;
  const GradientTree tree_;
  const std::vector<Bucket> buckets_;  // the last is the tail: the statistics
  LocalSum local_;
  std::vector<Work> work_;
  /// The other ranks' partial sums of the own segments: bucket b's stand at b modulo the size.
  std::vector<Tensor> received_;
  int first_tag_ = 0;

  std::atomic<bool> open_{false};  // workers see it in shard()
  Queue* queue_ = nullptr;
  UpdateSegment update_;
  std::vector<std::size_t> complete_;
  std::vector<float> statistics_;
  double norm_ = 0;
  NormPhase norm_phase_ = NormPhase::kDone;
  std::vector<std::int64_t> norm_position_;
  Tensor block_sums_;
  std::unique_ptr<Transfer> norm_transfer_;
};

Exchange::Exchange(Communicator& communicator, Device& device, ParameterSet& parameters,
                   const ExchangeOptions& options)
    : impl_(std::make_unique<Implementation>(communicator, device, parameters, options)) {}

Exchange::~Exchange() = default;

Range Exchange::owned_shards() const {
  return {runs().front().first, runs().back().last};
}

std::vector<Range> Exchange::owned_segments() const {
  return impl_->owned_segments();
}

std::int64_t Exchange::bytes_sent_per_step() const {
  return impl_->bytes_sent_per_step();
}

void Exchange::begin(Queue& queue, UpdateSegment update, const std::vector<bool>& trainable) {
  impl_->begin(queue, std::move(update), trainable);
}

const std::vector<Range>& Exchange::runs() const {
  return impl_->runs();
}

std::unique_ptr<ShardGradients> Exchange::run(const Range& run, Queue& queue) {
  return impl_->run(run, queue);
}

bool Exchange::poll() {
  return impl_->poll();
}

std::vector<float> Exchange::statistics() const {
  return impl_->statistics();
}

double Exchange::norm() const {
  return impl_->norm();
}

void Exchange::give_up() {
  impl_->give_up();
}

void Exchange::rest() {
  impl_->rest();
}

int Exchange::live_copies() const {
  return impl_->live_copies();
}

}  // namespace gentrain::comm
