// The contract for random tensors. Element i depends on (key, i) only: word i % 4 of block i / 4 of
// the key.
#pragma once

#include "kernels/philox.h"
#include "kernels/view.h"

namespace gentrain {

class Queue;

/// f32 on every backend, f64 on the reference backend (the f32 value, widened); dropout also bf16
/// on the CPU, as struct Bf16 says. Every routine throws ShapeError if a view is missing or has
/// another type, or x and y differ in their numbers of elements; dropout also if keep is out of
/// range.
class RandomKernels {
 public:
  virtual ~RandomKernels() = default;

  /// y = low + (high - low) * u, u uniform in [0, 1), computed in f32.
  virtual void uniform(Queue& queue, RngKey key, double low, double high, View y) = 0;
  /// y = mean + stddev * g, g standard normal by Box and Muller from the two words of a pair
  /// (elements 2j and 2j + 1 take the cosine and the sine of one pair), computed in f32.
  virtual void normal(Queue& queue, RngKey key, double mean, double stddev, View y) = 0;
  /// y = x / keep where u < keep, else 0: dropout that keeps the expectation; 0 < keep <= 1. The
  /// same call with dy for x is its gradient.
  virtual void dropout(Queue& queue, RngKey key, double keep, ConstView x, View y) = 0;
};

}  // namespace gentrain
