// Pointwise routines.
#include "kernels/elementwise.h"

#include "tests/reference/activation.h"
#include "tests/reference/families.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

/// y = function(x), element by element.
template <class Function>
void map(const char* routine, ConstView x, View y, Function function) {
  const Call call(routine, y.dtype);
  Values result = call.load_elements("x", x, y.elements());
  for (std::int64_t i = 0; i < result.elements(); ++i) {
    result[i] = function(result[i]);
  }
  call.store_elements("y", result, y);
}

/// y = function(a, b), element by element.
template <class Function>
void map(const char* routine, ConstView a, ConstView b, View y, Function function) {
  const Call call(routine, y.dtype);
  Values result = call.load_elements("a", a, y.elements());
  const Values second = call.load_elements("b", b, y.elements());
  for (std::int64_t i = 0; i < result.elements(); ++i) {
    result[i] = function(result[i], second[i]);
  }
  call.store_elements("y", result, y);
}

class Elementwise final : public ElementwiseKernels {
 public:
  void activate(Queue& /*queue*/, Activation activation, ConstView x, View y) override {
    map("activate", x, y, [&](double value) { return apply(activation, value); });
  }
  void activate_backward(Queue& /*queue*/, Activation activation, ConstView y, ConstView dy,
                         View dx) override {
    map("activate_backward", y, dy, dx,
        [&](double result, double gradient) { return gradient * derivative(activation, result); });
  }
  void leaky_relu(Queue& /*queue*/, double slope, ConstView x, View y) override {
    map("leaky_relu", x, y, [&](double value) { return value > 0 ? value : slope * value; });
  }
  void leaky_relu_backward(Queue& /*queue*/, double slope, ConstView y, ConstView dy,
                           View dx) override {
    map("leaky_relu_backward", y, dy, dx,
        [&](double result, double gradient) { return result > 0 ? gradient : slope * gradient; });
  }
  void add_activate(Queue& /*queue*/, Activation activation, ConstView a, ConstView b,
                    View y) override {
    map("add_activate", a, b, y,
        [&](double first, double second) { return apply(activation, first + second); });
  }
  void add(Queue& /*queue*/, ConstView a, ConstView b, View y) override {
    map("add", a, b, y, [](double first, double second) { return first + second; });
  }
  void multiply(Queue& /*queue*/, ConstView a, ConstView b, View y) override {
    map("multiply", a, b, y, [](double first, double second) { return first * second; });
  }
  void scale(Queue& /*queue*/, double factor, ConstView x, View y) override {
    map("scale", x, y, [&](double value) { return factor * value; });
  }
  void fill(Queue& /*queue*/, double value, View y) override {
    Call("fill", y.dtype).store("y", Values(y.shape, value), y);
  }
  void cast_u8(Queue& /*queue*/, ConstView x, double factor, double shift, View y) override {
    const Call call("cast_u8", y.dtype);
    Values result = call.load_integers("x", x, y.shape, DType::kU8);
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result[i] = result[i] * factor + shift;
    }
    call.store_elements("y", result, y);
  }
  void cast(Queue& /*queue*/, ConstView x, View y) override {
    const bool narrows = y.dtype == DType::kBf16;
    const Call call("cast", DType::kF32);
    call.cast(x, narrows ? DType::kF32 : DType::kBf16, y, narrows ? DType::kBf16 : DType::kF32);
  }
};

}  // namespace

std::unique_ptr<ElementwiseKernels> make_elementwise() {
  return std::make_unique<Elementwise>();
}

}  // namespace gentrain::reference
