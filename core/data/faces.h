// The built-in faces: 96x96 colour images drawn from (seed, index), for super-resolution without
// photographs.
#pragma once

#include <cstdint>

#include "core/data/dataset.h"

namespace gentrain::data {

/// Side of a drawn face, pixels.
inline constexpr std::int64_t kFaceSide = 96;

/// Drawn faces: head, hair in strands, eyes, brows, nose, mouth with teeth, background. All labels
/// are 0, of one class; values become -1..1. Sample i of the training set has nothing to do with
/// sample i of the test set. Drawn by up to `threads` threads, the same bytes for any number.
/// Throws ShapeError if a count or `threads` is below 1.
DataPair make_faces(std::uint64_t seed, std::int64_t train_count, std::int64_t test_count,
                    int threads = 1);

}  // namespace gentrain::data
