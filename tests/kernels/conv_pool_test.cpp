// The fused convolution and max pooling of each instruction set against plain loops in double, over
// odd shapes. Every buffer ends at an unreadable page, and so does the scratch.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "kernels/activation.h"
#include "tests/kernels/cpu_tables.h"
#include "tests/support/noise.h"

namespace gentrain::simd {
namespace {

using test::Noise;

constexpr std::size_t kPage = 4096;

// Elements that end at a page which cannot be touched; the bytes before them hold a pattern.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t count)
      : count_(static_cast<std::size_t>(count)),
        pages_((count_ * sizeof(T) + kPage) / kPage * kPage + kPage) {
    base_ = static_cast<unsigned char*>(
        mmap(nullptr, pages_ + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(static_cast<void*>(base_), MAP_FAILED);
    EXPECT_EQ(mprotect(base_ + pages_, kPage, PROT_NONE), 0);
    std::memset(base_, 0x7B, pages_ - count_ * sizeof(T));
    std::memset(data(), 0xFF, count_ * sizeof(T));  // NaN
  }
  ~Guarded() {
    for (std::size_t i = 0; i < pages_ - count_ * sizeof(T); ++i) {
      if (base_[i] != 0x7B) {
        ADD_FAILURE() << "written " << pages_ - count_ * sizeof(T) - i << " bytes before the start";
        break;
      }
    }
    munmap(base_, pages_ + kPage);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() const { return reinterpret_cast<T*>(base_ + pages_) - count_; }
  T& operator[](std::int64_t i) const { return data()[i]; }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(count_); }

 private:
  std::size_t count_;
  std::size_t pages_;
  unsigned char* base_;
};

void fill(Noise& noise, const Guarded<float>& to) {
  for (std::int64_t i = 0; i < to.size(); ++i) {
    to[i] = noise.real();
  }
}

std::int64_t ph(const ConvPoolShape& s) {
  return (s.h - s.kh + 1) / 2;
}
std::int64_t pw(const ConvPoolShape& s) {
  return (s.w - s.kw + 1) / 2;
}
std::int64_t image(const ConvPoolShape& s) {
  return s.h * s.w * s.c;
}
std::int64_t pooled(const ConvPoolShape& s) {
  return ph(s) * pw(s) * s.oc;
}

std::string str(const ConvPoolShape& s) {
  std::string text;
  for (const std::int64_t v : {s.n, s.h, s.w, s.c, s.oc, s.kh, s.kw}) {
    text += std::to_string(v) + " ";
  }
  return "n h w c oc kh kw = " + text;
}

// All arguments of the three routines, filled with noise.
struct Arguments {
  explicit Arguments(const ConvPoolShape& shape, std::uint32_t seed = 1)
      : s(shape),
        x(s.n * image(s)),
        w(s.oc * s.kh * s.kw * s.c),
        bias(s.oc),
        y(s.n * pooled(s)),
        dp(s.n * pooled(s)),
        dx(s.n * image(s)),
        dw(s.oc * s.kh * s.kw * s.c),
        dbias(s.oc),
        argmax(s.n * pooled(s)) {
    Noise noise(seed);
    fill(noise, w);  // first: the same for every n
    fill(noise, bias);
    fill(noise, x);
    fill(noise, dp);
  }
  void random_argmax(std::uint32_t seed) const {
    Noise noise(seed);
    for (std::int64_t i = 0; i < argmax.size(); ++i) {
      argmax[i] = static_cast<std::uint8_t>(noise.word() % 4);
    }
  }
  void forward(const ConvPoolTable& table, Activation activation = Activation::kNone) const {
    const Guarded<std::uint8_t> scratch(table.scratch_bytes(s));
    table.forward(s, x.data(), w.data(), bias.data(), static_cast<int>(activation), y.data(),
                  argmax.data(), scratch.data());
  }
  void backward(const ConvPoolTable& table) const {
    const Guarded<std::uint8_t> scratch(table.scratch_bytes(s));
    table.backward_data(s, dp.data(), argmax.data(), w.data(), dx.data(), scratch.data());
    const Guarded<std::uint8_t> other(table.scratch_bytes(s));
    table.backward_weights(s, x.data(), dp.data(), argmax.data(), dw.data(), dbias.data(),
                           other.data());
  }

  ConvPoolShape s;
  Guarded<float> x, w, bias, y, dp, dx, dw, dbias;
  Guarded<std::uint8_t> argmax;
};

struct Sum {
  double value = 0;
  double magnitude = 0;
  void add(double term) {
    value += term;
    magnitude += std::abs(term);
  }
};

Sum conv_at(const Arguments& a, std::int64_t n, std::int64_t row, std::int64_t column,
            std::int64_t o) {
  const ConvPoolShape& s = a.s;
  Sum sum;
  sum.add(static_cast<double>(a.bias[o]));
  for (std::int64_t i = 0; i < s.kh; ++i) {
    for (std::int64_t j = 0; j < s.kw; ++j) {
      for (std::int64_t c = 0; c < s.c; ++c) {
        sum.add(static_cast<double>(a.x[((n * s.h + row + i) * s.w + column + j) * s.c + c]) *
                static_cast<double>(a.w[((o * s.kh + i) * s.kw + j) * s.c + c]));
      }
    }
  }
  return sum;
}

// Calls visit(n, row of the window, its column, o, index of the pooled value).
template <class Visit>
void each_window(const ConvPoolShape& s, const Visit& visit) {
  std::int64_t index = 0;
  for (std::int64_t n = 0; n < s.n; ++n) {
    for (std::int64_t r = 0; r < ph(s); ++r) {
      for (std::int64_t q = 0; q < pw(s); ++q) {
        for (std::int64_t o = 0; o < s.oc; ++o) {
          visit(n, 2 * r, 2 * q, o, index++);
        }
      }
    }
  }
}

constexpr double kBound = 4e-7;  // of the sum of magnitudes

void check_forward(const Arguments& a) {
  each_window(a.s, [&](std::int64_t n, std::int64_t row, std::int64_t column, std::int64_t o,
                       std::int64_t index) {
    const int chosen = a.argmax[index];
    ASSERT_LT(chosen, 4) << str(a.s) << index;
    double best = -std::numeric_limits<double>::infinity();
    double magnitude = 0;
    double at_chosen = 0;
    for (int p = 0; p < 4; ++p) {
      const Sum sum = conv_at(a, n, row + p / 2, column + p % 2, o);
      best = std::max(best, sum.value);
      magnitude = std::max(magnitude, sum.magnitude);
      at_chosen = p == chosen ? sum.value : at_chosen;
    }
    ASSERT_NEAR(a.y[index], best, kBound * magnitude) << str(a.s) << index;
    ASSERT_GE(at_chosen, best - 2 * kBound * magnitude) << str(a.s) << index;
  });
}

void check_backward(const Arguments& a) {
  const ConvPoolShape& s = a.s;
  std::vector<Sum> dx(static_cast<std::size_t>(a.dx.size()));
  std::vector<Sum> dw(static_cast<std::size_t>(a.dw.size()));
  std::vector<Sum> dbias(static_cast<std::size_t>(s.oc));
  each_window(s, [&](std::int64_t n, std::int64_t row, std::int64_t column, std::int64_t o,
                     std::int64_t index) {
    const double d = static_cast<double>(a.dp[index]);
    dbias[static_cast<std::size_t>(o)].add(d);
    for (std::int64_t i = 0; i < s.kh; ++i) {
      for (std::int64_t j = 0; j < s.kw; ++j) {
        for (std::int64_t c = 0; c < s.c; ++c) {
          const std::int64_t from =
              ((n * s.h + row + a.argmax[index] / 2 + i) * s.w + column + a.argmax[index] % 2 + j) *
                  s.c +
              c;
          const std::int64_t tap = ((o * s.kh + i) * s.kw + j) * s.c + c;
          dx[static_cast<std::size_t>(from)].add(d * static_cast<double>(a.w[tap]));
          dw[static_cast<std::size_t>(tap)].add(d * static_cast<double>(a.x[from]));
        }
      }
    }
  });
  const auto compare = [&](const Guarded<float>& got, const std::vector<Sum>& wanted,
                           const char* what) {
    for (std::int64_t i = 0; i < got.size(); ++i) {
      const Sum& sum = wanted[static_cast<std::size_t>(i)];
      ASSERT_NEAR(got[i], sum.value, kBound * sum.magnitude) << what << i << ", " << str(s);
    }
  };
  compare(a.dx, dx, "dx ");
  compare(a.dw, dw, "dw ");
  compare(a.dbias, dbias, "dbias ");
}

bool same_bits(const float* a, const float* b, std::int64_t count) {
  return std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(float)) == 0;
}

class ConvPool : public testing::TestWithParam<test::TableCase> {
 protected:
  const ConvPoolTable& table_ = GetParam().table->conv_pool;
};
INSTANTIATE_TEST_SUITE_P(Tables, ConvPool, testing::ValuesIn(test::runnable_tables()),
                         [](const auto& info) { return info.param.name; });

TEST_P(ConvPool, MatchesPlainLoopsOverOddShapes) {
  Noise noise(7);
  int taken = 0;
  for (std::uint32_t trial = 0; trial < 250; ++trial) {
    ConvPoolShape s{};
    s.n = noise.pick({1, 2, 7, 8, 9, 16, 17});
    s.c = noise.pick({1, 3, 6, 17});
    s.oc = noise.pick({1, 2, 3, 5, 6, 7, 12, 16, 17});
    s.kh = noise.pick({1, 2, 3, 4, 5, 7});
    s.kw = noise.pick({1, 2, 3, 4, 5, 7});
    s.h = s.kh + noise.pick({1, 2, 3, 4});
    s.w = s.kw + noise.pick({1, 2, 3, 4, 7});
    if (!table_.takes(s)) {
      continue;
    }
    ++taken;
    const Arguments a(s, trial);
    a.forward(table_);
    check_forward(a);
    a.random_argmax(trial);
    a.backward(table_);
    check_backward(a);
    if (HasFatalFailure()) {
      return;
    }
  }
  EXPECT_GT(taken, 150);
}

TEST_P(ConvPool, MatchesPlainLoopsAtTheShapesOfLeNet) {
  for (const ConvPoolShape& s :
       {ConvPoolShape{18, 28, 28, 1, 6, 5, 5}, ConvPoolShape{18, 12, 12, 6, 12, 5, 5}}) {
    ASSERT_TRUE(table_.takes(s));
    const Arguments a(s);
    a.forward(table_);
    check_forward(a);
    a.backward(table_);
    check_backward(a);
  }
}

TEST_P(ConvPool, AppliesTheActivationToTheMaximum) {
  const Arguments plain({9, 8, 9, 2, 7, 3, 3});
  plain.forward(table_);
  for (const Activation activation : {Activation::kTanh, Activation::kRelu, Activation::kSigmoid}) {
    const Arguments a(plain.s);
    a.forward(table_, activation);
    for (std::int64_t i = 0; i < a.y.size(); ++i) {
      const double v = static_cast<double>(plain.y[i]);
      const double wanted = activation == Activation::kTanh   ? std::tanh(v)
                            : activation == Activation::kRelu ? std::max(v, 0.0)
                                                              : 1 / (1 + std::exp(-v));
      ASSERT_NEAR(a.y[i], wanted, 5e-7 * std::abs(wanted)) << name_of(activation);
      ASSERT_EQ(a.argmax[i], plain.argmax[i]);
    }
  }
}

TEST_P(ConvPool, TakesTheFirstOfEqualValues) {
  const Arguments a({17, 9, 8, 3, 7, 2, 3});
  Noise noise(3);
  const auto small = [&](const Guarded<float>& to) {  // sums of these are exact
    for (std::int64_t i = 0; i < to.size(); ++i) {
      to[i] = static_cast<float>(noise.word() % 3) - 1;
    }
  };
  small(a.x);
  small(a.w);
  small(a.bias);
  a.forward(table_);
  int ties = 0;
  each_window(a.s, [&](std::int64_t n, std::int64_t row, std::int64_t column, std::int64_t o,
                       std::int64_t index) {
    double best = conv_at(a, n, row, column, o).value;
    int first = 0;
    for (int p = 1; p < 4; ++p) {
      const double value = conv_at(a, n, row + p / 2, column + p % 2, o).value;
      ties += value == best ? 1 : 0;
      first = value > best ? p : first;
      best = std::max(best, value);
    }
    ASSERT_EQ(a.y[index], static_cast<float>(best));
    ASSERT_EQ(a.argmax[index], first) << index;
  });
  EXPECT_GT(ties, 100);
}

TEST_P(ConvPool, BiasMayBeAbsent) {
  const Arguments a({3, 6, 7, 2, 5, 3, 2});
  for (std::int64_t o = 0; o < a.s.oc; ++o) {
    a.bias[o] = 0;
  }
  const Guarded<std::uint8_t> scratch(table_.scratch_bytes(a.s));
  table_.forward(a.s, a.x.data(), a.w.data(), nullptr, 0, a.y.data(), a.argmax.data(),
                 scratch.data());
  check_forward(a);
  table_.backward_weights(a.s, a.x.data(), a.dp.data(), a.argmax.data(), a.dw.data(), nullptr,
                          scratch.data());
  const Guarded<float> dw(a.dw.size());
  std::memcpy(dw.data(), a.dw.data(), static_cast<std::size_t>(dw.size()) * 4);
  a.backward(table_);
  EXPECT_TRUE(same_bits(dw.data(), a.dw.data(), dw.size()));
}

TEST_P(ConvPool, NotANumberReachesEveryWindowAboveIt) {
  const Arguments clean({9, 8, 8, 2, 5, 3, 3});
  const Arguments a(clean.s);
  a.x[(4 * 64 + 3 * 8 + 3) * 2 + 1] = std::numeric_limits<float>::quiet_NaN();
  for (const Activation activation :
       {Activation::kNone, Activation::kTanh, Activation::kRelu, Activation::kSigmoid}) {
    clean.forward(table_, activation);
    a.forward(table_, activation);
    each_window(a.s, [&](std::int64_t n, std::int64_t row, std::int64_t column, std::int64_t,
                         std::int64_t index) {
      // The 4 x 4 pixels below a window.
      const bool hit = n == 4 && row <= 3 && row + 3 >= 3 && column <= 3 && column + 3 >= 3;
      ASSERT_EQ(std::isnan(a.y[index]), hit) << index;
      // The first position of the window whose 3 x 3 pixels hold it.
      const std::int64_t first = (row == 0 ? 2 : 0) + (column == 0 ? 1 : 0);
      ASSERT_EQ(a.argmax[index], hit ? first : clean.argmax[index]) << index;
      ASSERT_TRUE(hit || a.y[index] == clean.y[index]);
    });
  }
}

TEST_P(ConvPool, AnImagesBitsDependOnItAlone) {
  for (ConvPoolShape s : {ConvPoolShape{17, 12, 12, 6, 12, 5, 5}, {17, 9, 8, 1, 7, 4, 3}}) {
    const Arguments all(s);
    all.forward(table_, Activation::kTanh);
    all.backward(table_);
    s.n = 1;
    const Arguments one(s);
    for (std::int64_t n = 0; n < all.s.n; ++n) {
      std::memcpy(one.x.data(), all.x.data() + n * image(s),
                  static_cast<std::size_t>(image(s)) * 4);
      std::memcpy(one.dp.data(), all.dp.data() + n * pooled(s),
                  static_cast<std::size_t>(pooled(s)) * 4);
      one.forward(table_, Activation::kTanh);
      one.backward(table_);
      ASSERT_TRUE(same_bits(one.y.data(), all.y.data() + n * pooled(s), pooled(s))) << n;
      ASSERT_EQ(std::memcmp(one.argmax.data(), all.argmax.data() + n * pooled(s),
                            static_cast<std::size_t>(pooled(s))),
                0)
          << n;
      ASSERT_TRUE(same_bits(one.dx.data(), all.dx.data() + n * image(s), image(s))) << n;
    }
  }
}

TEST_P(ConvPool, RepeatsItsBits) {
  const ConvPoolShape s{33, 12, 11, 6, 7, 5, 5};
  const Arguments first(s);
  const Arguments second(s);
  for (const Arguments* a : {&first, &second}) {
    a->forward(table_);
    a->backward(table_);
  }
  EXPECT_TRUE(same_bits(first.y.data(), second.y.data(), first.y.size()));
  EXPECT_TRUE(same_bits(first.dx.data(), second.dx.data(), first.dx.size()));
  EXPECT_TRUE(same_bits(first.dw.data(), second.dw.data(), first.dw.size()));
  EXPECT_TRUE(same_bits(first.dbias.data(), second.dbias.data(), first.dbias.size()));
}

TEST_P(ConvPool, GradientsOfNoImagesAreZero) {
  const Arguments a({0, 9, 8, 3, 7, 2, 3});
  a.forward(table_);
  a.backward(table_);
  for (std::int64_t i = 0; i < a.dw.size(); ++i) {
    ASSERT_EQ(a.dw[i], 0);
  }
  for (std::int64_t i = 0; i < a.dbias.size(); ++i) {
    ASSERT_EQ(a.dbias[i], 0);
  }
}

TEST_P(ConvPool, TakesOnlyWhatFits) {
  const ConvPoolShape good{128, 28, 28, 1, 6, 5, 5};
  EXPECT_TRUE(table_.takes(good));
  EXPECT_LE(table_.scratch_bytes(good), 512 * 1024);
  ConvPoolShape s = good;
  s.h = s.kh;  // one row of results: no window
  EXPECT_FALSE(table_.takes(s));
  s = good;
  s.kw = 9;
  EXPECT_FALSE(table_.takes(s));
  s = good;
  s.c = 13;  // 65 floats in a row of taps
  EXPECT_FALSE(table_.takes(s));
  s = good;
  s.oc = 65;
  EXPECT_FALSE(table_.takes(s));
  s = good;
  s.h = s.w = 280;  // a block of images does not fit the scratch
  EXPECT_FALSE(table_.takes(s));
  s = good;
  s.h = std::int64_t{1} << 60;  // the bytes of a block of images are 0 modulo 2^64
  EXPECT_FALSE(table_.takes(s));
}

}  // namespace
}  // namespace gentrain::simd
