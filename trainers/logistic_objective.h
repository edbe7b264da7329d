// What a logistic regression minimises, over the ranks: the mean log loss of standardised features
// plus the smooth part of the elastic net. Sums go over the tree of shards, in f64 throughout.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/tree_sum.h"
#include "trainers/worker_pool.h"

namespace gentrain::trainers {

/// Samples dealt over the ranks; see owned_samples().
struct LabelledFeatures {
  std::int64_t features = 0;             // d
  int classes = 0;                       // k
  std::span<const std::int32_t> labels;  // of all samples, on every rank; from 0 to k - 1
  /// The features [d] of a sample that this rank owns. Called by several workers at once; they
  /// must stay as they are.
  std::function<const float*(std::int64_t sample)> row;

  [[nodiscard]] std::int64_t samples() const { return static_cast<std::int64_t>(labels.size()); }
};

/// The samples whose features rank `rank` has to have: those of its shards, shards >= ranks >= 1.
comm::Range owned_samples(std::int64_t samples, std::int64_t shards, int ranks, int rank);

/// The variables are w [rows, d] of the standardised features, then b [rows]; rows is 1 for two
/// classes (log odds of class 1), k for more (logits).
///
///     mean over the samples of the log loss of the logits w (x - c) / s + b
///         + l2 / 2 * sum of w^2
///
/// s are the features' standard deviations (unbiased, n - 1); where s is 0, w has no effect and a
/// gradient of 0. c is 0, or the features' means: that is another b alone, the least value is the
/// same.
class LogisticObjective {
 public:
  /// All must outlive it. Looks at all features once or twice. Collective.
  ///
  /// l2  penalty of the squares, >= 0
  ///
  /// Throws JobError if there are no features, fewer than two classes, fewer samples than classes,
  /// samples of one class alone, or more ranks than shards; for a label that is out of range;
  /// NumericError for a feature that is not finite, naming sample and feature (all ranks the same).
  LogisticObjective(comm::Communicator& communicator, WorkerPool& pool, std::int64_t shards,
                    const LabelledFeatures& data, double l2, bool centre);

  /// Value and gradient at x. Collective: all ranks have the same x.
  double operator()(std::span<const double> x, std::span<double> gradient);

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t variables() const { return rows_ * (features_ + 1); }
  /// Of each class.
  [[nodiscard]] const std::vector<std::int64_t>& counts() const { return counts_; }
  /// s [d] and c [d].
  [[nodiscard]] const std::vector<double>& deviations() const { return deviations_; }
  [[nodiscard]] const std::vector<double>& centres() const { return centres_; }
  /// The mean of each feature, [d].
  [[nodiscard]] const std::vector<double>& means() const { return means_; }

 private:
  /// Adds what a range of samples gives to `sum`.
  using AddSamples = std::function<void(const comm::Range& samples, std::span<double> sum)>;

  std::vector<double> sum_over_shards(std::size_t elements, const AddSamples& add);
  void check_finite();
  std::vector<float> first_sample();
  void standardise();

  comm::Communicator& communicator_;
  WorkerPool& pool_;
  const LabelledFeatures& data_;
  std::int64_t shards_;
  double l2_;
  std::vector<std::int64_t> counts_;  // first of all: what it needs is checked before the rest
  std::size_t features_;
  std::size_t rows_;
  comm::TreeSum sum_;
  std::vector<double> means_;
  std::vector<double> deviations_;
  std::vector<double> centres_;
};

}  // namespace gentrain::trainers
