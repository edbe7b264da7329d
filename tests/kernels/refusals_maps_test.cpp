// What every backend must refuse of pointwise functions, functions of two tensors and maps along
// axes, with the message.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/pointwise.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::message_of;
using ::testing::HasSubstr;
using F = PointwiseFunction;

class MapRefusals : public test::OnBothDevices {
 protected:
  [[nodiscard]] Tensor f32(const Shape& shape) const { return bench_.full(shape, 0, DType::kF32); }
  [[nodiscard]] PointwiseKernels& kernels() const { return bench_.device().pointwise(); }
  [[nodiscard]] Queue& queue() const { return bench_.queue(); }
  /// Runs a call that must be refused.
  template <class Call>
  [[nodiscard]] static std::string refusal(Call call) {
    return message_of<ShapeError>(call);
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, MapRefusals,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(MapRefusals, Constants) {
  const Tensor x = f32({2});
  const auto error = [&](const PointwiseRule& rule) {
    const std::string forward =
        refusal([&] { kernels().forward(queue(), rule, x.cview(), x.view()); });
    EXPECT_EQ(refusal([&] { kernels().backward(queue(), rule, x.cview(), x.cview(), x.view()); }),
              forward);
    return forward;
  };
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(error({F::kAffine, infinity}), "affine: a is inf: a finite f32 needed");
  EXPECT_EQ(error({F::kAffine, 1, 1e39}), "affine: b is 1e+39: a finite f32 needed");
  EXPECT_EQ(error({F::kRelu, std::nan(""), 0}), "relu: a is nan: a finite f32 needed");
  EXPECT_EQ(error({F::kRelu, 0, -infinity}), "relu: b is -inf: a finite f32 needed");
  EXPECT_EQ(error({F::kRelu, 0, 2, 1}), "relu: c is 1: b or more needed");
  EXPECT_EQ(error({F::kClip, std::nan(""), 1}), "clip: a is nan: a number needed");
  EXPECT_EQ(error({F::kClip, 2, 1}), "clip: b is 1: a or more needed");
  EXPECT_EQ(error({F::kElu, 1, infinity, 1}), "elu: b is inf: a finite f32 needed");
  EXPECT_EQ(error({F::kElu, 1, 1}), "elu: c is inf: a finite f32 above 0 needed");
  EXPECT_EQ(error({F::kElu, 1, 1, 0}), "elu: c is 0: a finite f32 above 0 needed");
  EXPECT_EQ(error({F::kHardSigmoid, -infinity}), "hard_sigmoid: a is -inf: a finite f32 needed");
  EXPECT_EQ(error({F::kSwish, infinity}), "swish: a is inf: a finite f32 needed");
  EXPECT_EQ(error({F::kSoftplus, -1}), "softplus: a is -1: a finite f32 above 0 needed");
  EXPECT_EQ(error({F::kSoftplus, 1e-60}), "softplus: a is 1e-60: a finite f32 above 0 needed");
  EXPECT_EQ(error({F::kSoftShrink, -1}),
            "soft_shrink: a is -1: a finite f32 that is 0 or more "
            "needed");
  EXPECT_THAT(error({F::kHardShrink, infinity}), HasSubstr("hard_shrink: a is inf"));
}

TEST_P(MapRefusals, Functions) {
  const Tensor x = f32({2, 3});
  EXPECT_EQ(refusal([&] { kernels().forward(queue(), {}, f32({5}).cview(), x.view()); }),
            "pointwise: x has 5 elements (shape [5]): 6 needed");
  EXPECT_EQ(refusal([&] { kernels().forward(queue(), {}, {}, x.view()); }),
            "pointwise: x is missing");
  EXPECT_EQ(
      refusal([&] { kernels().backward(queue(), {}, x.cview(), f32({5}).cview(), x.view()); }),
      "pointwise backward: dy has 5 elements (shape [5]): 6 needed");
  const Tensor bytes = bench_.full({2, 3}, 0, DType::kU8);
  EXPECT_EQ(refusal([&] { kernels().forward(queue(), {}, bytes.cview(), x.view()); }),
            "pointwise: x has type u8: f32 needed");
}

TEST_P(MapRefusals, FunctionsOfTwoTensors) {
  const auto error = [&](const Shape& a, const Shape& b, const Shape& y) {
    return refusal([&] {
      kernels().binary(queue(), BinaryFunction::kAdd, f32(a).cview(), f32(b).cview(),
                       f32(y).view());
    });
  };
  EXPECT_EQ(error({2, 3}, {2, 4}, {2, 4}),
            "binary: shapes [2, 3] and [2, 4] do not fit: as many axes, extents equal or 1 needed");
  EXPECT_THAT(error({2, 3}, {3}, {2, 3}), HasSubstr("shapes [2, 3] and [3] do not fit"));
  EXPECT_EQ(error({2, 3}, {1, 3}, {1, 3}), "binary: y has shape [1, 3]: [2, 3] needed");
}

TEST_P(MapRefusals, GradientsOfFunctionsOfTwoTensors) {
  const Tensor a = f32({2, 3});
  const Tensor b = f32({1, 3});
  const auto error = [&](const BinarySources& sources, View da, View db, ShardRows shards = {},
                         BinaryFunction function = BinaryFunction::kMultiply) {
    return refusal([&] { kernels().binary_backward(queue(), function, sources, da, db, shards); });
  };
  EXPECT_EQ(error({{}, b.cview(), a.cview()}, a.view(), {}), "binary backward: a is missing");
  EXPECT_EQ(error({a.cview(), {}, a.cview()}, a.view(), {}), "binary backward: b is missing");
  EXPECT_EQ(error({a.cview(), b.cview(), b.cview()}, a.view(), {}),
            "binary backward: dy has shape [1, 3]: [2, 3] needed");
  EXPECT_EQ(error({a.cview(), b.cview(), a.cview()}, b.view(), {}),
            "binary backward: da has shape [1, 3]: [2, 3] needed");
  EXPECT_EQ(error({a.cview(), b.cview(), a.cview()}, {}, a.view()),
            "binary backward: db has shape [2, 3]: [1, 3] needed");
  EXPECT_EQ(error({{}, {}, a.cview()}, f32({2, 2}).view(), {}, {}, BinaryFunction::kAdd),
            "binary backward: shapes [2, 2] and [2, 3] do not fit: as many axes, extents equal or "
            "1 needed");
  const std::vector<std::int64_t> shards = {1, 2};
  EXPECT_EQ(error({a.cview(), b.cview(), a.cview()}, {}, b.view(), shards),
            "binary backward: the shards side by side have 1 + 2 rows: none below 0 and 2 in all "
            "needed");
  const Tensor one = f32({});
  EXPECT_EQ(error({one.cview(), one.cview(), one.cview()}, {}, one.view(), shards),
            "binary backward: 2 shards side by side but a scalar: rows needed");
}

TEST_P(MapRefusals, Permutations) {
  const auto error = [&](const std::vector<int>& axes, const Shape& y) {
    return refusal([&] {
      kernels().permute(queue(), axes, f32({2, 3, 4}).cview(), f32(y).view());
    });
  };
  EXPECT_EQ(error({0, 1}, {2, 3}),
            "permute: axes [0, 1] of a tensor [2, 3, 4]: each of its axes once needed");
  EXPECT_THAT(error({0, 1, 1}, {2, 3, 3}), HasSubstr("axes [0, 1, 1]"));
  EXPECT_THAT(error({0, 1, 3}, {2, 3, 3}), HasSubstr("axes [0, 1, 3]"));
  EXPECT_THAT(error({0, 1, -1}, {2, 3, 3}), HasSubstr("axes [0, 1, -1]"));
  EXPECT_EQ(error({2, 0, 1}, {2, 3, 4}), "permute: y has shape [2, 3, 4]: [4, 2, 3] needed");
}

TEST_P(MapRefusals, AxisMaps) {
  const std::vector<float> weights = {1, 1, 1};
  const auto error = [&](std::int64_t from, const std::vector<std::int32_t>& begins,
                         const std::vector<std::int32_t>& sources, const Shape& x, const Shape& y) {
    const AxisTerms terms{from, begins, sources, weights};
    return refusal([&] { kernels().axis_map(queue(), terms, f32(x).cview(), f32(y).view()); });
  };
  const std::string needed =
      ": at least one of either, begins that rise from 0 to the number of both needed";
  EXPECT_EQ(error(0, {0, 3}, {0, 0, 0}, {1, 1, 1}, {1, 1, 1}),
            "axis map: 1 positions from 0, with 3 sources and 3 weights" + needed);
  EXPECT_THAT(error(4, {}, {0, 0, 0}, {1, 1, 1}, {1, 1, 1}), HasSubstr("-1 positions from 4"));
  EXPECT_THAT(error(4, {0}, {0, 0, 0}, {1, 1, 1}, {1, 1, 1}), HasSubstr("0 positions from 4"));
  EXPECT_THAT(error(4, {1, 3}, {0, 0, 0}, {1, 1, 1}, {1, 1, 1}), HasSubstr(needed));
  EXPECT_THAT(error(4, {0, 2, 1, 3}, {0, 0, 0}, {1, 1, 1}, {1, 1, 1}), HasSubstr(needed));
  EXPECT_THAT(error(4, {0, 2}, {0, 0, 0}, {1, 1, 1}, {1, 1, 1}), HasSubstr(needed));
  EXPECT_THAT(error(4, {0, 2}, {0, 0}, {1, 1, 1}, {1, 1, 1}), HasSubstr("2 sources and 3 weights"));
  EXPECT_EQ(error(4, {0, 3}, {0, 4, 0}, {1, 4, 1}, {1, 1, 1}),
            "axis map: a term has source 4: in [0, 4) needed");
  EXPECT_THAT(error(4, {0, 3}, {0, -1, 0}, {1, 4, 1}, {1, 1, 1}), HasSubstr("source -1"));
  EXPECT_EQ(error(4, {0, 3}, {0, 1, 0}, {2, 3, 5}, {2, 1, 5}),
            "axis map: shapes [2, 3, 5] and [2, 1, 5]: [outer, 4, inner] and [outer, 1, inner] "
            "needed");
  EXPECT_THAT(error(4, {0, 3}, {0, 1, 0}, {2, 4, 5}, {2, 2, 5}), HasSubstr("and [2, 2, 5]:"));
  EXPECT_THAT(error(4, {0, 3}, {0, 1, 0}, {2, 4, 5}, {1, 1, 5}), HasSubstr("and [1, 1, 5]:"));
  EXPECT_THAT(error(4, {0, 3}, {0, 1, 0}, {4, 5}, {1, 5}), HasSubstr("shapes [4, 5] and [1, 5]"));
}

TEST_P(MapRefusals, GradientsOfAxisMaps) {
  const std::vector<float> weights = {1};
  const std::vector<std::int32_t> begins = {0, 1};
  const std::vector<std::int32_t> sources = {0};
  const AxisTerms terms{3, begins, sources, weights};
  EXPECT_EQ(
      refusal([&] {
        kernels().axis_map_backward(queue(), terms, f32({2, 1, 4}).cview(), f32({2, 2, 4}).view());
      }),
      "axis map backward: shapes [2, 2, 4] and [2, 1, 4]: [outer, 3, inner] and [outer, 1, "
      "inner] needed");
  EXPECT_EQ(refusal([&] {
              kernels().axis_map_backward(queue(), terms, {}, f32({2, 3, 4}).view());
            }),
            "axis map backward: dy is missing");
}

TEST_P(MapRefusals, Softmax) {
  EXPECT_EQ(refusal([&] { kernels().softmax(queue(), false, f32({}).cview(), f32({}).view()); }),
            "softmax: a shape []: [..., k] with k at least 1 needed");
  EXPECT_THAT(refusal([&] {
                kernels().softmax(queue(), true, f32({2, 0}).cview(), f32({2, 0}).view());
              }),
              HasSubstr("a shape [2, 0]"));
  EXPECT_EQ(refusal([&] {
              kernels().softmax(queue(), false, f32({2, 3}).cview(), f32({3, 2}).view());
            }),
            "softmax: y has shape [3, 2]: [2, 3] needed");
  EXPECT_EQ(refusal([&] {
              kernels().softmax_backward(queue(), false, f32({2, 3}).cview(), f32({3}).cview(),
                                         f32({2, 3}).view());
            }),
            "softmax backward: dy has shape [3]: [2, 3] needed");
}

}  // namespace
}  // namespace gentrain
