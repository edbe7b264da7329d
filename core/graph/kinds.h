// What a node of a graph can be: one plain struct of attributes for each kind. Images are NHWC.
//
// A new kind is a struct here with its place in NodeKind and in name_of (kinds.cpp), a shape rule
// in shapes.cpp, a forward rule in executor.cpp, and, where it has parameters, a layer made there.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "core/ops/ops.h"
#include "kernels/activation.h"
#include "kernels/shape.h"

namespace gentrain::graph {

/// How an image is padded before a window slides over it: by `explicit_padding`, or so that the
/// result has ceil(extent / stride) pixels: total max(0, (result - 1) * stride + window - extent),
/// half of it (rounded down) above and left, the rest below and right. Keras's and TensorFlow's
/// "same"; "valid" is no padding.
struct PaddingRule {
  bool same = false;
  ops::Padding explicit_padding;  // 0 with `same`
};

/// What is computed of an image is given from outside.
struct Input {
  Shape shape;  // of one sample, [h, w, c] or [k]; extents at least 1
};

/// ops::conv2d, [h, w, c] to [oh, ow, out], with parameters NAME/weight and, with bias, NAME/bias.
struct Convolution {
  std::int64_t out = 0;
  std::int64_t kernel_h = 0;
  std::int64_t kernel_w = 0;
  ops::Stride stride;
  PaddingRule padding;
  bool bias = true;
  Activation activation = Activation::kNone;  // behind it, part of the node
};

/// ops::batch_norm over the last axis, with parameters NAME/gamma (if `gamma`), NAME/beta,
/// NAME/running_mean and NAME/running_var.
struct BatchNormalization {
  double epsilon = 1e-3;
  bool gamma = true;
  double decay = 0.99;  // Keras: momentum
};

/// A pointwise function; kRelu with a slope above 0 is a leaky ReLU.
struct Activate {
  Activation activation = Activation::kRelu;
  double slope = 0;
};

enum class PoolingKind : std::uint8_t { kMax, kAverage };

/// ops::max_pool2d or ops::average_pool2d; padding is left out of both.
struct Pooling {
  PoolingKind pooling = PoolingKind::kMax;
  ops::Window window;
  ops::Stride stride{2, 2};
  PaddingRule padding;
};

/// Over all pixels: [h, w, c] to [c]. h and w are at most 255.
struct GlobalPooling {
  PoolingKind pooling = PoolingKind::kAverage;
};

/// ops::linear, [k] to [out], with parameters NAME/weight and, with bias, NAME/bias.
struct Dense {
  std::int64_t out = 0;
  bool bias = true;
  Activation activation = Activation::kNone;  // behind it, part of the node
};

/// All values of a sample in one row, channels fastest.
struct Flatten {};

/// ops::dropout with the node's index as its number.
struct Dropout {
  double rate = 0.5;
};

/// Two or more inputs side by side along the last axis.
struct Concatenation {};

/// The sum of two or more inputs of one shape.
struct Addition {};

/// ops::softmax of [k]; has no gradient.
struct Softmax {};

using NodeKind =
    std::variant<Input, Convolution, BatchNormalization, Activate, Pooling, GlobalPooling, Dense,
                 Flatten, Dropout, Concatenation, Addition, Softmax>;

/// "convolution", "batch normalization", "relu", "max pooling"
std::string_view name_of(const NodeKind& kind);

/// Calls the one function that takes the kind.
template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

}  // namespace gentrain::graph
