// Weights in a layout for the length of one call, with room for the call's own work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/queue.h"
#include "kernels/cpu/weights_cache.h"

namespace gentrain::cpu {

/// Weights, and how they are written in a layout of so many floats. `fill` is best a std::ref of a
/// function: it asks for no memory where the weights are kept already.
struct Packing {
  const Weights& weights;
  Layout layout;
  std::int64_t floats;
  std::function<void(float*)> fill;
};

/// Kept by the cache, once per version; those that have none are written anew, to the queue's
/// scratch.
class PackedWeights {
 public:
  /// work  bytes of the queue's scratch for the call
  PackedWeights(CpuQueue& queue, WeightsCache& cache, const Packing& packing, std::size_t work) {
    const std::size_t bytes = static_cast<std::size_t>(packing.floats) * sizeof(float);
    const bool kept = packing.weights.version != 0;
    ScratchPlan plan;
    const std::size_t work_at = plan.add(work);
    const std::size_t packed_at = plan.add(kept ? 0 : bytes);
    auto* scratch = static_cast<std::byte*>(queue.scratch(plan.bytes()));
    work_ = scratch + work_at;
    if (kept) {
      shared_ = cache.get(packing.weights, packing.layout, bytes,
                          [&](void* to) { packing.fill(static_cast<float*>(to)); });
      weights_ = static_cast<const float*>(shared_->data());
    } else {
      auto* own = reinterpret_cast<float*>(scratch + packed_at);
      packing.fill(own);
      weights_ = own;
    }
  }

  [[nodiscard]] const float* weights() const { return weights_; }
  [[nodiscard]] void* work() const { return work_; }

 private:
  std::shared_ptr<const Buffer> shared_;
  const float* weights_ = nullptr;
  void* work_ = nullptr;
};

}  // namespace gentrain::cpu
