// What every backend must refuse, with the message: geometries without a result, empty batches,
// views of another shape or type, views that are missing.
#include <array>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "kernels/update.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::message_of;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr ConvGeometry kConv{.n = 2, .h = 6, .w = 6, .c = 3, .oc = 4, .kh = 3, .kw = 3};
constexpr PoolGeometry kPool{
    .n = 2, .h = 6, .w = 6, .c = 3, .kh = 2, .kw = 2, .stride_h = 2, .stride_w = 2};

std::string refusal(const ConvGeometry& g) {
  return message_of<ShapeError>([&] { check(g); });
}
std::string refusal(const PoolGeometry& g) {
  return message_of<ShapeError>([&] { check(g); });
}

/// A geometry with one member changed.
template <class Geometry>
Geometry with(Geometry g, std::int64_t Geometry::*member, std::int64_t value) {
  g.*member = value;
  return g;
}

TEST(ConvGeometryCheck, NamesWhatIsTooSmall) {
  EXPECT_NO_THROW(check(kConv));
  using G = ConvGeometry;
  EXPECT_EQ(refusal(with(kConv, &G::n, 0)), "convolution: n (images) is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kConv, &G::h, 0)), "convolution: h (rows) is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kConv, &G::w, -1)), "convolution: w (columns) is -1, at least 1 needed");
  EXPECT_EQ(refusal(with(kConv, &G::c, 0)),
            "convolution: c (input channels) is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kConv, &G::oc, 0)),
            "convolution: oc (output channels) is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kConv, &G::kh, 0)),
            "convolution: kh (kernel rows) is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kConv, &G::stride_w, 0)), "convolution: stride_w is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kConv, &G::top, -1)), "convolution: padding top is -1, at least 0 needed");
  EXPECT_EQ(refusal(with(kConv, &G::left, -1)),
            "convolution: padding left is -1, at least 0 needed");
}

TEST(ConvGeometryCheck, RefusesExtentsThatWouldOverflow) {
  using G = ConvGeometry;
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(refusal(with(kConv, &G::h, kLargest)),
            "convolution: h (rows) is 9223372036854775807, at most 576460752303423488 supported");
  // The padded image would be a small one again.
  EXPECT_EQ(
      refusal(with(with(kConv, &G::top, kLargest), &G::bottom, kLargest)),
      "convolution: padding top is 9223372036854775807, at most 576460752303423488 supported");
  const ConvGeometry wide =
      with(with(kConv, &G::h, std::int64_t{1} << 32), &G::w, std::int64_t{1} << 32);
  EXPECT_NO_THROW(check(wide));
  EXPECT_EQ(
      message_of<ShapeError>([&] { [[maybe_unused]] const Shape shape = wide.x_shape(); }),
      "shape [2, 4294967296, 4294967296, 3] has too many elements: at most 576460752303423488 "
      "are supported");
}

TEST(ConvGeometryCheck, RefusesAKernelBeyondTheImage) {
  const std::string message =
      "convolution: the image has 6 rows with its padding, the kernel 7: no result";
  EXPECT_EQ(refusal(with(kConv, &ConvGeometry::kh, 7)), message);
  // (6 - 7) / 2 is 0 in C++, whose division rounds towards zero: the extents alone look right.
  ConvGeometry strided = with(kConv, &ConvGeometry::kh, 7);
  strided.stride_h = 2;
  EXPECT_EQ(refusal(strided), message);
  EXPECT_EQ(refusal(with(kConv, &ConvGeometry::kw, 9)),
            "convolution: the image has 6 columns with its padding, the kernel 9: no result");
}

TEST(PoolGeometryCheck, NamesWhatIsTooSmall) {
  EXPECT_NO_THROW(check(kPool));
  using G = PoolGeometry;
  EXPECT_EQ(refusal(with(kPool, &G::n, 0)), "pooling: n (images) is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kPool, &G::kw, 0)),
            "pooling: kw (window columns) is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kPool, &G::stride_h, 0)), "pooling: stride_h is 0, at least 1 needed");
  EXPECT_EQ(refusal(with(kPool, &G::c, 0)), "pooling: c (channels) is 0, at least 1 needed");
}

TEST(PoolGeometryCheck, RefusesExtentsThatWouldOverflow) {
  using G = PoolGeometry;
  const PoolGeometry padded = with(kPool, &G::top, 1);
  EXPECT_EQ(refusal(with(padded, &G::h, std::numeric_limits<std::int64_t>::max())),
            "pooling: h (rows) is 9223372036854775807, at most 576460752303423488 supported");
}

TEST(PoolGeometryCheck, RefusesWindowsThatAreTooLarge) {
  using G = PoolGeometry;
  EXPECT_EQ(refusal(with(kPool, &G::kh, 7)),
            "pooling: the image has 6 rows with its padding, the window 7: no result");
  EXPECT_EQ(refusal(with(kPool, &G::kw, 7)),
            "pooling: the image has 6 columns with its padding, the window 7: no result");
  EXPECT_EQ(refusal(with(kPool, &G::kh, 128)),
            "pooling: a window of 128 x 2 pixels, at most 255 are supported");
}

TEST(PoolGeometryCheck, RefusesPaddingThatCouldFillAWindow) {
  EXPECT_EQ(refusal(with(kPool, &PoolGeometry::left, 2)),
            "pooling: padding left is 2, less than the window's 2 needed");
  EXPECT_EQ(refusal(with(kPool, &PoolGeometry::bottom, -1)),
            "pooling: padding bottom is -1, at least 0 needed");
}

class Refusals : public test::OnBothDevices {
 protected:
  [[nodiscard]] Tensor f32(const Shape& shape) const { return bench_.full(shape, 0, DType::kF32); }
  [[nodiscard]] Tensor f64(const Shape& shape) const { return bench_.full(shape, 0, DType::kF64); }
  [[nodiscard]] Tensor u8(const Shape& shape) const { return bench_.full(shape, 0, DType::kU8); }
  [[nodiscard]] Tensor i32(const Shape& shape) const { return bench_.full(shape, 0, DType::kI32); }
  [[nodiscard]] Device& device() const { return bench_.device(); }
  [[nodiscard]] Queue& queue() const { return bench_.queue(); }

  Tensor x_ = f32(kConv.x_shape());
  Tensor w_ = f32(kConv.w_shape());
  Tensor y_ = f32(kConv.y_shape());
};

INSTANTIATE_TEST_SUITE_P(Devices, Refusals,
                         ::testing::Values(&test::cpu_device, &test::reference_device),
                         test::name_of_device);

TEST_P(Refusals, Convolution) {
  const auto forward = [&](const ConvGeometry& g, ConstView x, ConstView bias, View y) {
    return message_of<ShapeError>(
        [&] { device().conv().forward(queue(), g, x, w_.weights(), bias, Activation::kNone, y); });
  };
  const ConvGeometry empty = with(kConv, &ConvGeometry::n, 0);
  EXPECT_THAT(forward(empty, f32({0, 6, 6, 3}).cview(), {}, f32({0, 4, 4, 4}).view()),
              HasSubstr("n (images) is 0"));
  EXPECT_THAT(forward(kConv, f32({2, 6, 3, 6}).cview(), {}, y_.view()),
              HasSubstr("x has shape [2, 6, 3, 6]: [2, 6, 6, 3] needed"));
  EXPECT_THAT(forward(kConv, f64(kConv.x_shape()).cview(), {}, y_.view()),
              HasSubstr("x has type f64: f32 needed"));
  EXPECT_THAT(forward(kConv, {}, {}, y_.view()), HasSubstr("x is missing"));
  EXPECT_THAT(forward(kConv, x_.cview(), f32({3}).cview(), y_.view()),
              HasSubstr("bias has shape [3]: [4] needed"));
  EXPECT_THAT(forward(kConv, x_.cview(), {}, f32({2, 6, 6, 4}).view()),
              HasSubstr("y has shape [2, 6, 6, 4]: [2, 4, 4, 4] needed"));
}

TEST_P(Refusals, ConvolutionGradients) {
  const auto data = [&](ConstView dy, const Weights& w, View dx) {
    return message_of<ShapeError>(
        [&] { device().conv().backward_data(queue(), kConv, dy, w, dx); });
  };
  EXPECT_THAT(data(x_.cview(), w_.weights(), x_.view()), HasSubstr("dy has shape [2, 6, 6, 3]"));
  EXPECT_THAT(data(y_.cview(), x_.weights(), x_.view()), HasSubstr("w has shape [2, 6, 6, 3]"));
  EXPECT_THAT(data(y_.cview(), w_.weights(), y_.view()), HasSubstr("dx has shape [2, 4, 4, 4]"));
  const auto weights = [&](ConstView x, ConstView dy, View dw, View dbias) {
    return message_of<ShapeError>(
        [&] { device().conv().backward_weights(queue(), kConv, x, dy, dw, dbias); });
  };
  EXPECT_THAT(weights(y_.cview(), y_.cview(), w_.view(), {}), HasSubstr("x has shape"));
  EXPECT_THAT(weights(x_.cview(), y_.cview(), x_.view(), {}), HasSubstr("dw has shape"));
  EXPECT_THAT(weights(x_.cview(), y_.cview(), w_.view(), f32({5}).view()),
              HasSubstr("dbias has shape [5]: [4] needed"));
}

TEST_P(Refusals, FusedPoolingThatWouldLeaveNoWindow) {
  // A result of one row.
  const ConvGeometry g{.n = 2, .h = 5, .w = 12, .c = 6, .oc = 12, .kh = 5, .kw = 5};
  EXPECT_FALSE(device().conv().fuses_max_pool(g));
  EXPECT_THROW(device().conv().pool_forward(
                   queue(), g, f32(g.x_shape()).cview(), f32(g.w_shape()).weights(), {},
                   Activation::kNone, {f32(g.pooled_shape()).view(), u8(g.pooled_shape()).view()}),
               ShapeError);
}

TEST_P(Refusals, FusedPooling) {
  // The CPU fuses the convolutions of LeNet.
  const ConvGeometry g{.n = 2, .h = 12, .w = 12, .c = 6, .oc = 12, .kh = 5, .kw = 5};
  const Tensor x = f32(g.x_shape());
  const Tensor w = f32(g.w_shape());
  const Shape pooled{2, 4, 4, 12};
  const auto forward = [&](const Tensor& y, const Tensor& argmax) {
    return message_of<ShapeError>([&] {
      device().conv().pool_forward(queue(), g, x.cview(), w.weights(), {}, Activation::kNone,
                                   {y.view(), argmax.view()});
    });
  };
  EXPECT_THAT(forward(f32({2, 8, 8, 12}), u8(pooled)), HasSubstr("y has shape [2, 8, 8, 12]"));
  EXPECT_THAT(forward(f32(pooled), f32(pooled)), HasSubstr("argmax has type f32: u8 needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                device().conv().pool_backward_data(queue(), g, f32(pooled).cview(),
                                                   u8({2, 4, 4, 6}).cview(), w.weights(), x.view());
              }),
              HasSubstr("argmax has shape [2, 4, 4, 6]: [2, 4, 4, 12] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                device().conv().pool_backward_weights(queue(), g, x.cview(),
                                                      f32({2, 4, 4, 6}).cview(), u8(pooled).cview(),
                                                      w.view(), {});
              }),
              HasSubstr("dp has shape [2, 4, 4, 6]: [2, 4, 4, 12] needed"));
}

TEST_P(Refusals, Pooling) {
  const Tensor x = f32(kPool.x_shape());
  const Tensor y = f32(kPool.y_shape());
  const Tensor argmax = u8(kPool.y_shape());
  PoolKernels& pool = device().pool();
  EXPECT_THAT(message_of<ShapeError>([&] {
                pool.max_forward(queue(), with(kPool, &PoolGeometry::n, 0), x.cview(), y.view(),
                                 argmax.view());
              }),
              HasSubstr("n (images) is 0"));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { pool.max_forward(queue(), kPool, x.cview(), y.view(), y.view()); }),
              HasSubstr("argmax has type f32: u8 needed"));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { pool.max_backward(queue(), kPool, x.cview(), argmax.cview(), x.view()); }),
              HasSubstr("dy has shape [2, 6, 6, 3]: [2, 3, 3, 3] needed"));
  EXPECT_THAT(
      message_of<ShapeError>([&] { pool.average_forward(queue(), kPool, x.cview(), x.view()); }),
      HasSubstr("y has shape [2, 6, 6, 3]: [2, 3, 3, 3] needed"));
  EXPECT_THAT(
      message_of<ShapeError>([&] { pool.average_backward(queue(), kPool, y.cview(), y.view()); }),
      HasSubstr("dx has shape [2, 3, 3, 3]: [2, 6, 6, 3] needed"));
}

TEST_P(Refusals, DenseLayers) {
  const Tensor x = f32({2, 3});
  const Tensor w = f32({4, 3});
  const Tensor y = f32({2, 4});
  MatmulKernels& matmul = device().matmul();
  const auto forward = [&](const Tensor& in, const Tensor& weights, const Tensor& out) {
    return message_of<ShapeError>([&] {
      matmul.linear_forward(queue(), in.cview(), weights.weights(), {}, Activation::kNone,
                            out.view(), {});
    });
  };
  EXPECT_THAT(forward(x, f32({4, 5}), y), HasSubstr(": [4, 3] needed"));
  EXPECT_THAT(forward(x, w, f32({2, 5})), HasSubstr("y has shape [2, 5]: [2, 4] needed"));
  EXPECT_THAT(forward(x, f64({4, 3}), y), HasSubstr("w has type f64: f32 needed"));
  EXPECT_THAT(forward(f32({0, 3}), w, f32({0, 4})), HasSubstr("[0, 3]"));
  EXPECT_THAT(
      message_of<ShapeError>([&] {
        matmul.linear_backward_data(queue(), y.cview(), w.weights(), f32({2, 4}).view(), {});
      }),
      HasSubstr("dx has shape [2, 4]: [2, 3] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                matmul.linear_backward_weights(queue(), x.cview(), y.cview(), w.view(),
                                               f32({3}).view(), {});
              }),
              HasSubstr("dbias has shape [3]: [4] needed"));
}

TEST_P(Refusals, ShardsSideBySide) {
  const Tensor x = f32({4, 3});
  const Tensor w = f32({2, 3});
  const Tensor y = f32({4, 2});
  MatmulKernels& matmul = device().matmul();
  using Rows = std::vector<std::int64_t>;
  const auto messages = [&](const Rows& rows) {
    return std::array{
        message_of<ShapeError>([&] {
          matmul.linear_forward(queue(), x.cview(), w.weights(), {}, Activation::kNone, y.view(),
                                rows);
        }),
        message_of<ShapeError>(
            [&] { matmul.linear_backward_data(queue(), y.cview(), w.weights(), x.view(), rows); }),
        message_of<ShapeError>([&] {
          matmul.linear_backward_weights(queue(), x.cview(), y.cview(), w.view(), {}, rows);
        })};
  };
  EXPECT_THAT(messages({1, 1, 2}),
              Each(HasSubstr("3 shards side by side: a power of two up to 64 needed")));
  EXPECT_THAT(messages(Rows(128, 0)), Each(HasSubstr("128 shards side by side")));
  EXPECT_THAT(messages({2, 3}), Each(HasSubstr("the shards side by side have 2 + 3 rows: none "
                                               "below 0 and 4 in all needed")));
  EXPECT_THAT(messages({5, -1}), Each(HasSubstr("have 5 + -1 rows")));
}

TEST_P(Refusals, Pointwise) {
  const Tensor four = f32({4});
  const Tensor three = f32({3});
  ElementwiseKernels& elementwise = device().elementwise();
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { elementwise.add(queue(), four.cview(), three.cview(), four.view()); }),
              HasSubstr("b has 3 elements (shape [3]): 4 needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                elementwise.multiply(queue(), f64({4}).cview(), four.cview(), four.view());
              }),
              HasSubstr("a has type f64: f32 needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                elementwise.activate(queue(), Activation::kTanh, ConstView{}, four.view());
              }),
              HasSubstr("x is missing"));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { elementwise.cast_u8(queue(), four.cview(), 1, 0, four.view()); }),
              HasSubstr("x has type f32: u8 needed"));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { elementwise.leaky_relu(queue(), 0.2, three.cview(), four.view()); }),
              HasSubstr("x has 3 elements (shape [3]): 4 needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                elementwise.leaky_relu_backward(queue(), 0.2, four.cview(), three.cview(),
                                                four.view());
              }),
              HasSubstr(" has 3 elements (shape [3]): 4 needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                elementwise.add_activate(queue(), Activation::kRelu, three.cview(), four.cview(),
                                         four.view());
              }),
              HasSubstr("a has 3 elements (shape [3]): 4 needed"));
  EXPECT_NO_THROW(elementwise.add(queue(), four.cview(), f32({2, 2}).cview(), four.view()))
      << "as many elements suffice";
}

TEST_P(Refusals, Reductions) {
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { device().reduce().sum(queue(), f32({5}).cview(), f32({2}).view()); }),
              HasSubstr("y has 2 elements (shape [2]): 1 needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                device().reduce().square_sums(queue(), f32({4097}).cview(), f64({1}).view());
              }),
              HasSubstr("blocks has"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                device().reduce().square_sums(queue(), f32({5}).cview(), f32({1}).view());
              }),
              HasSubstr("blocks has type f32: f64 needed"));
  EXPECT_THAT(
      message_of<ShapeError>([&] { device().reduce().all_finite(queue(), u8({5}).cview()); }),
      HasSubstr("type u8"));
}

TEST_P(Refusals, Losses) {
  const Tensor logits = f32({2, 3});
  const Tensor labels = i32({2});
  LossKernels& loss = device().loss();
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.softmax_cross_entropy(queue(), logits.cview(), f32({2}).cview(), {},
                                           logits.view(), f32({2}).view());
              }),
              HasSubstr("labels has type f32: i32 needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.softmax_cross_entropy(queue(), logits.cview(), i32({3}).cview(), {},
                                           logits.view(), f32({2}).view());
              }),
              HasSubstr("labels has shape [3]: [2] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.softmax_cross_entropy(queue(), logits.cview(), labels.cview(),
                                           f32({3}).cview(), logits.view(), f32({2}).view());
              }),
              HasSubstr("weights has shape [3]: [2] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.softmax_cross_entropy_backward(queue(), f32({2, 3}).cview(), labels.cview(),
                                                    f32({3}).cview(), 1, logits.view());
              }),
              HasSubstr("weights has shape [3]: [2] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.softmax(queue(), f32({0, 3}).cview(), f32({0, 3}).view());
              }),
              HasSubstr("[0, 3]"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.softmax_cross_entropy_backward(queue(), f32({2, 4}).cview(), labels.cview(),
                                                    {}, 1, logits.view());
              }),
              HasSubstr(" needed"));
}

TEST_P(Refusals, LossesOfGenerativeModels) {
  LossKernels& loss = device().loss();
  const Tensor x = f32({2, 3});
  EXPECT_THAT(
      message_of<ShapeError>([&] {
        loss.sigmoid_cross_entropy(queue(), x.cview(), f32({2, 4}).cview(), f32({2}).view());
      }),
      HasSubstr("targets has shape [2, 4]: [2, 3] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.sigmoid_cross_entropy(queue(), x.cview(), x.cview(), f32({3}).view());
              }),
              HasSubstr("losses has shape [3]: [2] needed"));
  EXPECT_THAT(
      message_of<ShapeError>([&] {
        loss.sigmoid_cross_entropy_backward(queue(), x.cview(), x.cview(), 1, f32({3, 2}).view());
      }),
      HasSubstr("[3, 2]"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.gaussian_sample(queue(), x.cview(), x.cview(), x.view(), f32({2}).view());
              }),
              HasSubstr("latent has shape [2, 3]: [2, 6] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.gaussian_sample_backward(queue(), f32({2, 6}).cview(), x.cview(), x.cview(), 1,
                                              x.view());
              }),
              HasSubstr("dlatent has shape [2, 3]: [2, 6] needed"));
}

TEST_P(Refusals, SquaredErrors) {
  LossKernels& loss = device().loss();
  const Tensor x = f32({2, 3});
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.squared_error(queue(), x.cview(), f32({3, 2}).cview(), f32({2}).view());
              }),
              HasSubstr("target has shape [3, 2]: [2, 3] needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.squared_error(queue(), f32({6}).cview(), f32({6}).cview(), f32({2}).view());
              }),
              HasSubstr("[6]"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                loss.squared_error_backward(queue(), x.cview(), x.cview(), 1, f32({6}).view());
              }),
              HasSubstr("dx has shape [6]: [2, 3] needed"));
}

TEST_P(Refusals, RandomTensors) {
  const Tensor y = f32({4});
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { device().random().uniform(queue(), RngKey(1), 0, 1, u8({4}).view()); }),
              HasSubstr("type u8"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                device().random().dropout(queue(), RngKey(1), 0.5, f32({5}).cview(), y.view());
              }),
              HasSubstr("x has"));
}

TEST_P(Refusals, Updates) {
  const Tensor w = f32({4});
  UpdateKernels& update = device().update();
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { update.sgd(queue(), {.lr = 1}, f32({3}).cview(), {}, w.view()); }),
              HasSubstr("gradient has 3 elements (shape [3]): 4 needed"));
  EXPECT_THAT(message_of<ShapeError>([&] {
                update.sgd(queue(), {.lr = 1, .momentum = 0.9}, w.cview(), {}, w.view());
              }),
              HasSubstr("velocity is missing"));
  EXPECT_THAT(message_of<ShapeError>(
                  [&] { update.adam(queue(), {.lr = 1}, w.cview(), {}, w.view(), w.view()); }),
              HasSubstr(" is missing"));
  EXPECT_EQ(message_of<ShapeError>([&] {
              update.adam(queue(), {.step = 0}, w.cview(), w.view(), w.view(), w.view());
            }),
            "adam: step 0: steps count from 1");
}

}  // namespace
}  // namespace gentrain
