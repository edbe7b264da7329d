// Concatenation along channels: each tensor is a range of the result's.
#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "kernels/pixel.h"

namespace gentrain::ops {

namespace {

/// The result's shape.
Shape concat_shape(std::span<const Tensor> xs) {
  if (xs.empty()) {
    throw ShapeError("concat: there is no tensor, one at least is needed");
  }
  const auto first = xs[0].shape().extents();
  std::vector<std::int64_t> extents(first.begin(), first.end());
  if (extents.empty()) {
    throw ShapeError("concat: a tensor [] has no channels");
  }
  extents.back() = 0;
  for (const Tensor& x : xs) {
    const auto of = x.shape().extents();
    if (of.size() != extents.size() || x.elements() == 0 ||
        !std::equal(of.begin(), of.end() - 1, extents.begin())) {
      throw ShapeError(fmt::format(
          "concat: {} does not fit beside {}: all extents but the last must be equal, none 0",
          x.shape().str(), xs[0].shape().str()));
    }
    if (x.dtype() != xs[0].dtype()) {
      throw ShapeError(fmt::format("concat: a tensor of {} does not fit beside one of {}",
                                   name_of(x.dtype()), name_of(xs[0].dtype())));
    }
    extents.back() += of.back();
  }
  return Shape(extents);
}

}  // namespace

Tensor concat(Context& context, std::span<const Tensor> xs) {
  const Shape shape = concat_shape(xs);
  if (xs.size() == 1) {
    return xs[0];
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, shape, xs[0].dtype());
  std::vector<std::int64_t> firsts;  // channel of the result where each begins
  std::int64_t next = 0;
  for (const Tensor& x : xs) {
    device.pixel().put_channels(queue, next, x.cview(), y.view());
    firsts.push_back(next);
    next += x.shape()[x.shape().rank() - 1];
  }
  if (context.tape != nullptr) {
    context.tape->record(
        "concat", y, xs, [&device, &queue, firsts](const Tensor& dy, GradSink& sink) {
          for (std::size_t i = 0; i < firsts.size(); ++i) {
            const int input = static_cast<int>(i);
            if (sink.wants(input)) {
              const Tensor dx = sink.make(input);
              device.pixel().take_channels(queue, firsts[i], dy.cview(), dx.view());
              sink.put(input, dx);
            }
          }
        });
  }
  return y;
}

}  // namespace gentrain::ops
