// Timing whole steps of a job: the same loop that trains, watched by a stopwatch.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "trainers/training.h"

namespace gentrain::trainers {

struct BenchOptions {
  std::string stage;        // empty: the last stage
  std::int64_t steps = 30;  // timed; steps with a short last batch are run but not counted
  std::int64_t warmup = 5;  // before them
  bool forward = false;     // the forward pass alone, as in evaluation; of SRGAN the generator's
};

/// Times are those of the slowest rank; "median" and "min" are over the timed steps.
struct BenchResult {
  std::string stage;
  std::string features;    // the layer whose features, computed before, steps start from; or empty
  std::int64_t batch = 0;  // images of one step
  std::int64_t shards = 0;
  int ranks = 1;
  int threads = 1;  // of a rank
  double step_ms = 0;
  double step_ms_min = 0;
  double gflop_per_step = 0;  // of dense and convolution layers, multiply-adds count two
  double startup_s = 0;       // process start to the end of the first step
  double peak_rss_mib = 0;    // of the largest rank
  double peak_rss_mib_all_ranks = 0;
  double tensor_peak_mib = 0;        // of the largest rank
  std::int64_t exchanged_bytes = 0;  // sent in a step by the rank that sends most
  [[nodiscard]] double images_per_s() const { return static_cast<double>(batch) / step_ms * 1e3; }
  [[nodiscard]] double best_images_per_s() const {
    return static_cast<double>(batch) / step_ms_min * 1e3;
  }
  [[nodiscard]] double gflop_per_s() const { return gflop_per_step / step_ms * 1e3; }
};

/// Takes steps of one stage, data loading included, and writes nothing. `process_start` is when the
/// process began. Collective. Throws JobError for an unknown stage, one that takes no steps or
/// impossible counts, and as TrainingRun::make_stages().
BenchResult bench(TrainingRun& run, const BenchOptions& options,
                  std::chrono::system_clock::time_point process_start);

}  // namespace gentrain::trainers
