// Random tensors from Philox words. The arithmetic is in f32, as the contract says; f64 tensors
// hold the same numbers.
#include "kernels/random.h"

#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/families.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

/// The uniform number of element i.
float uniform_at(RngKey key, std::int64_t i) {
  const auto index = static_cast<std::uint64_t>(i);
  return uniform_float(key.block(index / 4)[index % 4]);
}

/// The standard normal number of element i: Box and Muller.
float normal_at(RngKey key, std::int64_t i) {
  const std::int64_t first = i - i % 2;
  const float radius = std::sqrt(-2.0F * std::log(1.0F - uniform_at(key, first)));
  const float angle = 2.0F * std::numbers::pi_v<float> * uniform_at(key, first + 1);
  return radius * (i == first ? std::cos(angle) : std::sin(angle));
}

class Random final : public RandomKernels {
 public:
  void uniform(Queue& /*queue*/, RngKey key, double low, double high, View y) override {
    const Call call("uniform", y.dtype);
    const auto start = static_cast<float>(low);
    const auto width = static_cast<float>(high) - start;
    Values values(y.shape);
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      values[i] = start + width * uniform_at(key, i);
    }
    call.store("y", values, y);
  }

  void normal(Queue& /*queue*/, RngKey key, double mean, double stddev, View y) override {
    const Call call("normal", y.dtype);
    Values values(y.shape);
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      values[i] = static_cast<float>(mean) + static_cast<float>(stddev) * normal_at(key, i);
    }
    call.store("y", values, y);
  }

  void dropout(Queue& /*queue*/, RngKey key, double keep, ConstView x, View y) override {
    if (!(keep > 0 && keep <= 1)) {
      throw ShapeError(fmt::format("dropout: keeps a share of {}: above 0, at most 1", keep));
    }
    const Call call("dropout", y.dtype);
    Values values = call.load("x", x, y.shape);
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      values[i] = uniform_at(key, i) < static_cast<float>(keep) ? values[i] / keep : 0;
    }
    call.store("y", values, y);
  }
};

}  // namespace

std::unique_ptr<RandomKernels> make_random() {
  return std::make_unique<Random>();
}

}  // namespace gentrain::reference
