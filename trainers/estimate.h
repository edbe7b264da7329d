// What a run will take, found by trying: two steps of a job on one rank whose peers are only
// pretended.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "trainers/models/network.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// Of one rank (rank 0), with all ranks on this host.
struct Estimate {
  std::string contract;
  std::vector<LayerInfo> layers;
  std::int64_t parameters = 0;
  std::string data;     // where it comes from
  std::string missing;  // what is missing, empty if nothing is
  int threads = 1;
  double tensor_mib = 0;             // largest use of tensor memory
  double resident_mib = 0;           // largest resident memory
  std::int64_t exchanged_bytes = 0;  // sent per step
  std::int64_t steps = 0;            // planned, over all stages
};

/// Throws what a run would throw before its first step, but for missing data: where images of
/// MNIST's shape are needed, drawn digits stand in for them, and `missing` says so.
Estimate estimate_classifier(const TrainOptions& options, int ranks);

}  // namespace gentrain::trainers
