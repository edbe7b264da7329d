// The objective of a logistic regression: statistics of the features, loss and gradient by shards.
#include "trainers/logistic_objective.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "comm/shards.h"
#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/logistic_model.h"

namespace gentrain::trainers {

namespace {

/// Samples of each class. Throws JobError.
std::vector<std::int64_t> count_classes(const LabelledFeatures& data) {
  const std::string what = "logistic regression: ";
  if (data.features < 1) {
    throw JobError(
        fmt::format("{}samples have {} features: one at least is needed", what, data.features));
  }
  if (data.classes < 2) {
    throw JobError(
        fmt::format("{}there are {} classes: two at least are needed", what, data.classes));
  }
  if (data.samples() < data.classes) {
    throw JobError(fmt::format("{}{} samples of {} classes: one of each at least is needed", what,
                               data.samples(), data.classes));
  }
  std::vector<std::int64_t> counts(static_cast<std::size_t>(data.classes));
  for (std::size_t i = 0; i < data.labels.size(); ++i) {
    const std::int32_t label = data.labels[i];
    if (label < 0 || label >= data.classes) {
      throw JobError(fmt::format("{}the label of sample {} is {}: of {} classes labels are 0 to {}",
                                 what, i, label, data.classes, data.classes - 1));
    }
    ++counts[static_cast<std::size_t>(label)];
  }
  const auto most = std::max_element(counts.begin(), counts.end());
  if (*most == data.samples()) {
    throw JobError(fmt::format("{}all {} samples are of class {}: two classes at least are needed",
                               what, data.samples(), most - counts.begin()));
  }
  return counts;
}

/// into += factor * x, of equal lengths.
void add_scaled(std::span<double> into, double factor, std::span<const double> x) {
  for (std::size_t j = 0; j < into.size(); ++j) {
    into[j] += factor * x[j];
  }
}

/// The log loss of a sample; its logits become their derivatives. Of one logit: log odds of
/// class 1.
double log_loss(std::span<double> logits, std::int32_t label) {
  if (logits.size() == 1) {
    const double towards = label == 1 ? logits[0] : -logits[0];  // of its own class
    const double small = std::exp(-std::abs(towards));
    const double wrong = towards > 0 ? small / (1 + small) : 1 / (1 + small);
    logits[0] = label == 1 ? -wrong : wrong;
    return std::log1p(small) + std::max(-towards, 0.0);
  }
  const auto own = static_cast<std::size_t>(label);
  const double largest = *std::max_element(logits.begin(), logits.end());
  const double towards = logits[own] - largest;
  double sum = 0;
  for (double& logit : logits) {
    logit = std::exp(logit - largest);
    sum += logit;
  }
  for (double& logit : logits) {
    logit /= sum;
  }
  logits[own] -= 1;
  return std::log(sum) - towards;
}

/// A feature that is not finite.
struct BadFeature {
  std::int64_t sample = 0;
  std::size_t feature = 0;
  float value = 0;
};

std::optional<BadFeature> first_bad(const LabelledFeatures& data, const comm::Range& samples) {
  for (std::int64_t i = samples.first; i < samples.last; ++i) {
    const float* x = data.row(i);
    for (std::size_t j = 0; j < static_cast<std::size_t>(data.features); ++j) {
      if (!std::isfinite(x[j])) {
        return BadFeature{i, j, x[j]};
      }
    }
    progress::tick();
  }
  return std::nullopt;
}

}  // namespace

comm::Range owned_samples(std::int64_t samples, std::int64_t shards, int ranks, int rank) {
  const comm::Range owned = comm::part_of(shards, ranks, rank);
  return {comm::part_of(samples, shards, owned.first).first,
          comm::part_of(samples, shards, owned.last).first};
}

LogisticObjective::LogisticObjective(comm::Communicator& communicator, WorkerPool& pool,
                                     std::int64_t shards, const LabelledFeatures& data, double l2,
                                     bool centre)
    : communicator_(communicator),
      pool_(pool),
      data_(data),
      shards_(shards),
      l2_(l2),
      counts_(count_classes(data)),
      features_(static_cast<std::size_t>(data.features)),
      rows_(data.classes == 2 ? 1 : static_cast<std::size_t>(data.classes)),
      sum_(communicator, shards) {
  check_finite();
  standardise();
  centres_ = centre ? means_ : std::vector<double>(features_);
}

std::vector<double> LogisticObjective::sum_over_shards(std::size_t elements,
                                                       const AddSamples& add) {
  const comm::PhaseScope phase(communicator_.activity(), comm::Phase::kComputing);
  const auto size = static_cast<std::int64_t>(elements);
  std::atomic<std::int64_t> next{sum_.owned().first};
  try {
    pool_.run([&](int /*worker*/) {
      while (!pool_.failed()) {
        const std::int64_t shard = next.fetch_add(1, std::memory_order_relaxed);
        if (shard >= sum_.owned().last) {
          return;
        }
        std::vector<double> sum = sum_.zeros(size);
        add(comm::part_of(data_.samples(), shards_, shard), sum);
        sum_.put(shard, std::move(sum));
      }
    });
  } catch (...) {
    sum_.clear();
    throw;
  }
  communicator_.activity().enter(comm::Phase::kExchanging);
  return sum_.finish(size);
}

/// All ranks tell of the first one of all.
void LogisticObjective::check_finite() {
  const comm::PhaseScope phase(communicator_.activity(), comm::Phase::kComputing);
  std::atomic<std::int64_t> next{sum_.owned().first};
  std::mutex mutex;
  std::optional<BadFeature> first;
  pool_.run([&](int /*worker*/) {
    for (std::int64_t shard = next.fetch_add(1); shard < sum_.owned().last && !pool_.failed();
         shard = next.fetch_add(1)) {
      const auto bad = first_bad(data_, comm::part_of(data_.samples(), shards_, shard));
      const std::lock_guard lock(mutex);
      if (bad && (!first || bad->sample < first->sample)) {
        first = bad;
      }
    }
  });
  const std::string mine =
      first ? fmt::format(
                  "logistic regression: feature {} of sample {} is {}: finite numbers are "
                  "needed",
                  first->feature, first->sample, first->value)
            : "";
  for (const std::string& text : communicator_.all_gather_text(mine)) {
    if (!text.empty()) {  // ranks have their samples in order
      throw NumericError(text);
    }
  }
}

/// The features of sample 0, on all ranks.
std::vector<float> LogisticObjective::first_sample() {
  std::vector<float> row(features_);
  int root = 0;
  while (owned_samples(data_.samples(), shards_, communicator_.size(), root).last == 0) {
    ++root;
  }
  if (communicator_.rank() == root) {
    std::copy_n(data_.row(0), features_, row.begin());
  }
  communicator_.broadcast({row.data(), row.size() * sizeof(float)}, root);
  return row;
}

/// Sums of differences from sample 0, then from the mean: exactly 0 for a feature that is constant.
void LogisticObjective::standardise() {
  const std::vector<float> origin = first_sample();
  const auto samples = static_cast<double>(data_.samples());
  std::vector<double> shift(features_);  // of the mean from sample 0
  const auto sum_differences = [&](bool squares) {
    return sum_over_shards(
        features_, [&, squares](const comm::Range& range, std::span<double> sum) {
          for (std::int64_t i = range.first; i < range.last; ++i) {
            const float* x = data_.row(i);
            for (std::size_t j = 0; j < features_; ++j) {
              const double difference =
                  static_cast<double>(x[j]) - static_cast<double>(origin[j]) - shift[j];
              sum[j] += squares ? difference * difference : difference;
            }
            progress::tick();
          }
        });
  };
  shift = sum_differences(false);
  for (double& one : shift) {
    one /= samples;
  }
  deviations_ = sum_differences(true);
  for (double& one : deviations_) {
    one = std::sqrt(one / (samples - 1));
  }
  means_ = shift;
  for (std::size_t j = 0; j < features_; ++j) {
    means_[j] += static_cast<double>(origin[j]);
  }
}

double LogisticObjective::operator()(std::span<const double> x, std::span<double> gradient) {
  // Of features as they are: coefficients [rows, d], then what belongs to each row as a whole.
  const std::size_t weights = rows_ * features_;
  std::vector<double> plain(x.begin(), x.end());
  for (std::size_t i = 0; i < weights; ++i) {
    const std::size_t j = i % features_;
    plain[i] = deviations_[j] > 0 ? x[i] / deviations_[j] : 0;
    plain[weights + i / features_] -= plain[i] * centres_[j];
  }
  // Sums of the same layout, and the loss behind them.
  const std::vector<double> sums =
      sum_over_shards(variables() + 1, [&](const comm::Range& samples, std::span<double> sum) {
        std::vector<double> logits(rows_);
        std::vector<double> features(features_);
        for (std::int64_t i = samples.first; i < samples.last; ++i) {
          std::copy_n(data_.row(i), features_, features.begin());
          for (std::size_t row = 0; row < rows_; ++row) {
            logits[row] = plain[weights + row] +
                          dot(std::span(plain).subspan(row * features_, features_), features);
          }
          sum.back() += log_loss(logits, data_.labels[static_cast<std::size_t>(i)]);
          for (std::size_t row = 0; row < rows_; ++row) {
            add_scaled(sum.subspan(row * features_, features_), logits[row], features);
            sum[weights + row] += logits[row];
          }
          progress::tick();
        }
      });
  const auto samples = static_cast<double>(data_.samples());
  double squares = 0;
  for (std::size_t i = 0; i < weights; ++i) {
    const std::size_t j = i % features_;
    const double sum = sums[i] - centres_[j] * sums[weights + i / features_];
    gradient[i] = deviations_[j] > 0 ? sum / deviations_[j] / samples + l2_ * x[i] : 0;
    squares += deviations_[j] > 0 ? x[i] * x[i] : 0;
  }
  for (std::size_t row = 0; row < rows_; ++row) {
    gradient[weights + row] = sums[weights + row] / samples;
  }
  return sums.back() / samples + l2_ / 2 * squares;
}

}  // namespace gentrain::trainers
