// Batch normalisations with constant statistics, folded into the convolutions before them: made
// once per version of the parameters and shared by all threads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/tensor.h"

namespace gentrain::graph {

/// A convolution and the batch normalisation behind it.
struct FoldSources {
  Tensor weight;  // [oc, kh, kw, c / groups]
  Tensor bias;    // [oc], or undefined for 0
  Tensor gamma;   // [oc], or undefined for 1
  Tensor beta;    // [oc], or undefined for 0
  Tensor mean;    // [oc]
  Tensor variance;
  double epsilon = 1e-3;
};

/// What a convolution takes instead of both; constants with versions of their own.
struct Folded {
  Tensor weight;  // as the convolution's: weight * gamma / sqrt(variance + epsilon)
  Tensor bias;    // [oc]: (bias - mean) * gamma / sqrt(variance + epsilon) + beta
};

/// f32 or f64, computed in double and rounded once. Throws DeviceError if the memory is not there.
Folded fold(Device& device, Queue& queue, const FoldSources& sources);

/// Folded weights of some convolutions. Thread-safe.
class FoldCache {
 public:
  /// For convolutions 0 to `count` - 1.
  explicit FoldCache(int count);

  /// A convolution, and the node of the batch normalisation behind it.
  struct Pair {
    int convolution = 0;
    int norm = 0;
  };
  /// Those of a convolution, made anew where a source's version or the batch normalisation is
  /// another one than before: nodes that share parameters may differ in epsilon. Threads that ask
  /// for what is being made wait for it. Throws as fold().
  Folded get(Device& device, Queue& queue, Pair pair, const FoldSources& sources);

  /// How many have been made so far.
  [[nodiscard]] std::uint64_t made() const;

 private:
  using Versions = std::array<std::uint64_t, 6>;
  struct Entry {
    mutable std::mutex mutex;
    Versions versions{};  // all 0: nothing was made
    int norm = -1;
    Folded folded;
    std::uint64_t made = 0;
  };
  static Versions versions_of(const FoldSources& sources);

  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace gentrain::graph
