// Reductions: checks, then the vector kernels.
#include "kernels/reduce.h"

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

static_assert(simd::kReduceBlock == kReduceBlock);

class Reduce final : public ReduceKernels {
 public:
  explicit Reduce(const Backend& backend) : table_(backend.simd->reduce) {}

  void sum(Queue& /*queue*/, ConstView x, View y) override {
    const Arguments arguments("sum");
    arguments.require_elements("x", x, x.elements());
    arguments.require_elements("y", y, 1);
    *y.as<float>() = table_.sum(x.as<float>(), x.elements());
  }

  void square_sums(Queue& /*queue*/, ConstView x, View blocks) override {
    const Arguments arguments("square sums");
    arguments.require_elements("x", x, x.elements());
    const std::int64_t count = (x.elements() + kReduceBlock - 1) / kReduceBlock;
    arguments.require_elements("blocks", blocks, count, DType::kF64);
    table_.square_sums(x.as<float>(), x.elements(), blocks.as<double>());
  }

  bool all_finite(Queue& /*queue*/, ConstView x) override {
    Arguments("all_finite").require_elements("x", x, x.elements());
    return table_.all_finite(x.as<float>(), x.elements());
  }

 private:
  const simd::ReduceTable& table_;
};

}  // namespace

std::unique_ptr<ReduceKernels> make_reduce(const Backend& backend) {
  return std::make_unique<Reduce>(backend);
}

}  // namespace gentrain::cpu
