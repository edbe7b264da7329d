// oneDNN's convolutions and matrix products behind a cache of primitives that all threads share.
//
// Everything runs on the calling thread alone: oneDNN's weight gradients change bits with its
// number of threads. Scratch comes from the queue, so that threads may execute one primitive side
// by side.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include <dnnl.hpp>

#include "kernels/conv.h"
#include "kernels/cpu/queue.h"
#include "kernels/cpu/weights_cache.h"

namespace gentrain::cpu {

/// What a primitive computes; the arguments of execute are named after the forward pass.
enum class Operation : std::uint8_t {
  kConvForward,          // x, w, bias -> y
  kConvBackwardData,     // y, w -> x
  kConvBackwardWeights,  // x, y -> w, bias
  kProduct,  // x [n, k], w [k, m] -> y [n, m]; columns of w or rows of x may be far apart
};

/// A primitive with the layouts it wants. `reorder` is empty where the weights need none.
struct Program {
  Operation operation{};
  dnnl::primitive primitive;
  dnnl::primitive reorder;
  dnnl::memory::desc x, y, bias, scratch, reorder_scratch;
  dnnl::memory::desc plain_w, w;  // the tensor's layout and the primitive's
  Layout layout = 0;              // of w
  std::string implementation;
};

/// Addresses of the arguments; null where there is none.
struct Operands {
  const void* x = nullptr;
  const void* w = nullptr;
  const void* bias = nullptr;
  const void* y = nullptr;
  std::uint64_t version = 0;  // of w
};

/// The extents of a product and the order of its factors in memory.
struct ProductGeometry {
  std::int64_t n, k, m;
  bool x_transposed;  // x lies as [k, n]
  bool w_transposed;  // w lies as [m, k]
};

class OneDnn {
 public:
  explicit OneDnn(WeightsCache& weights) : weights_(&weights) {}

  const Program& conv(Operation operation, const ConvGeometry& geometry, bool with_bias);
  const Program& product(const ProductGeometry& geometry);
  /// Runs a program on the calling thread. Throws DeviceError if oneDNN fails.
  void execute(const Program& program, CpuQueue& queue, const Operands& operands);

  /// Operation and implementation of every primitive made so far.
  [[nodiscard]] std::vector<std::string> implementations() const;

 private:
  using Key = std::array<std::int64_t, 18>;
  template <class Make>
  const Program& find(const Key& key, Make make);
  Layout layout_of(const dnnl::memory::desc& w);
  void run_reorder(const Program& program, const void* from, void* to, void* scratch);

  WeightsCache* weights_;
  mutable std::shared_mutex mutex_;
  std::map<Key, std::unique_ptr<const Program>> programs_;
  std::map<Layout, dnnl::memory::desc> layouts_;  // of weights
};

}  // namespace gentrain::cpu
