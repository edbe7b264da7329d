// Tensors: slices and their limits, and the version that weights carry.
#include "core/tensor.h"

#include <limits>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using test::message_of;

class Tensors : public ::testing::Test {
 protected:
  test::Workbench bench_{test::reference_device()};
  const Tensor whole_ = bench_.tensor({2, 3}, std::vector<double>{0, 1, 2, 3, 4, 5}, DType::kF32);
};

TEST_F(Tensors, SlicesShareTheirElements) {
  const Tensor slice = whole_.slice(1, {2, 2});
  EXPECT_EQ(bench_.values(slice), (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(slice.data(), static_cast<float*>(whole_.data()) + 1);
  EXPECT_EQ(whole_.slice(6, {0}).elements(), 0);
}

TEST_F(Tensors, RefusesSlicesThatReachOutside) {
  EXPECT_EQ(message_of<ShapeError>([&] { (void)whole_.slice(4, {3}); }),
            "slice: 3 elements from element 4 on of a tensor of 6");
  EXPECT_EQ(message_of<ShapeError>([&] { (void)whole_.slice(-1, {3}); }),
            "slice: 3 elements from element -1 on of a tensor of 6");
  // The end would be a small number again.
  EXPECT_EQ(message_of<ShapeError>(
                [&] { (void)whole_.slice(std::numeric_limits<std::int64_t>::max(), {3}); }),
            "slice: 3 elements from element 9223372036854775807 on of a tensor of 6");
}

TEST_F(Tensors, RefusesMoreElementsThanThereIsMemoryFor) {
  EXPECT_THROW(bench_.empty({std::int64_t{1} << 32, std::int64_t{1} << 32}, DType::kU8),
               ShapeError);
  EXPECT_THROW(test::Workbench(test::cpu_device()).empty({std::int64_t{1} << 59}, DType::kF64),
               DeviceError);
}

TEST_F(Tensors, WeightsOfAPartHaveItsVersion) {
  Tensor part = whole_.slice(0, {3});
  whole_.buffer().divide(2);
  part.set_part(1);
  whole_.buffer().mark_changed();
  const std::uint64_t before = part.weights().version;
  whole_.buffer().mark_changed({true, false});
  EXPECT_EQ(part.weights().version, before);
  EXPECT_EQ(part.reshaped({3, 1}).weights().version, before);
  EXPECT_GT(whole_.weights().version, before);
  whole_.buffer().mark_changed({false, true});
  EXPECT_EQ(part.reshaped({3, 1}).weights().version, whole_.weights().version);
}

}  // namespace
}  // namespace gentrain
