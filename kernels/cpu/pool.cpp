// Pooling: checks, then the vector kernels.
#include "kernels/pool.h"

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

simd::PoolShape shape_of(const PoolGeometry& g) {
  return {g.n, g.h, g.w, g.c, g.oh(), g.ow(), g.kh, g.kw, g.stride_h, g.stride_w, g.top, g.left};
}

class Pool final : public PoolKernels {
 public:
  explicit Pool(const Backend& backend) : table_(backend.simd->pool) {}

  void max_forward(Queue& /*queue*/, const PoolGeometry& g, ConstView x, View y,
                   View argmax) override {
    check(g);
    const Arguments arguments("max pooling forward");
    arguments.require("x", x, g.x_shape());
    arguments.require("y", y, g.y_shape());
    arguments.require("argmax", argmax, g.y_shape(), DType::kU8);
    table_.max_forward(shape_of(g), x.as<float>(), y.as<float>(), argmax.as<std::uint8_t>());
  }

  void max_backward(Queue& /*queue*/, const PoolGeometry& g, ConstView dy, ConstView argmax,
                    View dx) override {
    check(g);
    const Arguments arguments("max pooling backward");
    arguments.require("dy", dy, g.y_shape());
    arguments.require("argmax", argmax, g.y_shape(), DType::kU8);
    arguments.require("dx", dx, g.x_shape());
    table_.max_backward(shape_of(g), dy.as<float>(), argmax.as<std::uint8_t>(), dx.as<float>());
  }

  void average_forward(Queue& /*queue*/, const PoolGeometry& g, ConstView x, View y) override {
    check(g);
    const Arguments arguments("average pooling forward");
    arguments.require("x", x, g.x_shape());
    arguments.require("y", y, g.y_shape());
    table_.average_forward(shape_of(g), x.as<float>(), y.as<float>());
  }

  void average_backward(Queue& /*queue*/, const PoolGeometry& g, ConstView dy, View dx) override {
    check(g);
    const Arguments arguments("average pooling backward");
    arguments.require("dy", dy, g.y_shape());
    arguments.require("dx", dx, g.x_shape());
    table_.average_backward(shape_of(g), dy.as<float>(), dx.as<float>());
  }

 private:
  const simd::PoolTable& table_;
};

}  // namespace

std::unique_ptr<PoolKernels> make_pool(const Backend& backend) {
  return std::make_unique<Pool>(backend);
}

}  // namespace gentrain::cpu
