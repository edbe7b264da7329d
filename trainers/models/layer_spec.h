// One layer of a sequential network as the job wrote it: plain values whose shapes are checked when
// the model is built. `where` lets those errors name the place in the file.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>

namespace gentrain::trainers {

enum class LayerKind : std::uint8_t {
  kConv,
  kMaxPool,
  kAveragePool,
  kLinear,
  kFlatten,
  kDropout,
  kTanh,
  kRelu,
  kSigmoid,
};

/// Extents are in pixels. Fields that a kind does not use keep their initial values.
struct LayerSpec {
  LayerKind kind = LayerKind::kConv;
  std::int64_t out = 0;       // conv: output channels; linear: outputs
  std::int64_t kernel_h = 0;  // conv, pools: the window
  std::int64_t kernel_w = 0;
  std::int64_t stride_h = 1;  // conv, pools (where it is the window's size unless given)
  std::int64_t stride_w = 1;
  std::int64_t pad_h = 0;  // conv, pools: zeros (pools: nothing) above and below, if not `same`
  std::int64_t pad_w = 0;  // left and right
  /// Padding such that oh = ceil(h / stride_h), ow likewise: total max(0, (oh - 1) * stride_h +
  /// kernel_h - h), half of it (rounded down) above, the rest below; pad_h and pad_w are 0.
  bool same = false;
  bool bias = true;   // conv, linear
  double rate = 0;    // dropout: 0 <= rate < 1
  std::string where;  // "jobs/x.yaml:12:5"; not part of what the layer is
};

/// Equal layers, wherever they were written.
inline bool operator==(const LayerSpec& a, const LayerSpec& b) {
  const auto key = [](const LayerSpec& x) {
    return std::tie(x.kind, x.out, x.kernel_h, x.kernel_w, x.stride_h, x.stride_w, x.pad_h, x.pad_w,
                    x.same, x.bias, x.rate);
  };
  return key(a) == key(b);
}

}  // namespace gentrain::trainers
