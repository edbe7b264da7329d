// The wide tables against the narrow one: what is computed element by element has the same bits,
// sums agree within their rounding.
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <utility>

#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "tests/kernels/cpu_tables.h"
#include "tests/support/noise.h"

namespace gentrain {
namespace {

using test::floats;

constexpr std::int64_t kCount = 1003;
constexpr int kTanh = static_cast<int>(Activation::kTanh);

std::vector<float> empty(std::int64_t count) {
  return std::vector<float>(static_cast<std::size_t>(count));
}

class Wide : public ::testing::TestWithParam<test::TableCase> {
 protected:
  /// What `compute` makes of the narrow table and of this one.
  template <class Compute>
  void expect_same(Compute compute) const {
    EXPECT_EQ(compute(*GetParam().table), compute(simd::v3::kernels()));
  }
};

TEST_P(Wide, PointwiseRoutines) {
  const std::vector<float> a = floats(kCount, 1, -6, 6);
  const std::vector<float> b = floats(kCount, 2, -6, 6);
  std::vector<std::uint8_t> bytes(kCount);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(i * 37);
  }
  std::vector<float> y = empty(kCount);
  for (int activation = 0; activation < 4; ++activation) {
    expect_same([&](const simd::Kernels& table) {
      table.elementwise.activate(activation, a.data(), y.data(), kCount);
      return y;
    });
    expect_same([&](const simd::Kernels& table) {
      table.elementwise.activate_backward(activation, a.data(), b.data(), y.data(), kCount);
      return y;
    });
  }
  expect_same([&](const simd::Kernels& table) {
    table.elementwise.add(a.data(), b.data(), y.data(), kCount);
    table.elementwise.multiply(y.data(), b.data(), y.data(), kCount);
    table.elementwise.scale(0.3F, y.data(), y.data(), kCount);
    return y;
  });
  expect_same([&](const simd::Kernels& table) {
    table.elementwise.fill(0.1F, y.data(), kCount);
    return y;
  });
  expect_same([&](const simd::Kernels& table) {
    table.elementwise.cast_u8(bytes.data(), 0.01F, -0.3F, y.data(), kCount);
    return y;
  });
}

TEST_P(Wide, Rectifiers) {
  const std::vector<float> a = floats(kCount, 1, -6, 6);
  const std::vector<float> b = floats(kCount, 2, -6, 6);
  std::vector<float> y = empty(kCount);
  expect_same([&](const simd::Kernels& table) {
    table.elementwise.leaky_relu(0.2F, a.data(), y.data(), kCount);
    table.elementwise.leaky_relu_backward(0.2F, y.data(), b.data(), y.data(), kCount);
    return y;
  });
  for (int activation = 0; activation < 4; ++activation) {
    expect_same([&](const simd::Kernels& table) {
      table.elementwise.add_activate(activation, a.data(), b.data(), y.data(), kCount);
      return y;
    });
  }
}

TEST_P(Wide, BatchNormalization) {
  // Sums too: each channel has a lane of its own.
  const std::int64_t rows = 301;
  const std::int64_t c = 37;
  const std::vector<float> x = floats(rows * c, 17);
  const std::vector<float> dy = floats(rows * c, 18);
  const std::vector<float> gamma = floats(c, 19, -1, 2);
  expect_same([&](const simd::Kernels& table) {
    const auto bytes = static_cast<std::size_t>(table.norm.scratch_bytes(c));
    void* scratch = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    std::vector<float> all = empty(3 * rows * c + 5 * c);
    float* mean = all.data() + 3 * rows * c;
    float* y = all.data();
    float* dx = y + rows * c;
    table.norm.statistics(x.data(), rows, c, mean, mean + c, scratch);
    table.norm.normalize(
        {rows, c, x.data(), mean, mean + c, gamma.data(), nullptr, dy.data(), 1e-3F, 0.2F, y},
        scratch);
    table.norm.normalize_backward(
        {rows, c, x.data(), y, dy.data(), mean, mean + c, gamma.data(), 1e-3F, 0.2F, true, dx,
         mean + 2 * c, mean + 3 * c, dx + rows * c},
        scratch);
    table.norm.prelu(y, gamma.data(), rows, c, y);
    table.norm.prelu_backward({rows, c, x.data(), gamma.data(), dx, dx, mean + 4 * c}, scratch);
    std::free(scratch);
    return all;
  });
}

TEST_P(Wide, PixelShuffle) {
  for (const std::int64_t r : {2, 3}) {
    const simd::ShuffleShape s = {2, 3, 4, 37, r};
    const std::int64_t count = s.n * s.h * s.w * s.c * r * r;
    const std::vector<float> x = floats(count, 20);
    std::vector<float> y = empty(count);
    std::vector<float> dx = empty(count);
    expect_same([&](const simd::Kernels& table) {
      table.pixel.shuffle(s, 0, x.data(), y.data());
      table.pixel.shuffle_backward(s, 0, y.data(), x.data(), dx.data());
      return std::pair(y, dx);
    });
  }
}

TEST_P(Wide, RandomTensors) {
  const simd::RandomStream stream = {{1, 2}, {3, 4}};
  const std::vector<float> x = floats(kCount, 3);
  std::vector<float> y = empty(kCount);
  expect_same([&](const simd::Kernels& table) {
    table.random.uniform(stream, -2, 3, y.data(), kCount);
    return y;
  });
  expect_same([&](const simd::Kernels& table) {
    table.random.normal(stream, 1, 2, y.data(), kCount);
    return y;
  });
  expect_same([&](const simd::Kernels& table) {
    table.random.dropout(stream, 0.7F, x.data(), y.data(), kCount);
    return y;
  });
}

TEST_P(Wide, Pooling) {
  const simd::PoolShape s = {2, 7, 6, 19, 4, 3, 3, 3, 2, 2, 1, 1};
  const std::vector<float> x = floats(s.n * s.h * s.w * s.c, 4);
  const std::int64_t results = s.n * s.oh * s.ow * s.c;
  const std::vector<float> dy = floats(results, 5);
  std::vector<float> y = empty(results);
  std::vector<float> dx = empty(s.n * s.h * s.w * s.c);
  std::vector<std::uint8_t> argmax(static_cast<std::size_t>(results));
  expect_same([&](const simd::Kernels& table) {
    table.pool.max_forward(s, x.data(), y.data(), argmax.data());
    return std::pair(y, argmax);
  });
  expect_same([&](const simd::Kernels& table) {
    table.pool.max_backward(s, dy.data(), argmax.data(), dx.data());
    return dx;
  });
  expect_same([&](const simd::Kernels& table) {
    table.pool.average_forward(s, x.data(), y.data());
    return y;
  });
  expect_same([&](const simd::Kernels& table) {
    table.pool.average_backward(s, dy.data(), dx.data());
    return dx;
  });
}

TEST_P(Wide, MatrixProducts) {
  const std::int64_t n = 45;
  const std::int64_t k = 50;
  const std::int64_t m = 75;
  const std::vector<float> x = floats(n * k, 6);
  const std::vector<float> w = floats(k * m, 7);
  const std::vector<float> bias = floats(m, 8);
  std::vector<float> y = empty(n * m);
  expect_same([&](const simd::Kernels& table) {
    table.gemm.multiply({n, m, k, x.data(), k, 1, w.data(), m, bias.data(), kTanh, y.data()});
    return y;
  });
}

TEST_P(Wide, Sums) {
  const std::int64_t count = 10001;
  const std::vector<float> x = floats(count, 9);
  const simd::ReduceTable& wide = GetParam().table->reduce;
  const simd::ReduceTable& narrow = simd::v3::kernels().reduce;
  EXPECT_NEAR(wide.sum(x.data(), count), narrow.sum(x.data(), count), 1e-3);
  double wide_blocks[3];
  double narrow_blocks[3];
  wide.square_sums(x.data(), count, wide_blocks);
  narrow.square_sums(x.data(), count, narrow_blocks);
  for (int block = 0; block < 3; ++block) {
    EXPECT_NEAR(wide_blocks[block], narrow_blocks[block], 1e-9);
  }
  std::vector<float> bad = x;
  EXPECT_TRUE(wide.all_finite(bad.data(), count));
  bad.back() = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(wide.all_finite(bad.data(), count));
}

TEST_P(Wide, CrossEntropy) {
  const std::int64_t n = 37;
  const std::int64_t k = 19;
  const std::vector<float> logits = floats(n * k, 10, -5, 5);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    labels[i] = static_cast<std::int32_t>(i * 7 % 19);
  }
  std::vector<float> narrow = empty(n * k);
  std::vector<float> wide = empty(n * k);
  float narrow_sums[2];
  float wide_sums[2];
  simd::v3::kernels().loss.softmax_cross_entropy(logits.data(), labels.data(), nullptr, n, k,
                                                 narrow.data(), narrow_sums);
  GetParam().table->loss.softmax_cross_entropy(logits.data(), labels.data(), nullptr, n, k,
                                               wide.data(), wide_sums);
  EXPECT_NEAR(wide_sums[0], narrow_sums[0], 1e-4);
  EXPECT_EQ(wide_sums[1], narrow_sums[1]);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    ASSERT_NEAR(wide[i], narrow[i], 3e-7F * narrow[i]) << i;
  }
}

TEST_P(Wide, LossesOfGenerativeModels) {
  const std::int64_t n = 5;
  const std::int64_t k = 19;
  const std::vector<float> latent = floats(2 * n * k, 14, -3, 3);
  const std::vector<float> noise = floats(n * k, 15, -3, 3);
  const std::vector<float> targets = floats(n * k, 16, 0, 1);
  const auto run = [&](const simd::LossTable& table) {
    std::vector<float> all = empty(8 * n * k);
    float* at = all.data();
    table.gaussian_sample(latent.data(), noise.data(), n, k, at, at + n * k);
    table.gaussian_sample_backward(latent.data(), noise.data(), targets.data(), 0.5F, n, k,
                                   at + 2 * n * k);
    table.sigmoid_cross_entropy(noise.data(), targets.data(), n, k, at + 4 * n * k);
    table.sigmoid_cross_entropy_backward(noise.data(), targets.data(), 0.5F, n * k, at + 5 * n * k);
    table.squared_error(noise.data(), targets.data(), n, k, at + 6 * n * k);
    table.squared_error_backward(noise.data(), targets.data(), 0.5F, n * k, at + 7 * n * k);
    return all;
  };
  const std::vector<float> narrow = run(simd::v3::kernels().loss);
  const std::vector<float> wide = run(GetParam().table->loss);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    ASSERT_NEAR(wide[i], narrow[i], 1e-6F * (1 + std::abs(narrow[i]))) << i;
  }
}

TEST_P(Wide, FusedConvolution) {
  const simd::ConvPoolShape s = {3, 12, 12, 6, 12, 5, 5};
  ASSERT_TRUE(GetParam().table->conv_pool.takes(s));
  const std::int64_t pooled = s.n * 4 * 4 * s.oc;
  const std::vector<float> x = floats(s.n * s.h * s.w * s.c, 11);
  const std::vector<float> w = floats(s.oc * s.kh * s.kw * s.c, 12);
  const std::vector<float> dp = floats(pooled, 13);
  const auto run = [&](const simd::ConvPoolTable& table) {
    const auto bytes = static_cast<std::size_t>(table.scratch_bytes(s) + 64);
    void* scratch = std::aligned_alloc(64, bytes / 64 * 64);
    std::vector<float> y = empty(pooled);
    std::vector<float> dx = empty(s.n * s.h * s.w * s.c);
    std::vector<float> dw = empty(s.oc * s.kh * s.kw * s.c);
    std::vector<std::uint8_t> argmax(y.size());
    table.forward(s, x.data(), w.data(), nullptr, kTanh, y.data(), argmax.data(), scratch);
    table.backward_data(s, dp.data(), argmax.data(), w.data(), dx.data(), scratch);
    table.backward_weights(s, x.data(), dp.data(), argmax.data(), dw.data(), nullptr, scratch);
    std::free(scratch);
    y.insert(y.end(), dx.begin(), dx.end());
    y.insert(y.end(), dw.begin(), dw.end());
    return y;
  };
  const std::vector<float> wide = run(GetParam().table->conv_pool);
  const std::vector<float> narrow = run(simd::v3::kernels().conv_pool);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    ASSERT_NEAR(wide[i], narrow[i], 2e-5F) << i;
  }
}

std::vector<test::TableCase> wide_tables() {
  std::vector<test::TableCase> tables = test::runnable_tables();
  tables.erase(tables.begin());
  return tables;
}

INSTANTIATE_TEST_SUITE_P(Tables, Wide, ::testing::ValuesIn(wide_tables()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gentrain
