// Update: parameters, optimizer and exchange that belong to one loss.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/exchange.h"
#include "core/optim/optimizer.h"
#include "core/parameters.h"
#include "core/pattern.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// What a rank wishes to happen behind a step. Wishes travel with the losses: what one rank wishes,
/// all ranks know when the step has ended.
struct Wishes {
  bool stop = false;
  bool checkpoint = false;
};

/// Floats behind the statistics of a trainer that say how many ranks wish what.
inline constexpr std::size_t kWishStatistics = 2;

/// What every update of a run shares.
struct UpdateSetting {
  comm::Communicator& communicator;
  Device& device;
  comm::ExchangeMode mode = comm::ExchangeMode::kCanonical;
  std::int64_t shards = 16;
  int workers = 0;                // see comm::ExchangeOptions
  std::int64_t side_by_side = 1;  // likewise
};

/// Computes `part(index, parts, queue)` for each of some parts of a piece of work, on workers that
/// have nothing else to do, and returns when all have ended; all in one part where there are none.
using InParts =
    std::function<void(const std::function<void(int index, int parts, Queue& queue)>& part)>;

class Update {
 public:
  /// `parameters` must outlive the update and be allocated. A step updates them in `parts`, one
  /// after the other; of stage.trainable those are trained that match a pattern of a part too: what
  /// the part's loss depends on.
  /// What matches a pattern of stage.freeze.parameters is not trained (freeze.through is of no
  /// account here, see frozen_by_name()).
  /// Throws JobError for a pattern of either that matches no parameter, naming where it
  /// stands and what there is, if nothing is left to train, and for an update rule of a network of
  /// which nothing is trained; Error for a parameter in two parts.
  Update(const UpdateSetting& setting, Queue& queue, ParameterSet& parameters,
         const StageOptions& stage, std::int64_t statistics,
         const std::vector<std::vector<Pattern>>& parts = {{Pattern{}}});

  /// Adds this rank's wishes to the statistics of one of its shards.
  static void add_wishes(const Wishes& wishes, comm::ShardGradients& gradients);
  /// After a part of a step: the sums of the statistics, over its parts so far too, and what some
  /// rank wished.
  [[nodiscard]] std::vector<float> statistics() const;
  [[nodiscard]] Wishes wishes() const;

  /// Behind a part's exchange; behind the last one averages follow their parameters, on each rank
  /// by itself. `queue` as in begin().
  void end(Queue& queue);
  /// Begins a part of step `step` (from 0) of the stage: shards may deliver gradients. Of large
  /// segments the weights change `in_parts`, if that is given.
  void begin(Queue& queue, std::int64_t step, std::size_t part = 0, const InParts& in_parts = {});
  [[nodiscard]] comm::Exchange& exchange() { return *exchange_; }
  [[nodiscard]] ParameterSet& parameters() { return parameters_; }
  /// Learning rate of the step begun last, of the stage's own update rule.
  [[nodiscard]] double learning_rate() const { return learning_rate(0); }
  /// Parameters that the stage trains, by index.
  [[nodiscard]] const std::vector<bool>& trainable() const { return trainable_; }
  [[nodiscard]] const optim::Optimizer& optimizer() const { return *optimizer_; }

  /// The optimizer's state over all ranks, arena-shaped, one vector per state name; nothing on the
  /// ranks other than `root`, if that is one. `into`: vectors of earlier ones, to be filled anew.
  /// Collective.
  [[nodiscard]] std::vector<std::vector<float>> gather_state(
      Queue& queue, int root = kEveryRank, std::vector<std::vector<float>> into = {}) const;
  /// Puts one part of the state back, of this rank's segments: `whole` is what gather_state() gives
  /// for the state name of that index.
  void set_state(Queue& queue, std::size_t which, std::span<const float> whole);
  static constexpr int kEveryRank = -1;

 private:
  /// A range of the arena that changes in one way.
  struct Trained {
    comm::Range elements;
    std::size_t part = 0;
    ParameterRole role = ParameterRole::kTrained;
    std::size_t rule = 0;  // of the optimizer; kTrained
    double decay = 0;      // kStatistic
  };
  /// A range of averages, decay * itself + (1 - decay) * as many elements from `of` on.
  struct Average {
    comm::Range elements;
    std::int64_t of = 0;
    double decay = 0;
  };
  void find_parts(const std::vector<std::vector<Pattern>>& parts);
  void find_rules();
  void find_trained();
  void check_rules() const;
  void find_averages();
  [[nodiscard]] double learning_rate(std::size_t rule) const;
  [[nodiscard]] std::vector<float> all_statistics() const;
  /// The optimizer's segments on this rank: "FIRST LAST FIRST LAST ...".
  [[nodiscard]] std::string segments_text() const;
  /// The states arena-shaped, with this rank's segments.
  [[nodiscard]] std::vector<std::vector<float>> arena_of_state(
      Queue& queue, std::vector<std::vector<float>> into) const;
  /// Of each segment every state, on the host.
  [[nodiscard]] std::vector<std::vector<float>> own_state(Queue& queue) const;
  void apply(Queue& queue, const comm::Range& elements, const Tensor& gradient, double norm);

  comm::Communicator& communicator_;
  Device& device_;
  ParameterSet& parameters_;
  StageOptions stage_;
  std::vector<bool> trainable_;
  std::vector<std::vector<bool>> parts_;  // of those that are trained
  std::vector<OptimizerOptions> rules_;
  std::vector<Trained> trained_;   // ascending
  std::vector<Average> averages_;  // ascending
  std::vector<bool> averaged_;     // by parameter: whether it is an average
  std::unique_ptr<comm::Exchange> exchange_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  int gather_tag_;
  std::int64_t step_ = 0;
  std::size_t part_ = 0;                // under way
  std::vector<float> of_parts_before_;  // sums of the exchange's statistics
};

/// Which parameters match one of the patterns; an average never does. Throws JobError for a pattern
/// that matches none, naming where it stands, `what` it is ("stage x: the trainable") and what
/// there is.
std::vector<bool> select_parameters(const ParameterSet& parameters,
                                    const std::vector<Pattern>& patterns, const std::string& what);

}  // namespace gentrain::trainers
