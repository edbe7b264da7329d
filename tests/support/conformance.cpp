// Guarded results.
#include "tests/support/conformance.h"

#include <limits>

namespace gentrain::test {

namespace {

constexpr std::int64_t kGuard = 32;
constexpr double kGuardValue = 170;

}  // namespace

Result::Result(const Workbench& bench, const Shape& shape, DType dtype, std::int64_t misalignment)
    : bench_(bench), first_(static_cast<std::size_t>(kGuard + misalignment)) {
  const bool floating = dtype != DType::kI32 && dtype != DType::kU8;
  std::vector<double> values(first_ + static_cast<std::size_t>(shape.elements() + kGuard),
                             kGuardValue);
  for (std::size_t i = 0; floating && i < static_cast<std::size_t>(shape.elements()); ++i) {
    values[first_ + i] = std::numeric_limits<double>::quiet_NaN();
  }
  whole_ = bench.tensor({static_cast<std::int64_t>(values.size())}, values, dtype);
  inside_ = whole_.slice(static_cast<std::int64_t>(first_), shape);
}

std::vector<double> Result::values() const {
  const std::vector<double> all = bench_.values(whole_);
  const std::size_t last = first_ + static_cast<std::size_t>(inside_.elements());
  for (std::size_t i = 0; i < all.size(); ++i) {
    if ((i < first_ || i >= last) && all[i] != kGuardValue) {
      ADD_FAILURE() << "element "
                    << static_cast<std::int64_t>(i) - static_cast<std::int64_t>(first_)
                    << " outside of a result " << inside_.shape().str() << " was written";
      break;
    }
  }
  return bench_.values(inside_);
}

}  // namespace gentrain::test
