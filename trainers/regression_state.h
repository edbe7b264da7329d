// The state of a logistic regression's fit as an array of a checkpoint, and how large fits are.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/io/array_file.h"
#include "core/optim/owlqn.h"

namespace gentrain::trainers {

/// An array "regression/state": the bytes of optim::to_bytes(), two to an element, the first one
/// the low one: whole numbers below 65,536, which f32 holds exactly; padded with a byte 0, whose
/// presence is the first element.
io::NamedArray to_array(const optim::OwlqnState& state);
/// Of such an array among others. Throws IoError naming `source` if it is missing, its elements are
/// no such numbers, or they are no state.
optim::OwlqnState regression_state_from(std::span<const io::NamedArray> arrays,
                                        const std::string& source);

/// Upper bounds, bytes: of the array, and of what a rank holds during a fit beside the features.
///
/// features, classes, shards, workers  at least 1
std::int64_t regression_state_bytes(std::int64_t features, int classes);
std::int64_t regression_bytes(std::int64_t features, int classes, std::int64_t shards, int workers);

}  // namespace gentrain::trainers
