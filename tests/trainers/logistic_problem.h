// What tests of logistic regression share: drawn features with labels that depend on them, and fits
// to them on any number of ranks and workers.
#pragma once

#include <cmath>
#include <cstdint>
#include <mutex>
#include <vector>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/support/noise.h"
#include "trainers/logistic_regression.h"

namespace gentrain::trainers {

/// Features of different scale and offset, the last one constant. Labels are drawn towards the
/// largest of some linear functions, so that no class can be told from the others for sure.
struct LogisticProblem {
  LogisticProblem(std::int64_t samples, std::int64_t d, int k, std::uint64_t seed)
      : features(d), classes(k) {
    test::Noise noise(seed);
    const std::vector<float> weights = test::floats(d * k, seed + 1, -2, 2);
    for (std::int64_t i = 0; i < samples; ++i) {
      std::vector<float> logits(static_cast<std::size_t>(k));
      for (std::int64_t j = 0; j < d; ++j) {
        const float value = noise.real();
        for (int c = 0; c < k; ++c) {
          logits[static_cast<std::size_t>(c)] +=
              value * weights[static_cast<std::size_t>(j * k + c)];
        }
        const auto scale = static_cast<float>(std::pow(3.0, static_cast<double>(j % 5) - 2));
        x.push_back(j + 1 == d ? 0.1F : scale * (value + static_cast<float>(j % 3)));
      }
      int best = 0;
      for (int c = 0; c < k; ++c) {
        float& logit = logits[static_cast<std::size_t>(c)];
        logit += noise.real(-2, 2);
        best = logit > logits[static_cast<std::size_t>(best)] ? c : best;
      }
      labels.push_back(best);
    }
  }

  [[nodiscard]] std::int64_t samples() const { return static_cast<std::int64_t>(labels.size()); }
  [[nodiscard]] const float* row(std::int64_t sample) const { return x.data() + sample * features; }

  /// As a rank sees it: the features of other ranks' samples are an error.
  [[nodiscard]] LabelledFeatures on(const comm::Communicator& rank, std::int64_t shards) const {
    const comm::Range own = owned_samples(samples(), shards, rank.size(), rank.rank());
    return {features, classes, labels, [this, own](std::int64_t sample) {
              if (sample < own.first || sample >= own.last) {
                throw Error(
                    fmt::format("sample {} is not one of [{}, {})", sample, own.first, own.last));
              }
              return row(sample);
            }};
  }

  std::int64_t features;
  int classes;
  std::vector<float> x;  // [samples, features]
  std::vector<std::int32_t> labels;
};

/// A fit as one rank of a job.
inline LogisticResult fit_on(comm::Communicator& communicator, const LogisticProblem& problem,
                             const LogisticOptions& options, int workers) {
  WorkerPool pool(workers, communicator.size() == 1);
  return fit_logistic_regression(communicator, pool, options,
                                 problem.on(communicator, options.shards));
}

/// On this process alone.
inline LogisticResult fit_alone(const LogisticProblem& problem, const LogisticOptions& options) {
  const auto single = comm::make_single();
  return fit_on(*single, problem, options, 1);
}

/// Options with which a fit comes to the optimum.
inline LogisticOptions to_the_optimum() {
  LogisticOptions options;
  options.max_iterations = 3000;
  options.tolerance = 0;
  return options;
}

}  // namespace gentrain::trainers
