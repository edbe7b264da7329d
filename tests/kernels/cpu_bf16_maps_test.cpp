// bf16 on the CPU of pointwise functions, functions of two tensors and maps along axes: against
// themselves in f32 on the same values, rounded.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/pointwise.h"
#include "tests/support/bf16.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::message_of;
using test::random_values;
using test::Result;
using Values = std::vector<double>;

Values rounded(Values values) {
  for (double& value : values) {
    value = test::value_of(test::nearest_bf16(value));
  }
  return values;
}

class CpuBf16Maps : public ::testing::Test {
 protected:
  /// Tensors of a call: images, of the type under test, and parameters, which are f32.
  [[nodiscard]] Tensor image(const Shape& shape, std::uint64_t key, DType type) const {
    return bench_.tensor(shape, rounded(random_values(shape.elements(), RngKey(key), 0.5, 3)),
                         type);
  }
  [[nodiscard]] Tensor parameter(const Shape& shape, std::uint64_t key) const {
    return bench_.random(shape, RngKey(key), DType::kF32, 0.5, 3);
  }

  /// What a routine gives in f32, rounded, and in bf16.
  void expect_rounded_f32(const char* what, const Shape& shape,
                          const std::function<void(DType, View)>& routine) const {
    const Result wide(bench_, shape, DType::kF32);
    const Result narrow(bench_, shape, DType::kBf16, 1);
    routine(DType::kF32, wide.view());
    routine(DType::kBf16, narrow.view());
    EXPECT_EQ(narrow.values(), rounded(wide.values())) << what;
    EXPECT_NE(narrow.values(), wide.values()) << what << ": nothing is rounded";
  }

  test::Workbench bench_{test::cpu_device()};
  PointwiseKernels& kernels_ = bench_.device().pointwise();
  Queue& queue_ = bench_.queue();
};

TEST_F(CpuBf16Maps, Functions) {
  const Shape shape{5, 77};
  for (const PointwiseRule& rule :
       {PointwiseRule{PointwiseFunction::kSwish}, PointwiseRule{PointwiseFunction::kGelu},
        PointwiseRule{PointwiseFunction::kPower, 2.5}}) {
    expect_rounded_f32("forward", shape, [&](DType type, View y) {
      kernels_.forward(queue_, rule, image(shape, 1, type).cview(), y);
    });
    expect_rounded_f32("backward", shape, [&](DType type, View dx) {
      kernels_.backward(queue_, rule, image(shape, 1, type).cview(), image(shape, 2, type).cview(),
                        dx);
    });
  }
}

TEST_F(CpuBf16Maps, ImagesBesideImages) {
  const Shape shape{3, 4, 5};
  const Shape gate{3, 1, 5};
  expect_rounded_f32("binary", shape, [&](DType type, View y) {
    kernels_.binary(queue_, BinaryFunction::kMultiply, image(shape, 1, type).cview(),
                    image(gate, 2, type).cview(), y);
  });
  expect_rounded_f32("gradient", gate, [&](DType type, View db) {
    kernels_.binary_backward(queue_, BinaryFunction::kMultiply,
                             {image(shape, 1, type).cview(), image(gate, 2, type).cview(),
                              image(shape, 3, type).cview()},
                             {}, db, {});
  });
}

TEST_F(CpuBf16Maps, ImagesBesideParameters) {
  const Shape shape{3, 4, 5};
  const Tensor scale = parameter({1, 1, 5}, 2);
  expect_rounded_f32("binary", shape, [&](DType type, View y) {
    kernels_.binary(queue_, BinaryFunction::kMultiply, scale.cview(), image(shape, 1, type).cview(),
                    y);
  });
  std::vector<Values> gradients;
  for (const DType type : {DType::kF32, DType::kBf16}) {
    const Result da(bench_, scale.shape(), DType::kF32);
    const Result db(bench_, shape, type);
    const std::vector<std::int64_t> shards = {2, 1};
    kernels_.binary_backward(
        queue_, BinaryFunction::kMultiply,
        {scale.cview(), image(shape, 1, type).cview(), image(shape, 3, type).cview()}, da.view(),
        db.view(), shards);
    gradients.push_back(da.values());
    gradients.push_back(db.values());
  }
  EXPECT_EQ(gradients[0], gradients[2]) << "of a parameter nothing is rounded";
  EXPECT_EQ(rounded(gradients[1]), gradients[3]);
  EXPECT_NE(gradients[1], gradients[3]);
}

TEST_F(CpuBf16Maps, Axes) {
  const std::vector<std::int32_t> begins = {0, 2, 3};
  const std::vector<std::int32_t> sources = {0, 2, 1};
  const std::vector<float> weights = {0.3F, 0.7F, 1.1F};
  const AxisTerms terms{3, begins, sources, weights};
  expect_rounded_f32("axis map", {2, 2, 7}, [&](DType type, View y) {
    kernels_.axis_map(queue_, terms, image({2, 3, 7}, 1, type).cview(), y);
  });
  expect_rounded_f32("axis map backward", {2, 3, 7}, [&](DType type, View dx) {
    kernels_.axis_map_backward(queue_, terms, image({2, 2, 7}, 1, type).cview(), dx);
  });
  for (const bool log : {false, true}) {
    expect_rounded_f32("softmax", {4, 9}, [&](DType type, View y) {
      kernels_.softmax(queue_, log, image({4, 9}, 1, type).cview(), y);
    });
    expect_rounded_f32("softmax backward", {4, 9}, [&](DType type, View dx) {
      kernels_.softmax_backward(queue_, log, image({4, 9}, 1, type).cview(),
                                image({4, 9}, 2, type).cview(), dx);
    });
  }
}

TEST_F(CpuBf16Maps, APermutationMovesEitherType) {
  const int axes[] = {0, 2, 1};
  std::vector<Values> moved;
  for (const DType type : {DType::kF32, DType::kBf16}) {
    const Result y(bench_, {2, 35, 33}, type, 1);
    kernels_.permute(queue_, axes, image({2, 33, 35}, 1, type).cview(), y.view());
    moved.push_back(y.values());
  }
  EXPECT_EQ(moved[0], moved[1]);
}

TEST_F(CpuBf16Maps, TypesAreNotMixed) {
  const Tensor narrow = bench_.full({2, 2}, 1, DType::kBf16);
  const Tensor wide = bench_.full({2, 2}, 1, DType::kF32);
  EXPECT_EQ(
      message_of<ShapeError>([&] { kernels_.forward(queue_, {}, wide.cview(), narrow.view()); }),
      "pointwise: x has type f32: bf16 needed, as other arguments have it");
  EXPECT_EQ(message_of<ShapeError>(
                [&] { kernels_.binary(queue_, {}, wide.cview(), narrow.cview(), wide.view()); }),
            "binary: y has type f32: bf16 needed, as other arguments have it");
  EXPECT_EQ(message_of<ShapeError>(
                [&] { kernels_.binary(queue_, {}, wide.cview(), wide.cview(), narrow.view()); }),
            "binary: y has type bf16: f32 needed");
  const int axes[] = {1, 0};
  EXPECT_EQ(
      message_of<ShapeError>([&] { kernels_.permute(queue_, axes, narrow.cview(), wide.view()); }),
      "permute: y has type f32: bf16 needed");
}

}  // namespace
}  // namespace gentrain
