// Convolution. Forward and both gradients are one sum over the same products, gathered by result
// pixel, by input pixel or by weight; the fused routines are convolution, then max pooling, then
// activation.
#include "kernels/conv.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/activation.h"
#include "tests/reference/families.h"
#include "tests/reference/max_pool.h"
#include "tests/reference/values.h"
#include "tests/reference/windows.h"

namespace gentrain::reference {

namespace {

/// visit(tap, oc, c, k) for every product of the convolution: c is a channel of x, k the same one
/// among those of its group, as weights count it.
template <class Visit>
void for_each_product(const ConvGeometry& g, Visit visit) {
  const std::int64_t inputs = g.c / g.groups;
  const std::int64_t outputs = g.oc / g.groups;
  for_each_tap(g, [&](const Tap& t) {
    for (std::int64_t oc = 0; oc < g.oc; ++oc) {
      const std::int64_t first = oc / outputs * inputs;
      for (std::int64_t k = 0; k < inputs; ++k) {
        visit(t, oc, first + k, k);
      }
    }
  });
}

Values convolve(const ConvGeometry& g, const Values& x, const Values& w, const Values& bias) {
  Values y(g.y_shape());
  for_each_product(g, [&](const Tap& t, std::int64_t oc, std::int64_t c, std::int64_t k) {
    y(t.n, t.oh, t.ow, oc) += x(t.n, t.h, t.w, c) * w(oc, t.kh, t.kw, k);
  });
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    y[i] += bias[i % g.oc];
  }
  return y;
}

Values gradient_of_x(const ConvGeometry& g, const Values& dy, const Values& w) {
  Values dx(g.x_shape());
  for_each_product(g, [&](const Tap& t, std::int64_t oc, std::int64_t c, std::int64_t k) {
    dx(t.n, t.h, t.w, c) += dy(t.n, t.oh, t.ow, oc) * w(oc, t.kh, t.kw, k);
  });
  return dx;
}

Values gradient_of_w(const ConvGeometry& g, const Values& x, const Values& dy) {
  Values dw(g.w_shape());
  for_each_product(g, [&](const Tap& t, std::int64_t oc, std::int64_t c, std::int64_t k) {
    dw(oc, t.kh, t.kw, k) += x(t.n, t.h, t.w, c) * dy(t.n, t.oh, t.ow, oc);
  });
  return dw;
}

Values gradient_of_bias(const ConvGeometry& g, const Values& dy) {
  Values dbias({g.oc});
  for (std::int64_t i = 0; i < dy.elements(); ++i) {
    dbias[i % g.oc] += dy[i];
  }
  return dbias;
}

void apply_all(Activation activation, Values& y) {
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    y[i] = apply(activation, y[i]);
  }
}

/// The 2x2 pooling with stride 2 over a convolution's result.
PoolGeometry pooling_of(const ConvGeometry& g) {
  check(g);
  if (g.oh() < 2 || g.ow() < 2) {
    throw ShapeError(fmt::format("conv pool: 2x2 pooling of the result {} would leave nothing",
                                 g.y_shape().str()));
  }
  return {.n = g.n,
          .h = g.oh(),
          .w = g.ow(),
          .c = g.oc,
          .kh = 2,
          .kw = 2,
          .stride_h = 2,
          .stride_w = 2};
}

Values load_bias(const Call& call, const ConvGeometry& g, ConstView bias) {
  return bias.present() ? call.load("bias", bias, {g.oc}) : Values({g.oc});
}

class Conv final : public ConvKernels {
 public:
  void forward(Queue& /*queue*/, const ConvGeometry& g, ConstView x, const Weights& w,
               ConstView bias, Activation activation, View y) override {
    check(g);
    const Call call("conv forward", y.dtype);
    Values result = convolve(g, call.load("x", x, g.x_shape()),
                             call.load("w", w.values, g.w_shape()), load_bias(call, g, bias));
    apply_all(activation, result);
    call.store("y", result, y);
  }

  void backward_data(Queue& /*queue*/, const ConvGeometry& g, ConstView dy, const Weights& w,
                     View dx) override {
    check(g);
    const Call call("conv backward_data", dx.dtype);
    const Values gradient = call.load("dy", dy, g.y_shape());
    call.store("dx", gradient_of_x(g, gradient, call.load("w", w.values, g.w_shape())), dx);
  }

  void backward_weights(Queue& /*queue*/, const ConvGeometry& g, ConstView x, ConstView dy, View dw,
                        View dbias) override {
    check(g);
    const Call call("conv backward_weights", dw.dtype);
    store_gradients(call, g, x, call.load("dy", dy, g.y_shape()), dw, dbias);
  }

  [[nodiscard]] bool fuses_max_pool(const ConvGeometry& g) const override {
    return g.oh() >= 2 && g.ow() >= 2;
  }

  void pool_forward(Queue& /*queue*/, const ConvGeometry& g, ConstView x, const Weights& w,
                    ConstView bias, Activation activation, PooledViews result) override {
    const PoolGeometry pooling = pooling_of(g);
    const Call call("conv pool_forward", result.y.dtype);
    const Values full = convolve(g, call.load("x", x, g.x_shape()),
                                 call.load("w", w.values, g.w_shape()), load_bias(call, g, bias));
    MaxPooled pooled = max_pool(pooling, full);
    apply_all(activation, pooled.y);
    call.store_bytes("argmax", pooled.argmax, result.argmax);
    call.store("y", pooled.y, result.y);
  }

  void pool_backward_data(Queue& /*queue*/, const ConvGeometry& g, ConstView dp, ConstView argmax,
                          const Weights& w, View dx) override {
    const Call call("conv pool_backward_data", dx.dtype);
    const Values dy = unpooled(call, g, dp, argmax);
    call.store("dx", gradient_of_x(g, dy, call.load("w", w.values, g.w_shape())), dx);
  }

  void pool_backward_weights(Queue& /*queue*/, const ConvGeometry& g, ConstView x, ConstView dp,
                             ConstView argmax, View dw, View dbias) override {
    const Call call("conv pool_backward_weights", dw.dtype);
    store_gradients(call, g, x, unpooled(call, g, dp, argmax), dw, dbias);
  }

 private:
  static Values unpooled(const Call& call, const ConvGeometry& g, ConstView dp, ConstView argmax) {
    const PoolGeometry pooling = pooling_of(g);
    return max_unpool(pooling, call.load("dp", dp, pooling.y_shape()),
                      call.load_integers("argmax", argmax, pooling.y_shape(), DType::kU8));
  }

  static void store_gradients(const Call& call, const ConvGeometry& g, ConstView x,
                              const Values& dy, View dw, View dbias) {
    call.store("dw", gradient_of_w(g, call.load("x", x, g.x_shape()), dy), dw);
    if (dbias.present()) {
      call.store("dbias", gradient_of_bias(g, dy), dbias);
    }
  }
};

}  // namespace

std::unique_ptr<ConvKernels> make_conv() {
  return std::make_unique<Conv>();
}

}  // namespace gentrain::reference
