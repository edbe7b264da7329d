// The contract for pointwise routines. All views of a call have the same number of elements; a
// destination may be one of the sources. Determinism: as in conv.h; each element depends on its own
// index only.
#pragma once

#include "kernels/activation.h"
#include "kernels/view.h"

namespace gentrain {

class Queue;

/// f32 on every backend, f64 on the reference backend, bf16 on the CPU as struct Bf16 says. Every
/// routine throws ShapeError if a view is missing, or has another type than is stated here or
/// another number of elements than the destination.
class ElementwiseKernels {
 public:
  virtual ~ElementwiseKernels() = default;

  /// y = activation(x). tanh and sigmoid: relative error below 4e-7, sigmoid's where the result is
  /// a normal number.
  virtual void activate(Queue& queue, Activation activation, ConstView x, View y) = 0;
  /// dx = dy * activation'(x), from the result y: tanh 1 - y^2, relu y > 0, sigmoid y (1 - y).
  virtual void activate_backward(Queue& queue, Activation activation, ConstView y, ConstView dy,
                                 View dx) = 0;
  /// y = x > 0 ? x : slope * x
  virtual void leaky_relu(Queue& queue, double slope, ConstView x, View y) = 0;
  /// dx = dy * (y > 0 ? 1 : slope), slope > 0.
  virtual void leaky_relu_backward(Queue& queue, double slope, ConstView y, ConstView dy,
                                   View dx) = 0;
  /// y = activation(a + b), the activation as above.
  virtual void add_activate(Queue& queue, Activation activation, ConstView a, ConstView b,
                            View y) = 0;
  /// y = a + b
  virtual void add(Queue& queue, ConstView a, ConstView b, View y) = 0;
  /// y = a * b
  virtual void multiply(Queue& queue, ConstView a, ConstView b, View y) = 0;
  /// y = factor * x
  virtual void scale(Queue& queue, double factor, ConstView x, View y) = 0;
  /// y = value
  virtual void fill(Queue& queue, double value, View y) = 0;
  /// y (floating point) = x (u8) * factor + shift, one rounding (a fused multiply-add).
  virtual void cast_u8(Queue& queue, ConstView x, double factor, double shift, View y) = 0;
  /// y = x: f32 to bf16, rounded to the nearest, ties to the even one; or bf16 to f32.
  virtual void cast(Queue& queue, ConstView x, View y) = 0;
};

}  // namespace gentrain
