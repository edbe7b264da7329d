// Pointwise routines: checks, then the vector kernels.
#include "kernels/elementwise.h"

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

class Elementwise final : public ElementwiseKernels {
 public:
  explicit Elementwise(const Backend& backend)
      : table_(backend.simd->elementwise), bf16_(backend.simd->bf16) {}

  void activate(Queue& /*queue*/, Activation activation, ConstView x, View y) override {
    require("activate", {{"x", x}, {"y", y}});
    table_.activate(static_cast<int>(activation), x.as<float>(), y.as<float>(), y.elements());
  }

  void activate_backward(Queue& /*queue*/, Activation activation, ConstView y, ConstView dy,
                         View dx) override {
    require("activate backward", {{"y", y}, {"dy", dy}, {"dx", dx}});
    table_.activate_backward(static_cast<int>(activation), y.as<float>(), dy.as<float>(),
                             dx.as<float>(), dx.elements());
  }

  void leaky_relu(Queue& /*queue*/, double slope, ConstView x, View y) override {
    require("leaky relu", {{"x", x}, {"y", y}});
    table_.leaky_relu(static_cast<float>(slope), x.as<float>(), y.as<float>(), y.elements());
  }

  void leaky_relu_backward(Queue& /*queue*/, double slope, ConstView y, ConstView dy,
                           View dx) override {
    require("leaky relu backward", {{"y", y}, {"dy", dy}, {"dx", dx}});
    table_.leaky_relu_backward(static_cast<float>(slope), y.as<float>(), dy.as<float>(),
                               dx.as<float>(), dx.elements());
  }

  void add_activate(Queue& /*queue*/, Activation activation, ConstView a, ConstView b,
                    View y) override {
    require("add and activate", {{"a", a}, {"b", b}, {"y", y}});
    table_.add_activate(static_cast<int>(activation), a.as<float>(), b.as<float>(), y.as<float>(),
                        y.elements());
  }

  void add(Queue& /*queue*/, ConstView a, ConstView b, View y) override {
    require("add", {{"a", a}, {"b", b}, {"y", y}});
    table_.add(a.as<float>(), b.as<float>(), y.as<float>(), y.elements());
  }

  void multiply(Queue& /*queue*/, ConstView a, ConstView b, View y) override {
    require("multiply", {{"a", a}, {"b", b}, {"y", y}});
    table_.multiply(a.as<float>(), b.as<float>(), y.as<float>(), y.elements());
  }

  void scale(Queue& /*queue*/, double factor, ConstView x, View y) override {
    require("scale", {{"x", x}, {"y", y}});
    table_.scale(static_cast<float>(factor), x.as<float>(), y.as<float>(), y.elements());
  }

  void fill(Queue& /*queue*/, double value, View y) override {
    require("fill", {{"y", y}});
    table_.fill(static_cast<float>(value), y.as<float>(), y.elements());
  }

  void cast_u8(Queue& /*queue*/, ConstView x, double factor, double shift, View y) override {
    require("cast_u8", {{"y", y}});
    Arguments("cast_u8").require_elements("x", x, y.elements(), DType::kU8);
    table_.cast_u8(x.as<std::uint8_t>(), static_cast<float>(factor), static_cast<float>(shift),
                   y.as<float>(), y.elements());
  }

  void cast(Queue& /*queue*/, ConstView x, View y) override {
    const Arguments arguments("cast");
    const bool narrows = y.dtype == DType::kBf16;
    arguments.require_elements("x", x, y.elements(), narrows ? DType::kF32 : DType::kBf16);
    arguments.require_elements("y", y, y.elements(), narrows ? DType::kBf16 : DType::kF32);
    if (narrows) {
      bf16_.narrow(x.as<float>(), y.as<std::uint16_t>(), y.elements());
    } else {
      bf16_.widen(x.as<std::uint16_t>(), y.as<float>(), y.elements());
    }
  }

 private:
  struct Named {
    std::string_view name;
    ConstView view;
  };
  /// All f32, with as many elements as the last one, the destination.
  static void require(std::string_view routine, std::initializer_list<Named> views) {
    const std::int64_t elements = (views.end() - 1)->view.elements();
    for (const Named& named : views) {
      Arguments(routine).require_elements(named.name, named.view, elements);
    }
  }

  const simd::ElementwiseTable& table_;
  const simd::Bf16Table& bf16_;
};

}  // namespace

std::unique_ptr<ElementwiseKernels> make_elementwise(const Backend& backend) {
  return std::make_unique<Elementwise>(backend);
}

}  // namespace gentrain::cpu
