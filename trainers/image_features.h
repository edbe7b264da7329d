// What a network makes of the images of a data set, a row of numbers for each: computed by all
// ranks together, kept in the data cache, and once in the memory of a host.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/data/dataset.h"
#include "trainers/models/graph_network.h"
#include "trainers/step.h"

namespace gentrain::trainers {

/// Images that a worker computes at a time, by index, unless FeatureSource says otherwise: kernels
/// choose their algorithms by shape, so that this is part of what the bits depend on. Where there
/// are fewer, the last one is repeated.
inline constexpr std::int64_t kFeatureChunk = 4;
/// Images whose features are one file of the cache: what a killed run need not compute again.
inline constexpr std::int64_t kFeatureBlock = 256;

/// What a rank holds beside the features while they are loaded, at most, bytes: a block, twice
/// where it comes out of a file.
constexpr std::int64_t feature_loader_bytes(std::int64_t samples, std::int64_t width) {
  return 2 * static_cast<std::int64_t>(sizeof(float)) * std::min(samples, kFeatureBlock) * width;
}

/// Rows [samples, width] of f32, the same on all ranks.
struct ImageFeatures {
  std::int64_t samples = 0;
  std::int64_t width = 0;
  comm::HostMemory memory;
  std::int64_t computed = 0;  // rows that no file of the cache had

  [[nodiscard]] const float* row(std::int64_t sample) const {
    return static_cast<const float*>(memory.data.get()) + sample * width;
  }
  /// Bytes of all rows, which the ranks of a host have once where it has room for shared memory.
  [[nodiscard]] std::int64_t bytes() const {
    return static_cast<std::int64_t>(sizeof(float)) * samples * width;
  }
};

/// What the rows are made of.
struct FeatureSource {
  const data::Dataset& images;
  data::Normalization normalization;
  const GraphNetwork& network;
  int node = -1;                       // whose output, all of it, is an image's row
  std::string identity;                // all that they depend on beside the images
  bool bf16 = false;                   // whether the network computes on tensors of bf16
  std::int64_t chunk = kFeatureChunk;  // images at a time
};

/// SHA-256 of each image's pixels as the network gets them, 64 digits of hex each, one behind the
/// other. Decodes all images, each rank its part. Collective. Throws as Dataset::read().
std::string image_hashes(const data::Dataset& images, int threads,
                         comm::Communicator& communicator);

/// The rows of all images, in their order; the same bytes for any number of ranks and workers. Rank
/// 0 alone reads and writes the cache, and of all runs that share it one makes a file while the
/// others wait. A file that is damaged is made anew, with a warning; where none can be kept a
/// warning says so.
///
/// hashes  as image_hashes() gives them; may be empty where none are kept
/// cache   its folder; of account to rank 0 alone. Empty: all rows are computed, and none kept
///
/// Collective. Throws ShapeError for hashes of other images; as Dataset::read() and
/// GraphNetwork::compute(); CommError if there is no memory for the rows.
ImageFeatures load_features(comm::Communicator& communicator, StepRunner& runner,
                            const FeatureSource& source, const std::string& hashes,
                            const std::filesystem::path& cache);

}  // namespace gentrain::trainers
