// Networks on bf16 tensors: what goes in and comes out, and gradients near those of f32.
#include <array>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/context.h"
#include "core/ops/norm.h"
#include "core/ops/ops.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using ::testing::ElementsAre;

class Bf16Ops : public ::testing::Test {
 protected:
  Tensor random(const Shape& shape, std::uint64_t key, double low = -1) const {
    return bench_.random(shape, RngKey(key), DType::kF32, low);
  }

  /// One of each op that takes bf16; the loss is the sum of squares of its result.
  Tensor network(Context& context, std::span<const Tensor> in) const {
    Tensor x = ops::into_network(context, in[0]);
    EXPECT_EQ(x.dtype(), context.bf16 ? DType::kBf16 : DType::kF32);
    const Tensor first = ops::conv2d(context, x, in[1], in[2], {.padding = {1, 1, 1, 1}});
    x = ops::batch_norm(context, first, {in[3], in[4], in[5], in[6]},
                        {.activation = Activation::kRelu, .slope = 0.1}, first);
    x = ops::prelu(context, x, in[7]);
    x = ops::pixel_shuffle(context, x, 2, Activation::kRelu);
    x = ops::leaky_relu(context, x, 0.2);
    x = ops::max_pool2d(context, x, {2, 2}, {2, 2});
    x = ops::add(context, x, ops::scale(context, ops::multiply(context, x, x), 0.3),
                 Activation::kTanh);
    x = ops::average_pool2d(context, x, {2, 2}, {2, 2});
    x = ops::dropout(context, x, 0.2, 1);
    x = ops::linear(context, ops::reshape(context, x, {3, 8}), in[8], in[9], Activation::kSigmoid);
    const Tensor y = ops::out_of_network(context, x);
    EXPECT_EQ(y.dtype(), DType::kF32);
    return ops::squared_error(context, y, 0.0, 1.0).loss;
  }

  std::vector<Tensor> gradients(bool bf16) {
    std::vector<Tensor> in = {random({3, 4, 8, 2}, 1), random({4, 3, 3, 2}, 2), random({4}, 3),
                              random({4}, 4, 0.5),     random({4}, 5),          random({4}, 6),
                              random({4}, 7, 0.5),     random({4}, 8),          random({5, 8}, 9),
                              random({5}, 10)};
    Tape tape(bench_.device(), bench_.queue());
    Context context{bench_.device(), bench_.queue(), &tape, true, RngKey(3)};
    context.bf16 = bf16;
    tape.begin({});
    for (Tensor& tensor : in) {
      tape.watch(tensor);
    }
    tape.backward(network(context, in));
    std::vector<Tensor> result;
    for (const Tensor& tensor : in) {
      result.push_back(tape.gradient(tensor));
    }
    return result;
  }

  test::Workbench bench_{test::cpu_device()};
};

TEST_F(Bf16Ops, RoundOnTheWayInAndAreF32OnTheWayOut) {
  Context context{bench_.device(), bench_.queue(), nullptr, false, {}};
  const Tensor x = bench_.tensor({3}, std::array{1.0, 1.001, -3.3}, DType::kF32);
  EXPECT_EQ(ops::into_network(context, x).data(), x.data());
  EXPECT_EQ(ops::out_of_network(context, x).data(), x.data());
  context.bf16 = true;
  const Tensor narrow = ops::into_network(context, x);
  EXPECT_EQ(ops::into_network(context, narrow).data(), narrow.data());
  EXPECT_EQ(narrow.bytes(), 6);
  EXPECT_THAT(bench_.values(ops::out_of_network(context, narrow)),
              ElementsAre(1.0, 1.0, -3.296875));
}

TEST_F(Bf16Ops, GradientsAreFloatsNearThoseOfF32) {
  const std::vector<Tensor> wide = gradients(false);
  const std::vector<Tensor> narrow = gradients(true);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    EXPECT_EQ(narrow[i].dtype(), DType::kF32) << i;
    const std::vector<double> a = bench_.values(wide[i]);
    const std::vector<double> b = bench_.values(narrow[i]);
    double apart = 0;
    double size = 0;
    for (std::size_t k = 0; k < a.size(); ++k) {
      apart += (a[k] - b[k]) * (a[k] - b[k]);
      size += a[k] * a[k];
    }
    EXPECT_GT(apart, 0) << "input " << i;
    // A rounding is 0.2 %; the sums of few rows cancel.
    EXPECT_LT(std::sqrt(apart / size), 0.2) << "input " << i;
  }
}

}  // namespace
}  // namespace gentrain
