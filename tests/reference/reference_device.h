// The reference backend: every routine of kernels/*.h as its textbook definition, in f32 and f64.
// It is the truth that the other backends are compared with, so it is written to be read, not to be
// fast.
//
// Every routine loads its arguments as doubles, computes in double, and rounds once when it stores.
#pragma once

#include <memory>

#include "kernels/device.h"

namespace gentrain {

/// A device of kind "reference" on plain host memory. Its fused convolution and max pooling takes
/// every geometry that leaves a window. Every routine throws ShapeError for a view whose shape or
/// type is not the contract's.
std::unique_ptr<Device> make_reference_device();

}  // namespace gentrain
