// Functions of one and two tensors, permutations, maps along axes and softmax: values by hand,
// gradients against central differences in f64 on the reference device, shards side by side,
// messages of errors.
#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/ops/maps.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/core/ops_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"

namespace gentrain {
namespace {

using ops::AxisRows;
using test::gradients_agree;
using test::message_of;
using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using Inputs = std::span<const Tensor>;
using F = PointwiseFunction;
using Rows = std::shared_ptr<const AxisRows>;

constexpr BinaryFunction kBinaryFunctions[] = {BinaryFunction::kAdd,      BinaryFunction::kSubtract,
                                               BinaryFunction::kMultiply, BinaryFunction::kDivide,
                                               BinaryFunction::kMaximum,  BinaryFunction::kMinimum};

Rows rows(AxisRows values) {
  return std::make_shared<const AxisRows>(std::move(values));
}

/// Five positions out of three: sums, a copy, a filled one.
Rows mixed() {
  return rows({3, {0, 2, 3, 6, 6, 7}, {0, 1, 2, 2, 0, 2, 1}, {0.5F, -2, 1, 3, 0.25F, 1, 0.3F}, 7});
}

class MapOps : public Ops {
 protected:
  /// Numbers away from 0 and from each other's kinks.
  [[nodiscard]] Tensor positive(const Shape& shape, std::uint64_t key = 1) const {
    return bench_.random(shape, RngKey(key), DType::kF64, 0.5, 3);
  }
};

TEST_F(MapOps, PointwiseByHand) {
  const Tensor x = tensor({2, 2}, {-1, 0.5, 2, 9});
  EXPECT_THAT(bench_.values(ops::pointwise(context_, x, {F::kAffine, 2, 1})),
              ElementsAre(-1, 2, 5, 19));
  EXPECT_THAT(bench_.values(ops::pointwise(context_, x, {F::kRelu, 0, 0, 6})),
              ElementsAre(0, 0.5, 2, 6));
  const std::vector<double> silu = bench_.values(ops::pointwise(context_, x, {F::kSwish}));
  EXPECT_NEAR(silu[2], 2 / (1 + std::exp(-2)), 1e-15);
  EXPECT_EQ(ops::pointwise(context_, tensor({0, 3}, {}), {F::kGelu}).shape(), Shape({0, 3}));
}

TEST_F(MapOps, PointwiseGradients) {
  const PointwiseRule rules[] = {{F::kAffine, -2, 3},
                                 {F::kRelu, 0.25, 0.1, 0.6},
                                 {F::kClip, -0.4, 0.3},
                                 {F::kElu, 1.5, 2, 0.7},
                                 {F::kHardSigmoid, 0.7, 0.45},
                                 {F::kHardSwish, 0.7, 0.45},
                                 {F::kSwish, 1.3},
                                 {F::kGelu},
                                 {F::kGeluTanh},
                                 {F::kMish},
                                 {F::kSoftplus, 2},
                                 {F::kSoftsign},
                                 {F::kLogSigmoid},
                                 {F::kExp},
                                 {F::kAbs},
                                 {F::kErf},
                                 {F::kPower, 3},
                                 {F::kPower, 0},
                                 {F::kThreshold, 0.2, 5},
                                 {F::kSoftShrink, 0.3},
                                 {F::kHardShrink, 0.3},
                                 {F::kTanhShrink}};
  for (const PointwiseRule& rule : rules) {
    EXPECT_TRUE(gradients_agree(bench_, {random({3, 7})}, [&](Context& context, Inputs in) {
      return ops::pointwise(context, in[0], rule);
    })) << name_of(rule.function);
  }
  for (const PointwiseRule& rule :
       {PointwiseRule{F::kLog}, PointwiseRule{F::kSqrt}, PointwiseRule{F::kReciprocal},
        PointwiseRule{F::kPower, -1.5}}) {
    EXPECT_TRUE(gradients_agree(bench_, {positive({3, 7})}, [&](Context& context, Inputs in) {
      return ops::pointwise(context, in[0], rule);
    })) << name_of(rule.function);
  }
}

TEST_F(MapOps, PointwiseErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::pointwise(context_, random({2}), {F::kElu, 1, 1, -2});
            }),
            "elu: c is -2: a finite f32 above 0 needed");
}

TEST_F(MapOps, BinaryByHand) {
  const Tensor a = tensor({2, 1}, {8, -6});
  const Tensor b = tensor({1, 3}, {2, -4, 1});
  const auto values = [&](BinaryFunction function) {
    const Tensor y = ops::binary(context_, function, a, b);
    EXPECT_EQ(y.shape(), Shape({2, 3}));
    return bench_.values(y);
  };
  EXPECT_THAT(values(BinaryFunction::kAdd), ElementsAre(10, 4, 9, -4, -10, -5));
  EXPECT_THAT(values(BinaryFunction::kSubtract), ElementsAre(6, 12, 7, -8, -2, -7));
  EXPECT_THAT(values(BinaryFunction::kMultiply), ElementsAre(16, -32, 8, -12, 24, -6));
  EXPECT_THAT(values(BinaryFunction::kDivide), ElementsAre(4, -2, 8, -3, 1.5, -6));
  EXPECT_THAT(values(BinaryFunction::kMaximum), ElementsAre(8, 8, 8, 2, -4, 1));
  EXPECT_THAT(values(BinaryFunction::kMinimum), ElementsAre(2, -4, 1, -6, -6, -6));
}

TEST_F(MapOps, BinaryGradients) {
  const std::pair<Shape, Shape> shapes[] = {{{3, 4}, {3, 4}},
                                            {{3, 2, 4}, {1, 1, 4}},
                                            {{3, 1, 1, 4}, {3, 2, 2, 1}},
                                            {{1, 1}, {3, 2}},
                                            {{}, {}}};
  for (const BinaryFunction function : kBinaryFunctions) {
    for (const auto& [a, b] : shapes) {
      const auto op = [&](Context& context, Inputs in) {
        return ops::binary(context, function, in[0], in[1]);
      };
      EXPECT_TRUE(gradients_agree(bench_, {positive(a), positive(b, 2)}, op))
          << name_of(function) << a.str() << b.str();
      EXPECT_TRUE(gradients_agree(bench_, {positive(b, 2), positive(a)}, op))
          << name_of(function) << b.str() << a.str();
    }
  }
}

TEST_F(MapOps, BinaryOfOneTensorTwice) {
  for (const BinaryFunction function : kBinaryFunctions) {
    EXPECT_TRUE(gradients_agree(bench_, {positive({2, 3})}, [&](Context& context, Inputs in) {
      return ops::binary(context, function, in[0], in[0]);
    })) << name_of(function);
  }
}

TEST_F(MapOps, BinaryGivesOnlyWhatIsWanted) {
  const Tensor fixed = positive({1, 4}, 2);
  for (const BinaryFunction function : kBinaryFunctions) {
    EXPECT_TRUE(gradients_agree(bench_, {positive({3, 4})}, [&](Context& context, Inputs in) {
      return ops::binary(context, function, in[0], fixed);
    })) << name_of(function);
    EXPECT_TRUE(gradients_agree(bench_, {positive({3, 1})}, [&](Context& context, Inputs in) {
      return ops::binary(context, function, fixed, in[0]);
    })) << name_of(function);
  }
}

TEST_F(MapOps, AGradientThatIsTheResultsIsNotCopied) {
  test::CountingDevice counting(bench_.device());
  const test::Workbench bench(counting);
  Tensor a = random({2, 3});
  Tensor b = random({2, 3}, 2);
  Tape tape(counting, bench.queue());
  tape.begin({});
  tape.watch(a);
  tape.watch(b);
  Context context{counting, bench.queue(), &tape, true, {}};
  tape.backward(ops::sum(context, ops::binary(context, BinaryFunction::kAdd, a, b)));
  EXPECT_THAT(bench.values(tape.gradient(a)), Each(1));
  EXPECT_THAT(bench.values(tape.gradient(b)), Each(1));
  EXPECT_EQ(counting.calls("pointwise.binary"), 1);
  EXPECT_EQ(counting.calls("pointwise.binary_backward"), 0);
}

TEST_F(MapOps, BinaryErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::binary(context_, BinaryFunction::kAdd, random({2, 3}), random({3}));
            }),
            "binary: shapes [2, 3] and [3] do not fit: as many axes, extents equal or 1 needed");
}

TEST_F(MapOps, PermuteByHand) {
  const Tensor x = tensor({1, 2, 3}, {1, 2, 3, 4, 5, 6});
  const int axes[] = {2, 0, 1};
  const Tensor y = ops::permute(context_, x, axes);
  EXPECT_EQ(y.shape(), Shape({3, 1, 2}));
  EXPECT_THAT(bench_.values(y), ElementsAre(1, 4, 2, 5, 3, 6));
}

TEST_F(MapOps, PermuteGradients) {
  const std::vector<int> orders[] = {{0, 1, 2, 3}, {0, 3, 1, 2}, {3, 0, 2, 1}, {1, 2, 3, 0}};
  for (const std::vector<int>& axes : orders) {
    EXPECT_TRUE(gradients_agree(bench_, {random({2, 3, 4, 2})}, [&](Context& context, Inputs in) {
      return ops::permute(context, in[0], axes);
    }));
  }
}

TEST_F(MapOps, PermuteErrors) {
  const int axes[] = {0, 0};
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::permute(context_, random({2, 3}), axes);
            }),
            "permute: axes [0, 0] of a tensor [2, 3]: each of its axes once needed");
}

TEST_F(MapOps, AxisMapByHand) {
  const Tensor x = tensor({2, 3, 1}, {1, 2, 4, 10, 20, 40});
  const Tensor y = ops::axis_map(context_, x, 1, mixed());
  EXPECT_EQ(y.shape(), Shape({2, 5, 1}));
  const std::vector<double> values = bench_.values(y);
  EXPECT_THAT(std::vector(values.begin(), values.begin() + 4),
              ElementsAre(-3.5, 4, DoubleNear(16.25, 1e-12), 7));
  EXPECT_NEAR(values[4], 0.6, 1e-6);
}

TEST_F(MapOps, AxisMapGradients) {
  for (const auto& [shape, axis] : {std::pair(Shape{3, 2, 2}, 0), std::pair(Shape{2, 3, 2, 2}, 1),
                                    std::pair(Shape{2, 2, 3}, 2), std::pair(Shape{3}, 0)}) {
    EXPECT_TRUE(gradients_agree(bench_, {random(shape)},
                                [axis = axis](Context& context, Inputs in) {
                                  return ops::axis_map(context, in[0], axis, mixed());
                                }))
        << shape.str();
  }
}

TEST_F(MapOps, AxisMapErrors) {
  const auto error = [&](const Shape& shape, int axis, const Rows& map) {
    return message_of<ShapeError>([&] { ops::axis_map(context_, random(shape), axis, map); });
  };
  EXPECT_EQ(error({2, 3}, 0, mixed()),
            "axis_map: x [2, 3] along axis 0: a tensor with 3 positions there needed");
  EXPECT_EQ(error({2, 3}, 2, mixed()),
            "axis_map: x [2, 3] along axis 2: a tensor with 3 positions there needed");
  EXPECT_EQ(error({2, 3}, -1, mixed()),
            "axis_map: x [2, 3] along axis -1: a tensor with 3 positions there needed");
  EXPECT_EQ(error({2, 3}, 1, nullptr), "axis_map: rows are missing");
  EXPECT_EQ(error({2, 3}, 1, rows({3, {0, 1}, {3}, {1}})),
            "axis_map: a term has source 3: in [0, 3) needed");
  EXPECT_EQ(error({2, 3}, 1, rows({3, {}, {}, {}})),
            "axis_map: -1 positions from 3, with 0 sources and 0 weights: at least one of either, "
            "begins that rise from 0 to the number of both needed");
}

TEST_F(MapOps, SoftmaxByHand) {
  const Tensor x = tensor({2, 1, 2}, {0, std::log(3), 1000, 1000});
  EXPECT_THAT(bench_.values(ops::softmax_last(context_, x)),
              ElementsAre(DoubleNear(0.25, 1e-15), DoubleNear(0.75, 1e-15), 0.5, 0.5));
  EXPECT_THAT(bench_.values(ops::softmax_last(context_, x, true)),
              ElementsAre(DoubleNear(std::log(0.25), 1e-15), DoubleNear(std::log(0.75), 1e-15),
                          -std::log(2), -std::log(2)));
}

TEST_F(MapOps, SoftmaxGradients) {
  for (const bool log : {false, true}) {
    EXPECT_TRUE(gradients_agree(bench_, {random({2, 3, 5})}, [&](Context& context, Inputs in) {
      return ops::softmax_last(context, in[0], log);
    }));
  }
}

TEST_F(MapOps, SoftmaxErrors) {
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::softmax_last(context_, random({2, 0}));
            }),
            "softmax_last: a shape [2, 0]: [..., k] with k at least 1 needed");
  EXPECT_THROW(ops::softmax_last(context_, random({})), ShapeError);
}

class MapOpsSideBySide : public MapOps {
 protected:
  MapOpsSideBySide() { context_.shards = &shards_; }

  SideBySide shards_{{1, 0, 3, 2}, {RngKey(1), RngKey(2), RngKey(3), RngKey(4)}};
};

TEST_F(MapOpsSideBySide, WhatSeesOtherRowsRefuses) {
  const Tensor matrix = random({6, 2});
  const int turned[] = {1, 0};
  const int same[] = {0, 1};
  const std::string rest = ": 4 shards stand side by side but this op takes one at a time";
  EXPECT_EQ(message_of<Error>([&] { ops::permute(context_, matrix, turned); }),
            "permute of the first axis" + rest);
  EXPECT_EQ(message_of<Error>([&] {
              ops::axis_map(context_, random({3, 6}), 0, mixed());
            }),
            "axis_map along the first axis" + rest);
  EXPECT_EQ(message_of<Error>([&] { ops::softmax_last(context_, random({6})); }),
            "softmax_last along the first axis" + rest);
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::binary(context_, BinaryFunction::kAdd, random({1, 2}), random({1, 2}));
            }),
            "binary: the shards side by side have 1 + 0 + 3 + 2 rows: none below 0 and 1 in all "
            "needed");
  EXPECT_EQ(message_of<ShapeError>(
                [&] { ops::binary(context_, BinaryFunction::kAdd, random({}), random({})); }),
            "binary: 4 shards side by side but a scalar: rows needed");
  EXPECT_NO_THROW(ops::permute(context_, matrix, same));
  EXPECT_NO_THROW(ops::pointwise(context_, matrix, {F::kGelu}));
  EXPECT_NO_THROW(ops::softmax_last(context_, matrix));
  EXPECT_NO_THROW(ops::axis_map(context_, random({6, 3}), 1, mixed()));
}

/// On the CPU, where sums in another order have other bits.
class CpuMapOpsSideBySide : public ::testing::Test {
 protected:
  struct Gradients {
    std::vector<double> x, w;
  };

  /// Of the sum of squares of x w + w, from rows `first` and following.
  [[nodiscard]] Gradients gradients(std::int64_t first, std::int64_t rows,
                                    const SideBySide* shards) const {
    const Tensor all = bench_.random({9, 5, 3}, RngKey(1), DType::kF32);
    Tensor x = all.slice(first * 15, {rows, 5, 3});
    Tensor w = bench_.random({1, 5, 1}, RngKey(2), DType::kF32);
    Tensor shift = bench_.random({1, 1, 3}, RngKey(3), DType::kF32);
    Tape tape(bench_.device(), bench_.queue());
    tape.begin({});
    tape.watch(x);
    tape.watch(w);
    tape.watch(shift);
    Context context{bench_.device(), bench_.queue(), &tape, true, {}, 1, false, shards};
    Tensor y = ops::binary(context, BinaryFunction::kMultiply, x, w);
    y = ops::binary(context, BinaryFunction::kSubtract, y, shift);
    tape.backward(ops::squared_error(context, y, 0.0, 1).loss);
    std::vector<double> parameters = bench_.values(tape.gradient(w));
    const std::vector<double> shifts = bench_.values(tape.gradient(shift));
    parameters.insert(parameters.end(), shifts.begin(), shifts.end());
    return {bench_.values(tape.gradient(x)), parameters};
  }

  test::Workbench bench_{test::cpu_device()};
};

TEST_F(CpuMapOpsSideBySide, GradientsAreThoseOfShardAfterShard) {
  const SideBySide shards{{2, 1, 4, 2}, {RngKey(1), RngKey(2), RngKey(3), RngKey(4)}};
  const Gradients together = gradients(0, 9, &shards);
  std::vector<Gradients> alone;
  std::vector<double> x;
  std::int64_t first = 0;
  for (const std::int64_t rows : shards.rows) {
    alone.push_back(gradients(first, rows, nullptr));
    x.insert(x.end(), alone.back().x.begin(), alone.back().x.end());
    first += rows;
  }
  EXPECT_EQ(together.x, x);
  const auto sum = [](double a, double b) {
    return static_cast<double>(static_cast<float>(a + b));
  };
  for (std::size_t i = 0; i < together.w.size(); ++i) {
    EXPECT_EQ(together.w[i],
              sum(sum(alone[0].w[i], alone[1].w[i]), sum(alone[2].w[i], alone[3].w[i])));
  }
  EXPECT_NE(gradients(0, 9, nullptr).w, together.w) << "one sum over all rows";
}

TEST_F(CpuMapOpsSideBySide, ParametersBesideBf16StayF32) {
  Tensor x = bench_.random({4, 3}, RngKey(1), DType::kBf16);
  Tensor w = bench_.random({1, 3}, RngKey(2), DType::kF32);
  Tape tape(bench_.device(), bench_.queue());
  tape.begin({});
  tape.watch(x);
  tape.watch(w);
  Context context{bench_.device(), bench_.queue(), &tape, true, {}};
  const Tensor y = ops::binary(context, BinaryFunction::kMultiply, w, x);
  EXPECT_EQ(y.dtype(), DType::kBf16);
  tape.backward(ops::squared_error(context, ops::out_of_network(context, y), 0.0, 1).loss);
  EXPECT_EQ(tape.gradient(x).dtype(), DType::kBf16);
  EXPECT_EQ(tape.gradient(w).dtype(), DType::kF32);
}

}  // namespace
}  // namespace gentrain
