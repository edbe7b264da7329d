// What a node of a graph can be: one plain struct of attributes for each kind. Images are NHWC.
//
// A new kind is a struct here with its place in NodeKind and in name_of (kinds.cpp), a shape rule
// (shape_rules.h), a forward rule (executor_call.h), its attributes (attributes.h) and, where it
// has them, its parameters (node_parameters.cpp). PARAMETERS below is Node::parameters, by default
// the node's name.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "core/ops/maps.h"
#include "core/ops/ops.h"
#include "kernels/activation.h"
#include "kernels/pointwise.h"
#include "kernels/shape.h"

namespace gentrain::graph {

/// How an image is padded before a window slides over it: by `explicit_padding`, or so that the
/// result has ceil(extent / stride) pixels: total max(0, (result - 1) * stride + window - extent),
/// half of it (rounded down) above and left, the rest below and right; of a dilated window, the
/// extent that it covers. Keras's and TensorFlow's "same"; "valid" is no padding.
struct PaddingRule {
  bool same = false;
  ops::Padding explicit_padding;  // 0 with `same`
};

/// What is computed of a sample is given from outside.
struct Input {
  Shape shape;  // of one sample, rank 1 to 4; extents at least 1
};

/// The same values for every sample; they never change.
struct Constant {
  Shape shape;  // rank 0 to 4
  std::shared_ptr<const std::vector<float>> values;
};

/// The parameter PARAMETERS/value [shape], the same for every sample.
struct Variable {
  Shape shape;
};

/// ops::conv2d, [h, w, c] to [oh, ow, out], with parameters PARAMETERS/weight
/// [out, kernel_h, kernel_w, c / groups] and, with bias, PARAMETERS/bias [out].
struct Convolution {
  std::int64_t out = 0;
  std::int64_t kernel_h = 0;
  std::int64_t kernel_w = 0;
  ops::Stride stride;
  PaddingRule padding;
  bool bias = true;
  Activation activation = Activation::kNone;  // behind it, part of the node
  std::int64_t groups = 1;                    // divides c and out; c: depthwise
  ops::Dilation dilation;
};

/// ops::conv2d_transpose, [h, w, c] to [to_h, to_w, out], with parameters PARAMETERS/weight
/// [c, kernel_h, kernel_w, out / groups] and, with bias, PARAMETERS/bias [out]: the map whose
/// matrix is the transpose of that of a convolution of [to_h, to_w, out] with `padding`, stride and
/// dilation, which must give [h, w] pixels.
struct TransposedConvolution {
  std::int64_t out = 0;
  std::int64_t kernel_h = 0;
  std::int64_t kernel_w = 0;
  ops::Stride stride;
  ops::Padding padding;  // of the result; at least 0
  std::int64_t to_h = 0;
  std::int64_t to_w = 0;
  bool bias = true;
  std::int64_t groups = 1;
  ops::Dilation dilation;
};

/// ops::batch_norm over the last axis, with parameters PARAMETERS/gamma (if `gamma`),
/// PARAMETERS/beta (if `beta`), PARAMETERS/running_mean and PARAMETERS/running_var.
struct BatchNormalization {
  double epsilon = 1e-3;
  bool gamma = true;
  double decay = 0.99;  // Keras: momentum
  bool beta = true;
};

/// A pointwise function; kRelu with a slope above 0 is a leaky ReLU.
struct Activate {
  Activation activation = Activation::kRelu;
  double slope = 0;
};

/// ops::pointwise: those that no layer computes along.
struct Pointwise {
  PointwiseRule rule;
};

/// x above 0, alpha x elsewhere, with the parameter PARAMETERS/alpha: its shape has as many axes as
/// a sample's, each of the sample's extent, or 1 where it is shared.
struct Prelu {
  Shape alpha;
};

/// ops::binary of two inputs. Shapes of samples fit as in NumPy: aligned at their last axes, axes
/// of extent 1 and missing ones are repeated.
struct Binary {
  BinaryFunction function = BinaryFunction::kAdd;
};

enum class PoolingKind : std::uint8_t { kMax, kAverage };

/// ops::max_pool2d or ops::average_pool2d; padding is left out of both.
struct Pooling {
  PoolingKind pooling = PoolingKind::kMax;
  ops::Window window;
  ops::Stride stride{2, 2};
  PaddingRule padding;
};

/// Over all pixels: [h, w, c] to [c].
struct GlobalPooling {
  PoolingKind pooling = PoolingKind::kAverage;
};

/// ops::linear, [..., k] to [..., out], with parameters PARAMETERS/weight [out, k] and, with bias,
/// PARAMETERS/bias [out].
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

/// Two or more inputs side by side along an axis, -1: the last one.
struct Concatenation {
  int axis = -1;
};

/// The sum of two or more inputs of one shape.
struct Addition {};

/// The same elements, row-major, under another shape.
struct Reshape {
  Shape shape;  // of a sample
};

/// Axis i of the result is axis axes[i] of the input; without the samples' axis.
struct Permute {
  std::vector<int> axes;
};

/// ops::axis_map: each position of the result along an axis is a weighted sum of positions of the
/// input. Padding, cropping, slices, resizing, and sums and means along an axis (which keep it,
/// with extent 1) are all of this kind.
struct AxisMap {
  int axis = 0;  // of a sample
  std::shared_ptr<const ops::AxisRows> rows;
};

/// The largest value along axes of a sample, which stay with extent 1.
struct LargestAlong {
  std::vector<int> axes;
};

/// ops::softmax, or its logarithm, along an axis of a sample, -1: the last one.
struct Softmax {
  int axis = -1;
  bool log = false;
};

/// The input itself: a name for it.
struct Identity {};

using NodeKind = std::variant<Input, Constant, Variable, Convolution, TransposedConvolution,
                              BatchNormalization, Activate, Pointwise, Prelu, Binary, Pooling,
                              GlobalPooling, Dense, Flatten, Reshape, Permute, AxisMap,
                              LargestAlong, Dropout, Concatenation, Addition, Softmax, Identity>;

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
