// The families that work element by element, around those for f32: pointwise functions piece by
// piece, so that the floats between stay in the first cache.
#include <algorithm>
#include <array>

#include "kernels/cpu/bf16.h"
#include "kernels/cpu/bf16_views.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/queue.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

constexpr std::int64_t kPiece = 2048;  // elements

class Bf16Elementwise final : public AroundF32<ElementwiseKernels> {
 public:
  using AroundF32::AroundF32;

  void activate(Queue& queue, Activation activation, ConstView x, View y) override {
    if (!is_bf16(y)) {
      f32_->activate(queue, activation, x, y);
      return;
    }
    in_pieces<1>("activate", queue, {{{"x", x}}}, y, [&](const auto& from, View to) {
      f32_->activate(queue, activation, from[0], to);
    });
  }

  void activate_backward(Queue& queue, Activation activation, ConstView y, ConstView dy,
                         View dx) override {
    if (!is_bf16(dx)) {
      f32_->activate_backward(queue, activation, y, dy, dx);
      return;
    }
    in_pieces<2>("activate backward", queue, {{{"y", y}, {"dy", dy}}}, dx,
                 [&](const auto& from, View to) {
                   f32_->activate_backward(queue, activation, from[0], from[1], to);
                 });
  }

  void leaky_relu(Queue& queue, double slope, ConstView x, View y) override {
    if (!is_bf16(y)) {
      f32_->leaky_relu(queue, slope, x, y);
      return;
    }
    in_pieces<1>("leaky relu", queue, {{{"x", x}}}, y,
                 [&](const auto& from, View to) { f32_->leaky_relu(queue, slope, from[0], to); });
  }

  void leaky_relu_backward(Queue& queue, double slope, ConstView y, ConstView dy,
                           View dx) override {
    if (!is_bf16(dx)) {
      f32_->leaky_relu_backward(queue, slope, y, dy, dx);
      return;
    }
    in_pieces<2>("leaky relu backward", queue, {{{"y", y}, {"dy", dy}}}, dx,
                 [&](const auto& from, View to) {
                   f32_->leaky_relu_backward(queue, slope, from[0], from[1], to);
                 });
  }

  void add_activate(Queue& queue, Activation activation, ConstView a, ConstView b,
                    View y) override {
    if (!is_bf16(y)) {
      f32_->add_activate(queue, activation, a, b, y);
      return;
    }
    in_pieces<2>("add and activate", queue, {{{"a", a}, {"b", b}}}, y,
                 [&](const auto& from, View to) {
                   f32_->add_activate(queue, activation, from[0], from[1], to);
                 });
  }

  void add(Queue& queue, ConstView a, ConstView b, View y) override {
    if (!is_bf16(y)) {
      f32_->add(queue, a, b, y);
      return;
    }
    in_pieces<2>("add", queue, {{{"a", a}, {"b", b}}}, y,
                 [&](const auto& from, View to) { f32_->add(queue, from[0], from[1], to); });
  }

  void multiply(Queue& queue, ConstView a, ConstView b, View y) override {
    if (!is_bf16(y)) {
      f32_->multiply(queue, a, b, y);
      return;
    }
    in_pieces<2>("multiply", queue, {{{"a", a}, {"b", b}}}, y,
                 [&](const auto& from, View to) { f32_->multiply(queue, from[0], from[1], to); });
  }

  void scale(Queue& queue, double factor, ConstView x, View y) override {
    if (!is_bf16(y)) {
      f32_->scale(queue, factor, x, y);
      return;
    }
    in_pieces<1>("scale", queue, {{{"x", x}}}, y,
                 [&](const auto& from, View to) { f32_->scale(queue, factor, from[0], to); });
  }

  void fill(Queue& queue, double value, View y) override {
    if (!is_bf16(y)) {
      f32_->fill(queue, value, y);
      return;
    }
    in_pieces<0>("fill", queue, {}, y,
                 [&](const auto& /*from*/, View to) { f32_->fill(queue, value, to); });
  }

  void cast_u8(Queue& queue, ConstView x, double factor, double shift, View y) override {
    f32_->cast_u8(queue, x, factor, shift, y);
  }

  void cast(Queue& queue, ConstView x, View y) override { f32_->cast(queue, x, y); }

 private:
  struct Named {
    std::string_view name;
    ConstView view;
  };

  /// to = function(from), element by element, over all of `y`.
  template <std::size_t kSources, class Function>
  void in_pieces(std::string_view routine, Queue& queue, const std::array<Named, kSources>& sources,
                 View y, Function function) const {
    const std::int64_t elements = y.elements();
    for (const Named& source : sources) {
      Arguments(routine).require_elements(source.name, source.view, elements, DType::kBf16);
    }
    const Buffer floats(cpu_queue(queue).memory(),
                        (kSources + 1) * static_cast<std::size_t>(kPiece) * sizeof(float));
    auto* const memory = static_cast<float*>(floats.data());
    const simd::Bf16Table& table = backend_.simd->bf16;
    for (std::int64_t first = 0; first < elements; first += kPiece) {
      const std::int64_t count = std::min(kPiece, elements - first);
      std::array<ConstView, kSources> from{};
      for (std::size_t s = 0; s < kSources; ++s) {
        float* const piece = memory + static_cast<std::int64_t>(s + 1) * kPiece;
        table.widen(sources[s].view.template as<std::uint16_t>() + first, piece, count);
        from[s] = {piece, DType::kF32, {count}};
      }
      function(from, View{memory, DType::kF32, {count}});
      table.narrow(memory, y.as<std::uint16_t>() + first, count);
    }
  }
};

class Bf16Reduce final : public AroundF32<ReduceKernels> {
 public:
  using AroundF32::AroundF32;

  void sum(Queue& queue, ConstView x, View y) override { f32_->sum(queue, x, y); }

  void square_sums(Queue& queue, ConstView x, View blocks) override {
    if (!is_bf16(x)) {
      f32_->square_sums(queue, x, blocks);
      return;
    }
    Bf16Call call("square sums", queue, backend_);
    f32_->square_sums(queue, call.read("x", x), blocks);
  }

  bool all_finite(Queue& queue, ConstView x) override {
    if (!is_bf16(x)) {
      return f32_->all_finite(queue, x);
    }
    Bf16Call call("all finite", queue, backend_);
    return f32_->all_finite(queue, call.read("x", x));
  }
};

class Bf16Random final : public AroundF32<RandomKernels> {
 public:
  using AroundF32::AroundF32;

  void uniform(Queue& queue, RngKey key, double low, double high, View y) override {
    f32_->uniform(queue, key, low, high, y);
  }

  void normal(Queue& queue, RngKey key, double mean, double stddev, View y) override {
    f32_->normal(queue, key, mean, stddev, y);
  }

  void dropout(Queue& queue, RngKey key, double keep, ConstView x, View y) override {
    if (!is_bf16(x)) {
      f32_->dropout(queue, key, keep, x, y);
      return;
    }
    Bf16Call call("dropout", queue, backend_);
    f32_->dropout(queue, key, keep, call.read("x", x), call.write("y", y));
    call.finish();
  }
};

}  // namespace

std::unique_ptr<ElementwiseKernels> with_bf16(std::unique_ptr<ElementwiseKernels> f32,
                                              const Backend& backend) {
  return std::make_unique<Bf16Elementwise>(std::move(f32), backend);
}

std::unique_ptr<ReduceKernels> with_bf16(std::unique_ptr<ReduceKernels> f32,
                                         const Backend& backend) {
  return std::make_unique<Bf16Reduce>(std::move(f32), backend);
}

std::unique_ptr<RandomKernels> with_bf16(std::unique_ptr<RandomKernels> f32,
                                         const Backend& backend) {
  return std::make_unique<Bf16Random>(std::move(f32), backend);
}

}  // namespace gentrain::cpu
