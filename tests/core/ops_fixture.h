// Tensors of f64 on the reference device, where ops are tested.
#pragma once

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "core/context.h"
#include "tests/support/workbench.h"

namespace gentrain {

class Ops : public ::testing::Test {
 protected:
  Tensor random(const Shape& shape, std::uint64_t key = 1) const {
    return bench_.random(shape, RngKey(key), DType::kF64);
  }
  Tensor tensor(const Shape& shape, std::vector<double> values) const {
    return bench_.tensor(shape, values, DType::kF64);
  }

  test::Workbench bench_{test::reference_device()};
  Context context_{bench_.device(), bench_.queue(), nullptr, false, {}};
};

}  // namespace gentrain
