// Dense layers: y = activation(x w^T + bias) and its gradients.
#include "kernels/matmul.h"

#include <numeric>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/activation.h"
#include "tests/reference/families.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

/// n rows, k inputs, m outputs.
struct Extents {
  std::int64_t n, k, m;
};

void check_matrices(const char* routine, const Shape& first, const Shape& second) {
  if (first.rank() != 2 || second.rank() != 2 || first.elements() == 0 || second.elements() == 0) {
    throw ShapeError(fmt::format("{}: matrices needed that are not empty, but they are {} and {}",
                                 routine, first.str(), second.str()));
  }
}

/// visit(n, m, k) for every product.
template <class Visit>
void for_each_product(const Extents& e, Visit visit) {
  for (std::int64_t n = 0; n < e.n; ++n) {
    for (std::int64_t m = 0; m < e.m; ++m) {
      for (std::int64_t k = 0; k < e.k; ++k) {
        visit(n, m, k);
      }
    }
  }
}

class Matmul final : public MatmulKernels {
 public:
  void linear_forward(Queue& /*queue*/, ConstView x, const Weights& w, ConstView bias,
                      Activation activation, View y, ShardRows shards) override {
    check_matrices("linear forward", x.shape, w.values.shape);
    check_shards("linear forward", shards, x.shape[0]);
    const Extents e{x.shape[0], x.shape[1], w.values.shape[0]};
    const Call call("linear forward", y.dtype);
    const Values rows = call.load("x", x, {e.n, e.k});
    const Values weights = call.load("w", w.values, {e.m, e.k});
    const Values shift = bias.present() ? call.load("bias", bias, {e.m}) : Values({e.m});
    Values result({e.n, e.m});
    for_each_product(e, [&](std::int64_t n, std::int64_t m, std::int64_t k) {
      result(n, m) += rows(n, k) * weights(m, k);
    });
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result[i] = apply(activation, result[i] + shift[i % e.m]);
    }
    call.store("y", result, y);
  }

  void linear_backward_data(Queue& /*queue*/, ConstView dy, const Weights& w, View dx,
                            ShardRows shards) override {
    check_matrices("linear backward_data", dy.shape, w.values.shape);
    check_shards("linear backward_data", shards, dy.shape[0]);
    const Extents e{dy.shape[0], w.values.shape[1], dy.shape[1]};
    const Call call("linear backward_data", dx.dtype);
    const Values gradient = call.load("dy", dy, {e.n, e.m});
    const Values weights = call.load("w", w.values, {e.m, e.k});
    Values result({e.n, e.k});
    for_each_product(e, [&](std::int64_t n, std::int64_t m, std::int64_t k) {
      result(n, k) += gradient(n, m) * weights(m, k);
    });
    call.store("dx", result, dx);
  }

  void linear_backward_weights(Queue& /*queue*/, ConstView x, ConstView dy, View dw, View dbias,
                               ShardRows shards) override {
    check_matrices("linear backward_weights", dy.shape, x.shape);
    check_shards("linear backward_weights", shards, x.shape[0]);
    const Extents e{dy.shape[0], x.shape[1], dy.shape[1]};
    const Call call("linear backward_weights", dw.dtype);
    const Values rows = call.load("x", x, {e.n, e.k});
    const Values gradient = call.load("dy", dy, {e.n, e.m});
    const auto none = [&e] { return Sums{Values({e.m, e.k}), Values({e.m})}; };
    const auto add_row = [&](std::int64_t n, Sums& sums) {
      for (std::int64_t m = 0; m < e.m; ++m) {
        for (std::int64_t k = 0; k < e.k; ++k) {
          sums.dw(m, k) += gradient(n, m) * rows(n, k);
        }
        sums.dbias[m] += gradient(n, m);
      }
    };
    const Sums sums = tree_sum(shards.empty() ? ShardRows(&e.n, 1) : shards, 0, none, add_row);
    call.store("dw", sums.dw, dw);
    if (dbias.present()) {
      call.store("dbias", sums.dbias, dbias);
    }
  }

 private:
  struct Sums {
    Values dw, dbias;
  };

  /// The sums over the shards' rows, the first of which is row `first`.
  template <class None, class AddRow>
  static Sums tree_sum(ShardRows shards, std::int64_t first, const None& none,
                       const AddRow& add_row) {
    if (shards.size() == 1) {
      Sums sums = none();
      for (std::int64_t n = first; n < first + shards[0]; ++n) {
        add_row(n, sums);
      }
      return sums;
    }
    const ShardRows left = shards.first(shards.size() / 2);
    Sums sums = tree_sum(left, first, none, add_row);
    const Sums right = tree_sum(shards.last(shards.size() / 2),
                                std::accumulate(left.begin(), left.end(), first), none, add_row);
    for (std::int64_t i = 0; i < sums.dw.elements(); ++i) {
      sums.dw[i] += right.dw[i];
    }
    for (std::int64_t i = 0; i < sums.dbias.elements(); ++i) {
      sums.dbias[i] += right.dbias[i];
    }
    return sums;
  }
};

}  // namespace

std::unique_ptr<MatmulKernels> make_matmul() {
  return std::make_unique<Matmul>();
}

}  // namespace gentrain::reference
