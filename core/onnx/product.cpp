// Gemm and MatMul with weights: dense layers along one axis of the file.
#include <algorithm>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

/// x times weights along its axis `axis`, whose place the outputs take.
///
/// arrays weight [out, k] and perhaps bias
Placed dense(Call& call, const Placed& x, int axis, std::vector<LayerArray> arrays) {
  const Placed last = call.build().with_last(x, axis);
  const Shape& shape = call.build().graph().node(last.node).shape;
  const Shape& weights = arrays[0].shape;
  if (shape[shape.rank() - 1] != weights[1]) {
    refuse("its weights {} {} are for {} values but it gets {}", arrays[0].source->name,
           text_of(arrays[0].source->dims), weights[1], shape[shape.rank() - 1]);
  }
  graph::Dense node;
  node.out = weights[0];
  node.bias = arrays.size() > 1;
  Placed result = last;
  result.node = call.build().add_layer(node, last.node, std::move(arrays));
  return result;
}

void need_matrix(const Constant& weights) {
  if (weights.rank() != 2 || weights.size() == 0) {
    refuse("its weights {} {} are no matrix, or empty", weights.name, text_of(weights.dims));
  }
}

std::vector<float> scaled(const std::vector<float>& values, double factor) {
  std::vector<float> result = values;
  if (factor != 1) {
    for (float& value : result) {
      value = static_cast<float>(static_cast<double>(value) * factor);
    }
  }
  return result;
}

/// Weights as [out, k], of a matrix [out, k] or, `turned`, [k, out].
LayerArray weight_array(const ConstantPointer& weights, bool turned, double factor) {
  const auto& dims = weights->dims;
  const std::vector<int> axes = turned ? std::vector{1, 0} : std::vector{0, 1};
  return {"weight", turned ? Shape{dims[1], dims[0]} : Shape{dims[0], dims[1]},
          scaled(transposed(weights->reals, dims, axes), factor), weights,
          fmt::format("{} {}", turned, factor)};
}

/// Input 2 of a Gemm as a row of `out` values.
LayerArray row_array(const ConstantPointer& row, std::int64_t out, double factor) {
  const bool fits = row->rank() <= 2 && (row->rank() < 2 || row->dims[0] == 1) &&
                    (row->size() == out || row->size() == 1);
  if (!fits) {
    refuse("its input C ({}) {} must be a row of {} values", row->name, text_of(row->dims), out);
  }
  std::vector<float> values = scaled(row->reals, factor);
  values.resize(static_cast<std::size_t>(out), values[0]);
  return {"bias", Shape{out}, std::move(values), row, fmt::to_string(factor)};
}

/// A value behind a Transpose of rows [n, k]: as it was before.
Placed upright(const Placed& x, bool turned) {
  Placed result = x;
  if (x.axes.size() != 1 + (x.merged() ? 1U : 0U)) {
    refuse("it gets samples of {} axes, rows are needed", x.axes.size());
  }
  if (turned != (x.samples == 1)) {
    refuse(
        "its input A has the samples along axis {} and transA is {}: what mixes samples is not "
        "supported",
        x.samples, static_cast<int>(turned));
  }
  result.samples = 0;
  return result;
}

void gemm(Call& call) {
  Attributes& attributes = call.attributes();
  const double alpha = attributes.real("alpha", 1);
  const double beta = attributes.real("beta", 1);
  const bool turned = attributes.flag("transA", false);
  const Placed x = upright(call.anywhere(0), turned);
  const ConstantPointer& weights = call.reals(1);
  need_matrix(*weights);
  std::vector<LayerArray> arrays;
  arrays.push_back(weight_array(weights, !attributes.flag("transB", false), alpha));
  if (!call.has(2)) {
    return call.give(dense(call, x, 0, std::move(arrays)));
  }
  if (call.is_constant(2)) {
    arrays.push_back(row_array(call.reals(2), arrays[0].shape[0], beta));
    return call.give(dense(call, x, 0, std::move(arrays)));
  }
  const Placed product = dense(call, x, 0, std::move(arrays));
  Placed added = call.placed(2);
  if (beta != 1) {
    added = call.build().pointwise(added, {PointwiseFunction::kAffine, beta, 0}, "scaled");
  }
  call.give(call.build().binary(BinaryFunction::kAdd, product, added, "sum"));
}

/// Whether a constant that is added to a product along its last axis is a row of it.
bool is_row(const Constant& constant, std::int64_t out, std::size_t rank) {
  return constant.real && constant.rank() >= 1 && constant.dims.size() <= rank &&
         constant.size() == out && constant.dims.back() == out;
}

/// The last axis of a file, which is not the samples'.
int last_axis(const Placed& x) {
  const std::size_t axes = x.axes.size() - (x.merged() ? 1 : 0);
  if (axes == 0 || x.samples != 0) {
    refuse("it multiplies along the samples' axis: what mixes samples is not supported");
  }
  return static_cast<int>(axes) - 1;
}

void from_the_right(Call& call) {
  const Placed& x = call.anywhere(0);
  const ConstantPointer& weights = call.reals(1);
  const int axis = last_axis(x);
  std::vector<LayerArray> arrays;
  if (weights->rank() == 1) {
    arrays.push_back({"weight", Shape{1, weights->dims[0]}, weights->reals, weights});
    Placed product = dense(call, x, axis, std::move(arrays));
    std::vector<std::int64_t> extents;
    const Shape shape = call.build().graph().node(product.node).shape;
    extents.assign(shape.extents().begin(), shape.extents().end() - 1);
    product.axes.pop_back();
    product.node = call.build().reshaped(product.node, Shape(extents));
    return call.give(product);
  }
  need_matrix(*weights);
  arrays.push_back(weight_array(weights, true, 1));
  const std::int64_t out = weights->dims[1];
  if (call.bias_behind && is_row(*call.bias_behind, out, static_cast<std::size_t>(axis) + 2)) {
    arrays.push_back({"bias", Shape{out}, call.bias_behind->reals, call.bias_behind});
    call.bias_taken = true;
  }
  call.give(dense(call, x, axis, std::move(arrays)));
}

void from_the_left(Call& call) {
  const Placed& x = call.placed(1);
  const ConstantPointer& weights = call.reals(0);
  need_matrix(*weights);
  if (x.axes.size() < 2) {
    refuse("it multiplies along the samples' axis: what mixes samples is not supported");
  }
  std::vector<LayerArray> arrays;
  arrays.push_back(weight_array(weights, false, 1));
  call.give(dense(call, x, static_cast<int>(x.axes.size()) - 2, std::move(arrays)));
}

void matmul(Call& call) {
  if (!call.is_constant(0) && !call.is_constant(1)) {
    refuse(
        "none of its inputs is a constant: a product of two values that depend on the samples "
        "is not supported");
  }
  return call.is_constant(1) ? from_the_right(call) : from_the_left(call);
}

constexpr OperatorEntry kProductEntries[] = {{"Gemm", gemm}, {"MatMul", matmul}};

}  // namespace

std::span<const OperatorEntry> product_operators() {
  return kProductEntries;
}

}  // namespace gentrain::onnx
