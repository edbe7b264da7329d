// Buckets: the arena cut into ranges that are exchanged together, and their segments, one per rank.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/shards.h"
#include "core/parameters.h"
#include "core/tensor.h"

namespace gentrain::comm {

/// A range of the gradient tensor and what of it each rank sums.
struct Bucket {
  Range elements;
  std::vector<Range> segments;  // by rank
};

/// Cuts [0, arena_elements) into buckets of `bucket_elements` (a multiple of kReduceBlock), bucket
/// 0 being the end of the arena. Ranges begin on multiples of kReduceBlock; a bucket of n blocks
/// gives rank r the blocks part_of(n, ranks, r). The last one is the tail: the statistics behind
/// the arena, which every rank sums for itself. Throws ShapeError if bucket_elements is no positive
/// multiple of kReduceBlock.
std::vector<Bucket> make_buckets(std::int64_t arena_elements, std::int64_t bucket_elements,
                                 std::int64_t statistics, int ranks);

/// The summed gradient of the arena's elements `segment`, with zeros where statistics stand: the
/// sum itself if there are none.
Tensor without_statistics(Device& device, Queue& queue, const ParameterSet& parameters,
                          const Tensor& sum, const Range& segment);

}  // namespace gentrain::comm
