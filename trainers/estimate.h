// What a run will take, found by trying: a few steps of a job on one worker of one rank whose peers
// are only pretended, and what more workers add.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/shards.h"
#include "trainers/models/network.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// Where the tensor memory of a rank goes, in bytes as the allocator counts them. Over all stages:
/// their optimizers stay until the run ends, gradients are those of the stage that takes most.
struct TensorMemory {
  std::int64_t weights = 0;
  std::int64_t optimizer = 0;
  std::int64_t gradients = 0;  // sums over shards that are under way, partial sums received, and
                               // weights in the layouts of kernels
  std::int64_t best = 0;       // the best weights so far, where they are kept
  std::int64_t worker = 0;     // activations, their gradients and scratch, of one worker
  std::int64_t total = 0;      // largest use at any time
  std::int64_t shared = 0;     // frozen weights, once for all ranks of a host: not in the total
};

/// Of the rank with the most shards, all ranks being on this host.
struct Estimate {
  std::string contract;
  std::vector<LayerInfo> layers;  // empty: what is missing leaves this and most below unknown
  std::int64_t parameters = 0;
  std::string data;       // where it comes from
  std::string data_note;  // as LoadedData::note
  std::string missing;    // what is missing, empty if nothing is
  int threads = 1;
  std::int64_t shards = 0;  // of the rank
  TensorMemory memory;
  double resident_mib = 0;  // largest resident memory of a rank, but for checkpoints
  double shared_mib = 0;  // of that what ranks of a host share: frozen weights, faces, the program
  double writer_mib = 0;  // what rank 0 has more while it writes a checkpoint
  double host_mib = 0;    // of all ranks together, what they share being there once
  std::int64_t exchanged_bytes = 0;  // sent per step by the rank that sends most
  std::int64_t steps = 0;            // planned, over all stages
  /// Which stages start from cached features, and why others with a frozen part do not: lines.
  std::vector<std::string> features;
};

/// Throws what a run would throw before its first step, but for missing files, which `missing`
/// names: where MNIST is needed, drawn digits stand in for it, and drawn weights for those of a
/// pretrained network; of a job that needs other files, such as those of data.source hdf5 or a
/// content loss's weights, nothing is known then.
Estimate estimate(const TrainOptions& options, int ranks);

/// Throws DeviceError if `ranks` ranks on a host of which `available` bytes are free need more than
/// these.
void check_fits(const Estimate& estimate, int ranks, std::optional<std::int64_t> available);

}  // namespace gentrain::trainers
