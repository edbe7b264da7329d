// What the backward passes of ops with weights have in common.
#pragma once

#include "core/autograd.h"
#include "core/context.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"

namespace gentrain::ops {

/// The view of a tensor that may be absent.
inline ConstView optional(const Tensor& tensor) {
  return tensor.defined() ? tensor.cview() : ConstView{};
}

/// What options and weights [oc, kh, kw, c / groups] say of a convolution; its images are for the
/// caller to add.
template <class Options>
ConvGeometry geometry_of_kernel(const Shape& weights, const Options& options) {
  return {.oc = weights[0],
          .kh = weights[1],
          .kw = weights[2],
          .stride_h = options.stride.h,
          .stride_w = options.stride.w,
          .top = options.padding.top,
          .bottom = options.padding.bottom,
          .left = options.padding.left,
          .right = options.padding.right,
          .groups = options.groups,
          .dilation_h = options.dilation.h,
          .dilation_w = options.dilation.w};
}

/// Where the gradient that is made of dy, element by element, is to stand: in its place if nobody
/// else reads it.
inline Tensor in_place_of(Device& device, const Tensor& dy) {
  return dy.is_alone() ? dy : Tensor::empty(device, dy.shape(), dy.dtype());
}

/// dy times the activation's derivative at y, in place of dy where that is possible; dy itself
/// without an activation.
inline Tensor before_activation(Device& device, Queue& queue, Activation activation,
                                const Tensor& y, const Tensor& dy) {
  if (activation == Activation::kNone) {
    return dy;
  }
  Tensor dz = in_place_of(device, dy);
  device.elementwise().activate_backward(queue, activation, y.cview(), dy.cview(), dz.view());
  return dz;
}

/// Delivers the gradients of the inputs 1 (weights) and 2 (bias) that are wanted, which
/// `kernel(View dw, View db)` computes together; db is absent where nobody wants it.
template <class Kernel>
void put_weight_gradients(GradSink& sink, const Kernel& kernel) {
  if (!sink.wants(1) && !sink.wants(2)) {
    return;
  }
  const Tensor dw = sink.make(1);
  const Tensor db = sink.wants(2) ? sink.make(2) : Tensor{};
  kernel(dw.view(), db.defined() ? db.view() : View{});
  sink.put(1, dw);
  if (db.defined()) {
    sink.put(2, db);
  }
}

}  // namespace gentrain::ops
