// Reductions inside one tensor, block by block.
#include "kernels/reduce.h"

#include <cmath>

#include "tests/reference/families.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

class Reduce final : public ReduceKernels {
 public:
  void sum(Queue& /*queue*/, ConstView x, View y) override {
    const Call call("sum", y.dtype);
    const Values values = call.load("x", x, x.shape);
    Values total({1});
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      total[0] += values[i];
    }
    call.store_elements("y", total, y);
  }

  void square_sums(Queue& /*queue*/, ConstView x, View blocks) override {
    const Call call("square_sums", x.dtype);
    const Values values = call.load("x", x, x.shape);
    Values sums({(values.elements() + kReduceBlock - 1) / kReduceBlock});
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      sums[i / kReduceBlock] += values[i] * values[i];
    }
    call.store_doubles("blocks", sums, blocks);
  }

  bool all_finite(Queue& /*queue*/, ConstView x) override {
    const Values values = Call("all_finite", x.dtype).load("x", x, x.shape);
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      if (!std::isfinite(values[i])) {
        return false;
      }
    }
    return true;
  }
};

}  // namespace

std::unique_ptr<ReduceKernels> make_reduce() {
  return std::make_unique<Reduce>();
}

}  // namespace gentrain::reference
