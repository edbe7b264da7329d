// Pooling: the largest value or the mean of each window. Windows are cut at the border.
#include "kernels/pool.h"

#include <cmath>

#include "tests/reference/families.h"
#include "tests/reference/max_pool.h"
#include "tests/reference/values.h"
#include "tests/reference/windows.h"

namespace gentrain::reference {

MaxPooled max_pool(const PoolGeometry& g, const Values& x) {
  constexpr double kNoneYet = -1;
  MaxPooled result{Values(g.y_shape()), Values(g.y_shape(), kNoneYet)};
  for_each_tap(g, [&](const Tap& t) {
    for (std::int64_t c = 0; c < g.c; ++c) {
      double& largest = result.y(t.n, t.oh, t.ow, c);
      double& argmax = result.argmax(t.n, t.oh, t.ow, c);
      const double value = x(t.n, t.h, t.w, c);
      const bool first_nan = std::isnan(value) && !std::isnan(largest);
      if (argmax == kNoneYet || value > largest || first_nan) {
        largest = value;
        argmax = static_cast<double>(g.kw * t.kh + t.kw);
      }
    }
  });
  return result;
}

Values max_unpool(const PoolGeometry& g, const Values& dy, const Values& argmax) {
  Values dx(g.x_shape());
  for_each_tap(g, [&](const Tap& t) {
    for (std::int64_t c = 0; c < g.c; ++c) {
      if (argmax(t.n, t.oh, t.ow, c) == static_cast<double>(g.kw * t.kh + t.kw)) {
        dx(t.n, t.h, t.w, c) += dy(t.n, t.oh, t.ow, c);
      }
    }
  });
  return dx;
}

namespace {

/// Pixels of each window that lie inside the image: [n, oh, ow].
Values window_sizes(const PoolGeometry& g) {
  Values sizes({g.n, g.oh(), g.ow()});
  for_each_tap(g, [&](const Tap& t) { sizes(t.n, t.oh, t.ow) += 1; });
  return sizes;
}

class Pool final : public PoolKernels {
 public:
  void max_forward(Queue& /*queue*/, const PoolGeometry& g, ConstView x, View y,
                   View argmax) override {
    check(g);
    const Call call("max_pool forward", y.dtype);
    const MaxPooled result = max_pool(g, call.load("x", x, g.x_shape()));
    call.store_bytes("argmax", result.argmax, argmax);
    call.store("y", result.y, y);
  }

  void max_backward(Queue& /*queue*/, const PoolGeometry& g, ConstView dy, ConstView argmax,
                    View dx) override {
    check(g);
    const Call call("max_pool backward", dx.dtype);
    const Values positions = call.load_integers("argmax", argmax, g.y_shape(), DType::kU8);
    call.store("dx", max_unpool(g, call.load("dy", dy, g.y_shape()), positions), dx);
  }

  void average_forward(Queue& /*queue*/, const PoolGeometry& g, ConstView x, View y) override {
    check(g);
    const Call call("average_pool forward", y.dtype);
    const Values input = call.load("x", x, g.x_shape());
    const Values sizes = window_sizes(g);
    Values means(g.y_shape());
    for_each_tap(g, [&](const Tap& t) {
      for (std::int64_t c = 0; c < g.c; ++c) {
        means(t.n, t.oh, t.ow, c) += input(t.n, t.h, t.w, c) / sizes(t.n, t.oh, t.ow);
      }
    });
    call.store("y", means, y);
  }

  void average_backward(Queue& /*queue*/, const PoolGeometry& g, ConstView dy, View dx) override {
    check(g);
    const Call call("average_pool backward", dx.dtype);
    const Values gradient = call.load("dy", dy, g.y_shape());
    const Values sizes = window_sizes(g);
    Values result(g.x_shape());
    for_each_tap(g, [&](const Tap& t) {
      for (std::int64_t c = 0; c < g.c; ++c) {
        result(t.n, t.h, t.w, c) += gradient(t.n, t.oh, t.ow, c) / sizes(t.n, t.oh, t.ow);
      }
    });
    call.store("dx", result, dx);
  }
};

}  // namespace

std::unique_ptr<PoolKernels> make_pool() {
  return std::make_unique<Pool>();
}

}  // namespace gentrain::reference
