// Convolutions with groups and dilation, and transposed ones: against the plain convolution that
// says the same, gradients against central differences in f64 on the reference device, the CPU
// against the reference, an image's bits, messages of errors.
#include <array>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/ops/conv.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/core/ops_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/gradients.h"

namespace gentrain {
namespace {

using ops::ConvOptions;
using ops::ConvTransposeOptions;
using test::gradients_agree;
using test::message_of;
using test::within;
using test::Workbench;
using ::testing::ElementsAre;
using Inputs = std::span<const Tensor>;
using Values = std::vector<double>;

class ConvOps : public Ops {};

/// Element (o, h, w, c) of weights that have channels for one group alone, as they stand in weights
/// for all channels: 0 where the two are of different groups.
Values for_all_channels(const Values& weights, const Shape& shape, std::int64_t groups) {
  const std::int64_t few = shape[3];
  const std::int64_t each = shape[0] / groups;
  const std::int64_t window = shape[1] * shape[2];
  Values result(static_cast<std::size_t>(shape.elements() * groups));
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    const std::int64_t o = i / (window * few);
    const std::int64_t tap = i / few % window;
    const std::int64_t c = o / each * few + i % few;
    result[static_cast<std::size_t>((o * window + tap) * few * groups + c)] =
        weights[static_cast<std::size_t>(i)];
  }
  return result;
}

/// Weights of one channel to one with zeros between them: kh x kw of them `dilation` apart.
Values spread(const Values& weights, std::int64_t kh, std::int64_t kw, ops::Dilation dilation) {
  const std::int64_t width = (kw - 1) * dilation.w + 1;
  Values result(static_cast<std::size_t>(((kh - 1) * dilation.h + 1) * width));
  for (std::int64_t i = 0; i < kh * kw; ++i) {
    result[static_cast<std::size_t>(i / kw * dilation.h * width + i % kw * dilation.w)] =
        weights[static_cast<std::size_t>(i)];
  }
  return result;
}

// Groups and dilation

TEST_F(ConvOps, DepthwiseByHand) {
  // Two channels, each with two results of its own.
  const Tensor x = tensor({1, 1, 2, 2}, {1, 10, 2, 20});
  const Tensor w = tensor({4, 1, 2, 1}, {1, 1, 1, -1, 2, 1, 0, 3});
  const Tensor y = ops::conv2d(context_, x, w, tensor({4}, {0, 0, 0, 0.5}), {.groups = 2});
  EXPECT_EQ(y.shape(), Shape({1, 1, 1, 4}));
  EXPECT_THAT(bench_.values(y), ElementsAre(3, -1, 40, 60.5));
}

TEST_F(ConvOps, DilationByHand) {
  const Tensor x = tensor({1, 1, 5, 1}, {1, 2, 3, 4, 5});
  const Tensor w = tensor({1, 1, 3, 1}, {1, 10, 100});
  EXPECT_THAT(bench_.values(ops::conv2d(context_, x, w, {}, {.dilation = {1, 2}})),
              ElementsAre(531));
  EXPECT_THAT(bench_.values(ops::conv2d(context_, x, w, {},
                                        {.stride = {1, 2},
                                         .padding = {0, 0, 2, 2},
                                         .activation = Activation::kRelu,
                                         .dilation = {3, 2}})),
              ElementsAre(310, 531, 53));
}

TEST_F(ConvOps, GroupsAreZerosInTheWeightsOfAllChannels) {
  for (const std::int64_t groups : {1, 2, 3, 6}) {
    const Shape shape{12, 3, 2, 6 / groups};
    const Tensor x = random({2, 5, 4, 6});
    const Tensor w = random(shape, 2);
    const Tensor bias = random({12}, 3);
    const Tensor all = tensor({12, 3, 2, 6}, for_all_channels(bench_.values(w), shape, groups));
    const ConvOptions options{
        .stride = {2, 1}, .padding = {1, 2, 0, 1}, .activation = Activation::kTanh};
    ConvOptions grouped = options;
    grouped.groups = groups;
    EXPECT_EQ(bench_.values(ops::conv2d(context_, x, w, bias, grouped)),
              bench_.values(ops::conv2d(context_, x, all, bias, options)))
        << groups << " groups";
  }
}

TEST_F(ConvOps, DilationIsZerosBetweenTheWeights) {
  const Tensor x = random({2, 7, 9, 1});
  const Tensor w = random({1, 3, 2, 1}, 2);
  for (const ops::Dilation dilation : {ops::Dilation{1, 1}, ops::Dilation{2, 3}}) {
    const Tensor wide = tensor({1, 2 * dilation.h + 1, dilation.w + 1, 1},
                               spread(bench_.values(w), 3, 2, dilation));
    const ConvOptions options{.stride = {1, 2}, .padding = {1, 2, 0, 3}};
    ConvOptions dilated = options;
    dilated.dilation = dilation;
    EXPECT_EQ(bench_.values(ops::conv2d(context_, x, w, {}, dilated)),
              bench_.values(ops::conv2d(context_, x, wide, {}, options)));
  }
}

TEST_F(ConvOps, GradientsWithGroupsAndDilation) {
  struct {
    std::int64_t c, oc, groups;
    ops::Dilation dilation;
  } const cases[] = {{4, 6, 2, {1, 1}}, {3, 6, 3, {1, 1}}, {2, 3, 1, {2, 3}}, {4, 4, 4, {2, 1}}};
  for (const auto& c : cases) {
    EXPECT_TRUE(gradients_agree(
        bench_,
        {random({2, 6, 7, c.c}), random({c.oc, 3, 2, c.c / c.groups}, 2), random({c.oc}, 3)},
        [&](Context& context, Inputs in) {
          return ops::conv2d(context, in[0], in[1], in[2],
                             {{2, 1}, {1, 2, 0, 1}, Activation::kSigmoid, c.groups, c.dilation});
        }))
        << c.groups << " groups, dilation " << c.dilation.h << " x " << c.dilation.w;
  }
}

TEST_F(ConvOps, PoolingBehindGroupsAndDilation) {
  // The CPU does not fuse these, the reference does.
  const Workbench cpu(test::cpu_device());
  Context on_cpu{cpu.device(), cpu.queue(), nullptr, false, {}};
  const ConvOptions options{.activation = Activation::kTanh, .groups = 2, .dilation = {1, 2}};
  const auto pooled = [&](Context& context, const Workbench& bench, DType dtype) {
    const Tensor x = bench.random({2, 8, 9, 4}, RngKey(1), dtype);
    const Tensor w = bench.random({6, 3, 3, 2}, RngKey(2), dtype);
    return ops::conv2d_max_pool(context, x, w, {}, options);
  };
  const Tensor fused = pooled(context_, bench_, DType::kF64);
  EXPECT_EQ(fused.shape(), Shape({2, 3, 2, 6}));
  EXPECT_TRUE(within(1e-6, fused.shape(), cpu.values(pooled(on_cpu, cpu, DType::kF32)),
                     bench_.values(fused)));
}

TEST_F(ConvOps, ErrorsOfGroupsAndDilation) {
  const Tensor x = random({2, 5, 5, 6});
  const auto error = [&](const Shape& weights, const ConvOptions& options) {
    return message_of<ShapeError>([&] { ops::conv2d(context_, x, random(weights), {}, options); });
  };
  EXPECT_EQ(error({4, 3, 3, 6}, {.groups = 2}),
            "conv2d: weights have 6 input channels for each of 2 groups but x has 6");
  EXPECT_EQ(error({4, 3, 3, 1}, {.groups = 4}),
            "conv2d: weights have 1 input channels for each of 4 groups but x has 6");
  EXPECT_EQ(error({4, 3, 3, 6}, {.groups = 0}),
            "conv2d: weights have 6 input channels for each of 0 groups but x has 6");
  EXPECT_EQ(error({4, 3, 3, 2}, {.groups = 3}),
            "convolution: oc (output channels) is 4, a multiple of the 3 groups needed");
  EXPECT_EQ(error({4, 3, 3, 6}, {.dilation = {0, 1}}),
            "convolution: dilation_h is 0, at least 1 needed");
  EXPECT_EQ(error({4, 3, 3, 6}, {.dilation = {1, 3}}),
            "convolution: the image has 5 columns with its padding, the kernel 7: no result");
  EXPECT_EQ(message_of<ShapeError>([&] {
              ops::conv2d_max_pool(context_, x, random({4, 3, 3, 6}), {}, {.groups = 2});
            }),
            "conv2d_max_pool: weights have 6 input channels for each of 2 groups but x has 6");
}

// Transposed convolution

TEST_F(ConvOps, TransposeByHand) {
  const Tensor x = tensor({1, 1, 2, 1}, {1, 10});
  const Tensor w = tensor({1, 1, 3, 1}, {1, 2, 3});
  const auto transposed = [&](const ConvTransposeOptions& options) {
    const Tensor y = ops::conv2d_transpose(context_, x, w, tensor({1}, {0.5}), options);
    EXPECT_EQ(y.shape(), Shape({1, options.to_h, options.to_w, 1}));
    return bench_.values(y);
  };
  EXPECT_THAT(transposed({.stride = {1, 2}, .to_h = 1, .to_w = 5}),
              ElementsAre(1.5, 2.5, 13.5, 20.5, 30.5));
  // A pixel more that no window covers has the bias alone.
  EXPECT_THAT(transposed({.stride = {1, 2}, .to_h = 1, .to_w = 6}),
              ElementsAre(1.5, 2.5, 13.5, 20.5, 30.5, 0.5));
  // Padding is cut off.
  EXPECT_THAT(transposed({.stride = {1, 2}, .padding = {0, 0, 1, 0}, .to_h = 1, .to_w = 4}),
              ElementsAre(2.5, 13.5, 20.5, 30.5));
  EXPECT_THAT(transposed({.dilation = {1, 2}, .to_h = 1, .to_w = 6}),
              ElementsAre(1.5, 10.5, 2.5, 20.5, 3.5, 30.5));
}

TEST_F(ConvOps, TransposeOfManyChannelsByHand) {
  // Two channels to three, without groups and from one to two in each of two.
  const Tensor x = tensor({1, 1, 1, 2}, {1, 10});
  const Tensor w = tensor({2, 1, 1, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(bench_.values(ops::conv2d_transpose(context_, x, w, tensor({3}, {100, 200, 300}),
                                                  {.to_h = 1, .to_w = 1})),
              ElementsAre(141, 252, 363));
  const Tensor few = tensor({2, 1, 1, 2}, {1, 2, 3, 4});
  EXPECT_THAT(bench_.values(
                  ops::conv2d_transpose(context_, x, few, {}, {.groups = 2, .to_h = 1, .to_w = 1})),
              ElementsAre(1, 2, 30, 40));
}

/// A transposed convolution of two images [h, w, c], weights [c, kh, kw, out / groups].
struct Transpose {
  const char* name;
  Shape x, weights;
  ConvTransposeOptions options;

  [[nodiscard]] std::int64_t out() const { return weights[3] * options.groups; }
  [[nodiscard]] Shape y() const { return {x[0], options.to_h, options.to_w, out()}; }
};

std::vector<Transpose> transposes() {
  return {
      {"stride 1", {2, 4, 5, 3}, {3, 3, 2, 2}, {.to_h = 6, .to_w = 6}},
      {"stride 1, padded",
       {2, 4, 5, 3},
       {3, 3, 3, 4},
       {.padding = {1, 1, 1, 1}, .to_h = 4, .to_w = 5}},
      {"stride 2, uneven padding",
       {2, 3, 4, 2},
       {2, 4, 3, 3},
       {.stride = {2, 2}, .padding = {1, 2, 0, 1}, .to_h = 5, .to_w = 8}},
      {"stride 3, pixels behind the last window",
       {2, 2, 3, 2},
       {2, 3, 2, 2},
       {.stride = {3, 3}, .to_h = 8, .to_w = 9}},
      {"stride 3 x 2, windows apart",
       {2, 2, 3, 2},
       {2, 1, 1, 2},
       {.stride = {3, 2}, .to_h = 5, .to_w = 6}},
      {"groups",
       {2, 3, 3, 4},
       {4, 3, 3, 3},
       {.stride = {2, 1}, .padding = {1, 1, 1, 1}, .groups = 2, .to_h = 6, .to_w = 3}},
      {"depthwise",
       {2, 3, 4, 3},
       {3, 4, 4, 1},
       {.stride = {2, 2}, .padding = {1, 1, 1, 1}, .groups = 3, .to_h = 6, .to_w = 8}},
      {"dilation",
       {2, 3, 4, 2},
       {2, 3, 2, 3},
       {.stride = {1, 2}, .padding = {1, 0, 0, 1}, .dilation = {2, 3}, .to_h = 6, .to_w = 9}},
      {"groups and dilation",
       {2, 3, 3, 2},
       {2, 2, 2, 2},
       {.stride = {2, 2}, .groups = 2, .dilation = {2, 1}, .to_h = 7, .to_w = 6}},
  };
}

/// Of that convolution whose transpose is meant.
ConvOptions convolution_of(const ConvTransposeOptions& t) {
  return {.stride = t.stride, .padding = t.padding, .groups = t.groups, .dilation = t.dilation};
}

double dot(const Values& a, const Values& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

TEST_F(ConvOps, TransposeIsThatOfTheConvolutionsMatrix) {
  for (const Transpose& t : transposes()) {
    const Tensor x = random(t.x);
    const Tensor w = random(t.weights, 2);
    const Tensor image = random(t.y(), 3);
    const Tensor y = ops::conv2d_transpose(context_, x, w, {}, t.options);
    const Tensor back = ops::conv2d(context_, image, w, {}, convolution_of(t.options));
    ASSERT_EQ(y.shape(), t.y()) << t.name;
    ASSERT_EQ(back.shape(), t.x) << t.name;
    EXPECT_NEAR(dot(bench_.values(image), bench_.values(y)),
                dot(bench_.values(back), bench_.values(x)), 1e-12)
        << t.name;
  }
}

TEST_F(ConvOps, TransposeGradients) {
  for (const Transpose& t : transposes()) {
    EXPECT_TRUE(gradients_agree(bench_, {random(t.x), random(t.weights, 2), random({t.out()}, 3)},
                                [&](Context& context, Inputs in) {
                                  return ops::conv2d_transpose(context, in[0], in[1], in[2],
                                                               t.options);
                                }))
        << t.name;
  }
  const Transpose first = transposes()[0];
  EXPECT_TRUE(gradients_agree(
      bench_, {random(first.x), random(first.weights, 2)}, [&](Context& context, Inputs in) {
        return ops::conv2d_transpose(context, in[0], in[1], {}, first.options);
      }));
}

TEST_F(ConvOps, TransposeComputesTheGradientsThatAreWanted) {
  const Transpose t = transposes()[2];
  Tensor inputs[] = {random(t.x), random(t.weights, 2), random({t.out()}, 3)};
  for (int wanted = 0; wanted < 3; ++wanted) {
    Tensor leaves[] = {inputs[0], inputs[1], inputs[2]};
    Tape tape(bench_.device(), bench_.queue());
    tape.begin({});
    tape.watch(leaves[wanted]);
    Context context{bench_.device(), bench_.queue(), &tape, true, {}};
    tape.backward(ops::sum(
        context, ops::conv2d_transpose(context, leaves[0], leaves[1], leaves[2], t.options)));
    const Tensor gradient = tape.gradient(leaves[wanted]);
    EXPECT_EQ(gradient.shape(), inputs[wanted].shape());
    if (wanted == 2) {
      // Each value of the bias is in every pixel of both images.
      EXPECT_THAT(bench_.values(gradient), ::testing::Each(2 * 5 * 8));
    }
  }
}

TEST_F(ConvOps, TransposeErrors) {
  const Tensor x = random({2, 3, 4, 6});
  const auto error = [&](const Tensor& in, const Shape& weights,
                         const ConvTransposeOptions& options, const Tensor& bias = {}) {
    return message_of<ShapeError>(
        [&] { ops::conv2d_transpose(context_, in, random(weights), bias, options); });
  };
  const ConvTransposeOptions to{.to_h = 5, .to_w = 6};
  EXPECT_EQ(error(x, {6, 3, 3, 2}, to), "nothing was thrown");
  EXPECT_EQ(error(random({3, 6}), {6, 3, 3, 2}, to),
            "conv2d_transpose: x must be [n, h, w, c] and weights [c, kh, kw, out / groups], but "
            "they are [3, 6] and [6, 3, 3, 2]");
  EXPECT_EQ(error(x, {6, 9}, to),
            "conv2d_transpose: x must be [n, h, w, c] and weights [c, kh, kw, out / groups], but "
            "they are [2, 3, 4, 6] and [6, 9]");
  EXPECT_EQ(error(x, {6, 0, 3, 2}, to), "conv2d_transpose: weights [6, 0, 3, 2] have no elements");
  EXPECT_EQ(error(x, {2, 3, 3, 6}, to),
            "conv2d_transpose: weights have 2 input channels but x has 6");
  for (const std::int64_t groups : {0, 4, 12}) {
    EXPECT_EQ(error(x, {6, 3, 3, 2}, {.groups = groups, .to_h = 5, .to_w = 6}),
              "conv2d_transpose: " + std::to_string(groups) +
                  " groups do not divide the 6 channels of x");
  }
  EXPECT_EQ(error(x, {6, 3, 3, 2}, {.groups = 3, .to_h = 5, .to_w = 6}, random({2})),
            "conv2d_transpose: bias must have shape [6] but has [2]");
  EXPECT_EQ(error(x, {6, 3, 3, 2}, {.to_h = 5}),
            "conv2d_transpose: a result of 5 x 0 pixels, at least 1 x 1 needed");
  EXPECT_EQ(error(x, {6, 3, 3, 2}, {.stride = {2, 1}, .to_h = 6, .to_w = 6}),
            "conv2d_transpose: a convolution of 6 x 6 pixels gives 2 x 4, but x has 3 x 4");
  EXPECT_EQ(error(x, {6, 3, 3, 2}, {.stride = {0, 1}, .to_h = 5, .to_w = 6}),
            "convolution: stride_h is 0, at least 1 needed");
  EXPECT_EQ(error(x, {6, 3, 3, 2}, {.padding = {-1, 0, 0, 0}, .to_h = 5, .to_w = 6}),
            "convolution: padding top is -1, at least 0 needed");
  EXPECT_EQ(error(random({0, 3, 4, 6}), {6, 3, 3, 2}, to),
            "convolution: n (images) is 0, at least 1 needed");
}

// On the CPU

/// A result and the gradients of the sum of its squares with respect to x, weights and bias.
using Outcome = std::array<Tensor, 4>;

/// `function` of inputs that it draws, on the CPU; on tensors of bf16 or f32, or f64 elsewhere.
class OnCpu : public ConvOps {
 protected:
  struct Drawn {
    Shape x, weights, bias;
  };

  template <class Function>
  static Outcome run(const Workbench& bench, DType dtype, bool bf16, const Drawn& drawn,
                     Function function) {
    Tensor x = bench.random(drawn.x, RngKey(1), dtype);
    Tensor w = bench.random(drawn.weights, RngKey(2), dtype);
    Tensor bias = bench.random(drawn.bias, RngKey(3), dtype);
    Tape tape(bench.device(), bench.queue());
    tape.begin({});
    for (Tensor* leaf : {&x, &w, &bias}) {
      tape.watch(*leaf);
    }
    Context context{bench.device(), bench.queue(), &tape, true, {}};
    context.bf16 = bf16;
    const Tensor y = function(context, ops::into_network(context, x), w, bias);
    EXPECT_EQ(y.dtype(), bf16 ? DType::kBf16 : dtype);
    const Tensor wide = ops::out_of_network(context, y);
    tape.backward(ops::squared_error(context, wide, 0.0, 1.0).loss);
    return {wide, tape.gradient(x), tape.gradient(w), tape.gradient(bias)};
  }

  Workbench cpu_{test::cpu_device()};
};

TEST_F(OnCpu, TransposesAgreeWithTheReference) {
  std::vector<Transpose> cases = transposes();
  cases.push_back({"wide",
                   {2, 7, 6, 64},
                   {64, 4, 4, 32},
                   {.stride = {2, 2}, .padding = {1, 1, 1, 1}, .to_h = 14, .to_w = 12}});
  cases.push_back({"by Winograd's method",
                   {2, 12, 11, 32},
                   {32, 3, 3, 40},
                   {.padding = {1, 1, 1, 1}, .to_h = 12, .to_w = 11}});
  for (const Transpose& t : cases) {
    const Drawn drawn{t.x, t.weights, {t.out()}};
    const auto function = [&](Context& context, const Tensor& x, const Tensor& w,
                              const Tensor& bias) {
      return ops::conv2d_transpose(context, x, w, bias, t.options);
    };
    const Outcome expected = run(bench_, DType::kF64, false, drawn, function);
    const Outcome actual = run(cpu_, DType::kF32, false, drawn, function);
    const Outcome narrow = run(cpu_, DType::kF32, true, drawn, function);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const Shape& shape = expected[i].shape();
      const Values values = bench_.values(expected[i]);
      EXPECT_TRUE(within(1e-5, shape, cpu_.values(actual[i]), values)) << t.name << " " << i;
      EXPECT_EQ(narrow[i].dtype(), DType::kF32);
      EXPECT_TRUE(within(0.03, shape, cpu_.values(narrow[i]), values)) << t.name << " " << i;
      EXPECT_NE(cpu_.values(narrow[i]), cpu_.values(actual[i])) << t.name << " " << i;
    }
  }
}

TEST_F(OnCpu, AnImagesBitsDoNotDependOnOthers) {
  using Function = std::function<Tensor(Context&, const Tensor&)>;
  const Tensor grouped = cpu_.random({48, 3, 3, 16}, RngKey(2), DType::kF32);
  const Tensor depthwise = cpu_.random({32, 3, 3, 1}, RngKey(3), DType::kF32);
  const Tensor wide = cpu_.random({24, 3, 3, 32}, RngKey(4), DType::kF32);
  const Tensor turned = cpu_.random({32, 4, 4, 12}, RngKey(5), DType::kF32);
  const Tensor bias = cpu_.random({12}, RngKey(6), DType::kF32);
  const std::pair<const char*, Function> cases[] = {
      {"groups",
       [&](Context& context, const Tensor& x) {
         return ops::conv2d(context, x, grouped, {}, {.groups = 2});
       }},
      {"depthwise",
       [&](Context& context, const Tensor& x) {
         return ops::conv2d(context, x, depthwise, {},
                            {.stride = {2, 2}, .padding = {1, 1, 1, 1}, .groups = 32});
       }},
      {"dilation",
       [&](Context& context, const Tensor& x) {
         return ops::conv2d(context, x, wide, {}, {.padding = {2, 2, 2, 2}, .dilation = {2, 2}});
       }},
      {"transposed", [&](Context& context, const Tensor& x) {
         return ops::conv2d_transpose(
             context, x, turned, bias,
             {.stride = {2, 2}, .padding = {1, 1, 1, 1}, .to_h = 18, .to_w = 22});
       }}};
  const Tensor images = cpu_.random({5, 9, 11, 32}, RngKey(1), DType::kF32);
  const Tensor third = images.slice(2 * 9 * 11 * 32, {1, 9, 11, 32});
  for (const auto& [name, function] : cases) {
    const auto run = [&, &function = function](Tensor x) {
      Tape tape(cpu_.device(), cpu_.queue());
      tape.begin({});
      tape.watch(x);
      Context context{cpu_.device(), cpu_.queue(), &tape, true, {}};
      const Tensor y = function(context, x);
      tape.backward(ops::squared_error(context, y, 0.0, 1.0).loss);
      return std::pair(cpu_.values(y), cpu_.values(tape.gradient(x)));
    };
    const auto [y, dx] = run(images);
    const auto [y_alone, dx_alone] = run(third);
    const auto part = [](const Values& of_five, std::ptrdiff_t image) {
      const auto each = static_cast<std::ptrdiff_t>(of_five.size() / 5);
      return Values(of_five.begin() + image * each, of_five.begin() + (image + 1) * each);
    };
    EXPECT_EQ(part(y, 2), y_alone) << name;
    EXPECT_EQ(part(dx, 2), dx_alone) << name;
    EXPECT_NE(part(y, 1), y_alone) << name << ": another image";
    EXPECT_NE(part(dx, 1), dx_alone) << name << ": another image";
  }
}

}  // namespace
}  // namespace gentrain
