// bf16 on the CPU: conversions by the definition of the nearest, and every routine that takes bf16
// against itself in f32 on the same values, rounded.
#include <cmath>
#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/pixel.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "tests/support/bf16.h"
#include "tests/support/conformance.h"

namespace gentrain {
namespace {

using test::message_of;
using test::nearest_bf16;
using test::random_values;
using test::Result;
using test::value_of;
using Values = std::vector<double>;

Values rounded(Values values) {
  for (double& value : values) {
    value = value_of(nearest_bf16(value));
  }
  return values;
}

TEST(NearestBf16, IsTheNearestWithTiesToEven) {
  EXPECT_EQ(nearest_bf16(1.0).bits, 0x3f80);
  EXPECT_EQ(nearest_bf16(-2.5).bits, 0xc020);
  EXPECT_EQ(nearest_bf16(1.0 + 1.0 / 256).bits, 0x3f80);
  EXPECT_EQ(nearest_bf16(1.0 + 3.0 / 256).bits, 0x3f82);
  EXPECT_EQ(nearest_bf16(1.0 + 1.0 / 256 + 1e-12).bits, 0x3f81);
  EXPECT_EQ(nearest_bf16(3.4e38).bits, 0x7f80);
  EXPECT_EQ(nearest_bf16(3.39e38).bits, 0x7f7f);
  EXPECT_EQ(nearest_bf16(-std::numeric_limits<double>::infinity()).bits, 0xff80);
  EXPECT_EQ(nearest_bf16(1e-45).bits, 0);
  EXPECT_EQ(nearest_bf16(1e-40).bits, 1);
  EXPECT_TRUE(std::isnan(value_of(nearest_bf16(std::nan("")))));
}

class CpuBf16 : public test::Conformance {
 protected:
  /// The elements of a tensor of one type as those of another.
  [[nodiscard]] static Values cast(const test::Workbench& bench, const Values& values, DType from,
                                   DType to) {
    const Shape shape{static_cast<std::int64_t>(values.size())};
    const Result y(bench, shape, to, 3);
    bench.device().elementwise().cast(bench.queue(), bench.tensor(shape, values, from).cview(),
                                      y.view());
    return y.values();
  }

  /// What a call reads and writes, in one type.
  class Call {
   public:
    Call(const test::Workbench& bench, DType type) : bench_(bench), type_(type) {}

    /// An image or rows.
    ConstView read(const Shape& shape, std::uint64_t key, double low = -2, double high = 3) {
      return keep(shape, rounded(random_values(shape.elements(), RngKey(key), low, high)), type_);
    }
    /// Values per channel, biases.
    ConstView floats(const Shape& shape, std::uint64_t key, double low = -1, double high = 1) {
      return keep(shape, random_values(shape.elements(), RngKey(key), low, high), DType::kF32);
    }
    /// Weights of a product: rounded in f32, for the routine to round in bf16.
    Weights weights(const Shape& shape, std::uint64_t key) {
      Values values = random_values(shape.elements(), RngKey(key));
      if (type_ == DType::kF32) {
        values = rounded(std::move(values));
      }
      return {keep(shape, values, DType::kF32), 0};
    }
    View write(const Shape& shape) { return result(shape, type_); }
    View write_floats(const Shape& shape) { return result(shape, DType::kF32); }
    View write_bytes(const Shape& shape) { return result(shape, DType::kU8); }

    [[nodiscard]] const test::Workbench& bench() const { return bench_; }
    [[nodiscard]] const std::vector<Result>& results() const { return results_; }

   private:
    ConstView keep(const Shape& shape, const Values& values, DType type) {
      kept_.push_back(bench_.tensor(shape, values, type));
      return kept_.back().cview();
    }
    View result(const Shape& shape, DType type) {
      results_.emplace_back(bench_, shape, type, 1);
      return results_.back().view();
    }

    const test::Workbench& bench_;
    DType type_;
    std::vector<Tensor> kept_;
    std::vector<Result> results_;
  };

  /// Runs a routine in both types.
  void expect_rounded_f32(const char* what, const std::function<void(Call&)>& routine) const {
    Call narrow(cpu_, DType::kBf16);
    Call wide(cpu_, DType::kF32);
    routine(narrow);
    routine(wide);
    for (std::size_t i = 0; i < narrow.results().size(); ++i) {
      const Values values = narrow.results()[i].values();
      const Values floats = wide.results()[i].values();
      const bool is_bf16 = narrow.results()[i].tensor().dtype() == DType::kBf16;
      EXPECT_EQ(values, is_bf16 ? rounded(floats) : floats) << what << ", result " << i;
      EXPECT_TRUE(!is_bf16 || values != floats || floats.size() < 4) << what << ", result " << i;
    }
  }
};

TEST_F(CpuBf16, CastRoundsToTheNearest) {
  Values values = random_values(4099, RngKey(1), -3, 3);
  for (const int exponent : {-140, -133, -126, 100, 127}) {
    for (const double fraction : {1.0, 1.00390625, 1.01171875, 1.0039063, 1.99609375, 1.998}) {
      values.push_back(static_cast<double>(static_cast<float>(std::ldexp(fraction, exponent))));
      values.push_back(-values.back());
    }
  }
  for (const double special : {0.0, -0.0, std::numeric_limits<double>::infinity(), 3.4e38}) {
    values.push_back(static_cast<double>(static_cast<float>(special)));
  }
  EXPECT_EQ(cast(cpu_, values, DType::kF32, DType::kBf16), rounded(values));
  EXPECT_EQ(cast(reference_, values, DType::kF32, DType::kBf16), rounded(values));
  const Values nan = cast(cpu_, {std::nan(""), 1.0}, DType::kF32, DType::kBf16);
  EXPECT_TRUE(std::isnan(nan[0]));
  EXPECT_EQ(nan[1], 1.0);
}

TEST_F(CpuBf16, EveryBf16SurvivesTheWayToF32AndBack) {
  Values values;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const double value = value_of({static_cast<std::uint16_t>(bits)});
    if (!std::isnan(value)) {
      values.push_back(value);
    }
  }
  EXPECT_EQ(cast(cpu_, values, DType::kBf16, DType::kF32), values);
  EXPECT_EQ(cast(cpu_, values, DType::kF32, DType::kBf16), values);
}

TEST_F(CpuBf16, Convolutions) {
  for (const ConvGeometry& g :
       {ConvGeometry{.n = 2, .h = 9, .w = 7, .c = 5, .oc = 6, .kh = 3, .kw = 2, .top = 1},
        ConvGeometry{.n = 2,
        .h = 9,
        .w = 8,
        .c = 6,
        .oc = 4,
        .kh = 3,
        .kw = 3,
        .stride_h = 2,
        .groups = 2,
        .dilation_w = 2},
        ConvGeometry{.n = 4,
        .h = 24,
        .w = 24,
        .c = 64,
        .oc = 64,
        .kh = 3,
        .kw = 3,
        .top = 1,
        .bottom = 1,
        .left = 1,
        .right = 1}}) {
    const auto& kernels = [](Call& call) -> ConvKernels& { return call.bench().device().conv(); };
    expect_rounded_f32("forward", [&](Call& call) {
      kernels(call).forward(call.bench().queue(), g, call.read(g.x_shape(), 1),
                            call.weights(g.w_shape(), 2), call.floats({g.oc}, 3), Activation::kTanh,
                            call.write(g.y_shape()));
    });
    expect_rounded_f32("backward data", [&](Call& call) {
      kernels(call).backward_data(call.bench().queue(), g, call.read(g.y_shape(), 1),
                                  call.weights(g.w_shape(), 2), call.write(g.x_shape()));
    });
    expect_rounded_f32("backward weights", [&](Call& call) {
      kernels(call).backward_weights(call.bench().queue(), g, call.read(g.x_shape(), 1),
                                     call.read(g.y_shape(), 2), call.write_floats(g.w_shape()),
                                     call.write_floats({g.oc}));
    });
  }
}

TEST_F(CpuBf16, ConvolutionsFusedWithPooling) {
  const ConvGeometry g{.n = 3, .h = 12, .w = 12, .c = 2, .oc = 6, .kh = 5, .kw = 5};
  ConvKernels& kernels = cpu_.device().conv();
  ASSERT_TRUE(kernels.fuses_max_pool(g));
  expect_rounded_f32("forward", [&](Call& call) {
    const View y = call.write(g.pooled_shape());
    kernels.pool_forward(call.bench().queue(), g, call.read(g.x_shape(), 1),
                         call.weights(g.w_shape(), 2), call.floats({g.oc}, 3), Activation::kTanh,
                         {y, call.write_bytes(g.pooled_shape())});
  });
  const std::vector<double> picks(static_cast<std::size_t>(g.pooled_shape().elements()), 3.0);
  const Tensor argmax = cpu_.tensor(g.pooled_shape(), picks, DType::kU8);
  expect_rounded_f32("backward data", [&](Call& call) {
    kernels.pool_backward_data(call.bench().queue(), g, call.read(g.pooled_shape(), 1),
                               argmax.cview(), call.weights(g.w_shape(), 2),
                               call.write(g.x_shape()));
  });
  expect_rounded_f32("backward weights", [&](Call& call) {
    kernels.pool_backward_weights(call.bench().queue(), g, call.read(g.x_shape(), 1),
                                  call.read(g.pooled_shape(), 2), argmax.cview(),
                                  call.write_floats(g.w_shape()), call.write_floats({g.oc}));
  });
}

TEST_F(CpuBf16, Pooling) {
  const PoolGeometry g{
      .n = 2, .h = 9, .w = 8, .c = 5, .kh = 3, .kw = 3, .stride_h = 2, .stride_w = 2};
  PoolKernels& kernels = cpu_.device().pool();
  std::vector<double> picks;  // the pixel that two neighbours share
  for (std::int64_t i = 0; i < g.y_shape().elements(); ++i) {
    picks.push_back(i / g.c % g.ow() % 2 == 0 ? 2.0 : 0.0);
  }
  const Tensor argmax = cpu_.tensor(g.y_shape(), picks, DType::kU8);
  // The largest of some values is one of them: nothing is rounded, so the types are compared here.
  const Values x = rounded(random_values(g.x_shape().elements(), RngKey(1)));
  std::vector<Values> largest;
  for (const DType type : {DType::kF32, DType::kBf16}) {
    const Result y(cpu_, g.y_shape(), type);
    const Result places(cpu_, g.y_shape(), DType::kU8);
    kernels.max_forward(cpu_.queue(), g, cpu_.tensor(g.x_shape(), x, type).cview(), y.view(),
                        places.view());
    largest.push_back(y.values());
    largest.push_back(places.values());
  }
  EXPECT_EQ(largest[0], largest[2]);
  EXPECT_EQ(largest[1], largest[3]);
  expect_rounded_f32("max backward", [&](Call& call) {
    kernels.max_backward(call.bench().queue(), g, call.read(g.y_shape(), 1), argmax.cview(),
                         call.write(g.x_shape()));
  });
  expect_rounded_f32("average forward", [&](Call& call) {
    kernels.average_forward(call.bench().queue(), g, call.read(g.x_shape(), 1),
                            call.write(g.y_shape()));
  });
  expect_rounded_f32("average backward", [&](Call& call) {
    kernels.average_backward(call.bench().queue(), g, call.read(g.y_shape(), 1),
                             call.write(g.x_shape()));
  });
}

TEST_F(CpuBf16, DenseLayers) {
  const std::int64_t n = 5;
  const std::int64_t k = 33;
  const std::int64_t m = 18;
  MatmulKernels& kernels = cpu_.device().matmul();
  expect_rounded_f32("forward", [&](Call& call) {
    kernels.linear_forward(call.bench().queue(), call.read({n, k}, 1), call.weights({m, k}, 2),
                           call.floats({m}, 3), Activation::kSigmoid, call.write({n, m}), {});
  });
  expect_rounded_f32("backward data", [&](Call& call) {
    kernels.linear_backward_data(call.bench().queue(), call.read({n, m}, 1),
                                 call.weights({m, k}, 2), call.write({n, k}), {});
  });
  expect_rounded_f32("backward weights", [&](Call& call) {
    kernels.linear_backward_weights(call.bench().queue(), call.read({n, k}, 1),
                                    call.read({n, m}, 2), call.write_floats({m, k}),
                                    call.write_floats({m}), {});
  });
}

TEST_F(CpuBf16, RoundedWeightsFollowTheirVersion) {
  const Tensor x = cpu_.tensor({1, 2}, Values{1, 0}, DType::kBf16);
  const Tensor w = cpu_.tensor({1, 2}, Values{1.001, 5}, DType::kF32);
  w.buffer().mark_changed();
  const Result y(cpu_, {1, 1}, DType::kBf16);
  const auto compute = [&] {
    cpu_.device().matmul().linear_forward(cpu_.queue(), x.cview(), w.weights(), {},
                                          Activation::kNone, y.view(), {});
    return y.values()[0];
  };
  EXPECT_EQ(compute(), 1.0);
  copy_from_host<float>(cpu_.device(), cpu_.queue(), std::vector<float>{3, 5}, w);
  EXPECT_EQ(compute(), 1.0) << "nobody said that the weights changed";
  w.buffer().mark_changed();
  EXPECT_EQ(compute(), 3.0);
}

TEST_F(CpuBf16, PointwiseFunctions) {
  ElementwiseKernels& kernels = cpu_.device().elementwise();
  // More than one piece, and a rest.
  const Shape shape{2, 2051};
  using Two = std::function<void(Queue&, ConstView, ConstView, View)>;
  const auto two = [&](const char* what, const Two& routine) {
    expect_rounded_f32(what, [&](Call& call) {
      routine(call.bench().queue(), call.read(shape, 1), call.read(shape, 2), call.write(shape));
    });
  };
  for (const Activation activation : {Activation::kTanh, Activation::kSigmoid}) {
    two("activate", [&](Queue& queue, ConstView x, ConstView, View y) {
      kernels.activate(queue, activation, x, y);
    });
    two("activate backward", [&](Queue& queue, ConstView y, ConstView dy, View dx) {
      kernels.activate_backward(queue, activation, y, dy, dx);
    });
    two("add and activate", [&](Queue& queue, ConstView a, ConstView b, View y) {
      kernels.add_activate(queue, activation, a, b, y);
    });
  }
  two("leaky relu",
      [&](Queue& queue, ConstView x, ConstView, View y) { kernels.leaky_relu(queue, 0.3, x, y); });
  two("leaky relu backward", [&](Queue& queue, ConstView y, ConstView dy, View dx) {
    kernels.leaky_relu_backward(queue, 0.3, y, dy, dx);
  });
  two("add", [&](Queue& queue, ConstView a, ConstView b, View y) { kernels.add(queue, a, b, y); });
  two("multiply",
      [&](Queue& queue, ConstView a, ConstView b, View y) { kernels.multiply(queue, a, b, y); });
  two("scale",
      [&](Queue& queue, ConstView x, ConstView, View y) { kernels.scale(queue, 0.7, x, y); });
  two("fill", [&](Queue& queue, ConstView, ConstView, View y) { kernels.fill(queue, 0.7, y); });
}

TEST_F(CpuBf16, DestinationMayBeASource) {
  const Tensor x = cpu_.tensor({3}, Values{1, 2, -4}, DType::kBf16);
  cpu_.device().elementwise().add(cpu_.queue(), x.cview(), x.cview(), x.view());
  EXPECT_EQ(cpu_.values(x), (Values{2, 4, -8}));
}

TEST_F(CpuBf16, Normalisation) {
  const Shape shape{3, 5, 7, 6};
  const Shape c{6};
  NormKernels& kernels = cpu_.device().norm();
  expect_rounded_f32("statistics", [&](Call& call) {
    const View mean = call.write_floats(c);
    kernels.statistics(call.bench().queue(), call.read(shape, 1), mean, call.write_floats(c));
  });
  const NormRule rule{.epsilon = 1e-3, .slope = 0.2, .of_batch = true};
  expect_rounded_f32("normalize", [&](Call& call) {
    kernels.normalize(call.bench().queue(), rule,
                      {call.read(shape, 1), call.floats(c, 2), call.floats(c, 3, 0.5, 2),
                       call.floats(c, 4), call.floats(c, 5), call.read(shape, 6)},
                      call.write(shape));
  });
  expect_rounded_f32("normalize backward", [&](Call& call) {
    const NormGradients results{call.write(shape), call.write_floats(c), call.write_floats(c),
                                call.write(shape)};
    kernels.normalize_backward(call.bench().queue(), rule,
                               {call.read(shape, 1), call.read(shape, 2), call.read(shape, 3),
                                call.floats(c, 4), call.floats(c, 5, 0.5, 2), call.floats(c, 6)},
                               results);
  });
  expect_rounded_f32("prelu", [&](Call& call) {
    kernels.prelu(call.bench().queue(), call.read(shape, 1), call.floats(c, 2), call.write(shape));
  });
  expect_rounded_f32("prelu backward", [&](Call& call) {
    const View dx = call.write(shape);
    kernels.prelu_backward(call.bench().queue(), call.read(shape, 1), call.floats(c, 2),
                           call.read(shape, 3), dx, call.write_floats(c));
  });
}

TEST_F(CpuBf16, Pixels) {
  PixelKernels& kernels = cpu_.device().pixel();
  expect_rounded_f32("shuffle", [&](Call& call) {
    kernels.shuffle(call.bench().queue(), 2, 0.3, call.read({2, 3, 4, 12}, 1),
                    call.write({2, 6, 8, 3}));
  });
  expect_rounded_f32("shuffle backward", [&](Call& call) {
    kernels.shuffle_backward(call.bench().queue(), 2, 0.3, call.read({2, 6, 8, 3}, 1),
                             call.read({2, 6, 8, 3}, 2), call.write({2, 3, 4, 12}));
  });
  expect_rounded_f32("gaussian shrink", [&](Call& call) {
    kernels.gaussian_shrink(call.bench().queue(), 4, 1.5, call.read({3, 16, 5}, 1),
                            call.write({3, 4, 5}));
  });
}

TEST_F(CpuBf16, Channels) {
  // Nothing is rounded where values are moved only, so the types are compared here.
  PixelKernels& kernels = cpu_.device().pixel();
  const Values x = rounded(random_values(3 * 2 * 4, RngKey(1)));
  std::vector<Values> moved;
  for (const DType type : {DType::kF32, DType::kBf16}) {
    const Result wide(cpu_, {3, 2, 8}, type, 1);
    const Result back(cpu_, {3, 2, 5}, type, 1);
    const Tensor few = cpu_.tensor({3, 2, 4}, x, type);
    kernels.put_channels(cpu_.queue(), 0, few.cview(), wide.view());
    kernels.put_channels(cpu_.queue(), 4, few.cview(), wide.view());
    kernels.take_channels(cpu_.queue(), 2, wide.view(), back.view());
    moved.push_back(wide.values());
    moved.push_back(back.values());
  }
  EXPECT_EQ(moved[0], moved[2]);
  EXPECT_EQ(moved[1], moved[3]);
  const Tensor floats = cpu_.tensor({3, 2, 4}, x, DType::kF32);
  const Tensor narrow = cpu_.tensor({3, 2, 4}, x, DType::kBf16);
  EXPECT_EQ(message_of<ShapeError>(
                [&] { kernels.put_channels(cpu_.queue(), 0, narrow.cview(), floats.view()); }),
            "put channels: y has type f32: bf16 needed");
}

TEST_F(CpuBf16, DropoutAndReductions) {
  expect_rounded_f32("dropout", [&](Call& call) {
    call.bench().device().random().dropout(call.bench().queue(), RngKey(9), 0.7,
                                           call.read({4, 33}, 1), call.write({4, 33}));
  });
  ReduceKernels& kernels = cpu_.device().reduce();
  const Values x = rounded(random_values(5000, RngKey(3)));
  std::vector<Values> sums;
  for (const DType type : {DType::kF32, DType::kBf16}) {
    const Result blocks(cpu_, {2}, DType::kF64);
    kernels.square_sums(cpu_.queue(), cpu_.tensor({5000}, x, type).cview(), blocks.view());
    sums.push_back(blocks.values());
  }
  EXPECT_EQ(sums[0], sums[1]);
  const auto finite = [&](double value) {
    return kernels.all_finite(cpu_.queue(),
                              cpu_.tensor({2}, Values{1, value}, DType::kBf16).cview());
  };
  EXPECT_TRUE(finite(3e38));
  EXPECT_FALSE(finite(std::numeric_limits<double>::infinity()));
}

TEST_F(CpuBf16, TypesAreNotMixed) {
  const Tensor narrow = cpu_.full({2, 2}, 1, DType::kBf16);
  const Tensor wide = cpu_.full({2, 2}, 1, DType::kF32);
  Queue& queue = cpu_.queue();
  Device& device = cpu_.device();
  EXPECT_EQ(message_of<ShapeError>([&] {
              device.matmul().linear_forward(queue, narrow.cview(), wide.weights(), {},
                                             Activation::kNone, wide.view(), {});
            }),
            "linear forward: y has type f32: bf16 needed, as other arguments have it");
  EXPECT_EQ(message_of<ShapeError>([&] {
              device.matmul().linear_forward(queue, narrow.cview(), narrow.weights(), {},
                                             Activation::kNone, narrow.view(), {});
            }),
            "linear forward: w has type bf16: f32 needed");
  EXPECT_EQ(message_of<ShapeError>([&] {
              device.elementwise().add(queue, narrow.cview(), wide.cview(), narrow.view());
            }),
            "add: b has type f32: bf16 needed");
  EXPECT_EQ(message_of<ShapeError>(
                [&] { device.elementwise().cast(queue, narrow.cview(), narrow.view()); }),
            "cast: x has type bf16: f32 needed");
  EXPECT_EQ(
      message_of<ShapeError>([&] { device.loss().softmax(queue, narrow.cview(), narrow.view()); }),
      "softmax: logits has type bf16: f32 needed");
}

}  // namespace
}  // namespace gentrain
