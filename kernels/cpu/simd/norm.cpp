// Batch normalisation and PReLU. Vectors run along the channels, so that the bits of a channel do
// not depend on how many lanes there are; a few rows are taken at once, so that what is the same
// for all rows is loaded once for them.
//
// Sums over rows are floats within blocks of kBlockRows and doubles over blocks. The variance is
// summed in one pass, as squared distances from the mean of the rows before, for the first block
// from that of a quarter of its rows. What is taken off again for the shift of the mean is at most
// half of the sum where as many rows came before as are added, and three quarters of it in the
// first block: nothing cancels.
#include "kernels/cpu/simd/rectify.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr std::int64_t kBlockRows = 128;
constexpr int kGroupRows = 4;

// The lanes of a vector of channels that exist.
struct AllLanes {};
struct SomeLanes {
  IntVec mask;
};
Vec load_lanes(const float* p, AllLanes /*lanes*/) {
  return load(p);
}
Vec load_lanes(const float* p, SomeLanes lanes) {
  return load_masked(p, lanes.mask);
}
void store_lanes(float* p, Vec v, AllLanes /*lanes*/) {
  store(p, v);
}
void store_lanes(float* p, Vec v, SomeLanes lanes) {
  store_masked(p, v, lanes.mask);
}

template <int kCount>
struct Rows {
  static constexpr int kValue = kCount;
};

// visit(channel, lanes) for the vectors of a row.
template <class Visit>
[[gnu::always_inline]] inline void for_each_vector(std::int64_t c, Visit visit) {
  std::int64_t channel = 0;
  for (; channel + kLanes <= c; channel += kLanes) {
    visit(channel, AllLanes{});
  }
  if (channel < c) {
    visit(channel, SomeLanes{first_lanes(static_cast<int>(c - channel))});
  }
}

// visit(number of rows, offset in the tensor, channel, lanes) for the vectors of rows [first,
// last): several rows at once, c apart, then single ones.
template <class Visit>
[[gnu::always_inline]] inline void for_each_group(std::int64_t first, std::int64_t last,
                                                  std::int64_t c, Visit visit) {
  std::int64_t row = first;
  for (; row + kGroupRows <= last; row += kGroupRows) {
    for_each_vector(c, [&](std::int64_t channel, auto lanes) {
      visit(Rows<kGroupRows>{}, row * c + channel, channel, lanes);
    });
  }
  for (; row < last; ++row) {
    for_each_vector(c, [&](std::int64_t channel, auto lanes) {
      visit(Rows<1>{}, row * c + channel, channel, lanes);
    });
  }
}

// The sum of the elements of an array, halves added until one is left.
template <int kCount>
inline Vec sum_of(Vec (&values)[kCount]) {
  for (int half = kCount / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      values[i] += values[i + half];
    }
  }
  return values[0];
}

// Channels with those that fill up the last vector of any table.
std::int64_t padded(std::int64_t c) {
  return (c + 15) / 16 * 16;
}

constexpr std::int64_t kDoubleArrays = 2;
constexpr std::int64_t kFloatArrays = 6;

// Arrays with one value per channel, zeros at first, whole vectors long.
class Scratch {
 public:
  Scratch(void* memory, std::int64_t c) : at_(static_cast<char*>(memory)), count_(padded(c)) {
    __builtin_memset(memory, 0, static_cast<unsigned long>(bytes(c)));
  }
  static std::int64_t bytes(std::int64_t c) {
    return padded(c) * (kDoubleArrays * 8 + kFloatArrays * 4);
  }
  double* doubles() {
    auto* array = reinterpret_cast<double*>(at_);
    at_ += count_ * 8;
    return array;
  }
  float* floats() {
    auto* array = reinterpret_cast<float*>(at_);
    at_ += count_ * 4;
    return array;
  }
  // A copy of values that a caller gave; null stands for `otherwise` everywhere.
  float* copy(const float* values, std::int64_t c, float otherwise) {
    float* array = floats();
    for (std::int64_t i = 0; i < c; ++i) {
      array[i] = values == nullptr ? otherwise : values[i];
    }
    return array;
  }

 private:
  char* at_;
  std::int64_t count_;
};

// A sum over rows for each channel.
struct Sums {
  float* block;
  double* total;

  explicit Sums(Scratch& scratch) : block(scratch.floats()), total(scratch.doubles()) {}
  void end_block(std::int64_t c) const {
    for (std::int64_t i = 0; i < c; i += kWide) {
      store_wide(total + i, load_wide(total + i) + load_wide(block + i));
      store_wide(block + i, WideVec{});
    }
  }
};

inline void add_to(float* p, Vec v) {
  store(p, load(p) + v);
}

// visit(first row, row behind the last) for the blocks of rows, from first to last.
template <class Visit>
[[gnu::always_inline]] inline void for_each_block(std::int64_t rows, Visit visit) {
  for (std::int64_t first = 0; first < rows; first += kBlockRows) {
    visit(first, smaller(rows, first + kBlockRows));
  }
}

// The same from last to first: behind a pass from first to last, the last rows are those that the
// cache still holds.
template <class Visit>
[[gnu::always_inline]] inline void for_each_block_backwards(std::int64_t rows, Visit visit) {
  for (std::int64_t first = (rows - 1) / kBlockRows * kBlockRows; first >= 0; first -= kBlockRows) {
    visit(first, smaller(rows, first + kBlockRows));
  }
}

// Of the rows so far: mean and sum of squared distances from it; of the block under way: sums of
// distances, and of their squares, from `shift`, the mean rounded.
struct Moments {
  double *mean, *squares;
  float *shift, *distances, *block_squares;

  explicit Moments(Scratch& scratch)
      : mean(scratch.doubles()),
        squares(scratch.doubles()),
        shift(scratch.floats()),
        distances(scratch.floats()),
        block_squares(scratch.floats()) {}

  void add_rows(const float* x, std::int64_t first, std::int64_t last, std::int64_t c) const {
    const float* shifts = shift;
    float* sums = distances;
    float* square_sums = block_squares;
    for_each_group(first, last, c,
                   [=](auto rows, std::int64_t at, std::int64_t channel, auto lanes) {
                     const Vec from = load(shifts + channel);
                     Vec distance[rows.kValue];
                     Vec square{};
                     for (int r = 0; r < rows.kValue; ++r) {
                       distance[r] = load_lanes(x + at + r * c, lanes) - from;
                       square = fma(distance[r], distance[r], square);
                     }
                     add_to(sums + channel, sum_of(distance));
                     add_to(square_sums + channel, square);
                   });
  }

  // Takes the sums of a block of `count` rows, behind `before` rows, into the mean and the squares.
  void end_block(std::int64_t before, std::int64_t count, std::int64_t c) const {
    const auto earlier = static_cast<double>(before);
    const auto all = static_cast<double>(before + count);
    for (std::int64_t i = 0; i < c; i += kWide) {
      const WideVec from = load_wide(shift + i);
      const WideVec off = load_wide(mean + i) - from;
      const WideVec around_shift =
          load_wide(squares + i) + earlier * off * off + load_wide(block_squares + i);
      const WideVec step = (earlier * off + load_wide(distances + i)) / all;
      store_wide(mean + i, from + step);
      store_wide(squares + i, around_shift - all * step * step);
      store_wide(shift + i, from + step);
      store_wide(distances + i, WideVec{});
      store_wide(block_squares + i, WideVec{});
    }
  }
};

void statistics(const float* x, std::int64_t rows, std::int64_t c, float* mean, float* variance,
                void* scratch) {
  Scratch arrays(scratch, c);
  const Moments moments(arrays);
  // Of every fourth group of the first block.
  std::int64_t taken = 0;
  for (std::int64_t row = 0; row < smaller(rows, kBlockRows); row += 4 * kGroupRows) {
    const std::int64_t last = smaller(rows, row + kGroupRows);
    moments.add_rows(x, row, last, c);
    taken += last - row;
  }
  for (std::int64_t i = 0; i < c; ++i) {
    moments.shift[i] = moments.distances[i] / static_cast<float>(taken);
    moments.mean[i] = static_cast<double>(moments.shift[i]);
    moments.distances[i] = 0;
    moments.block_squares[i] = 0;
  }
  for_each_block(rows, [&](std::int64_t first, std::int64_t last) {
    moments.add_rows(x, first, last, c);
    moments.end_block(first, last - first, c);
  });
  for (std::int64_t i = 0; i < c; ++i) {
    const double square = moments.squares[i] / static_cast<double>(rows);
    mean[i] = static_cast<float>(moments.mean[i]);
    variance[i] = square < 0 ? 0.0F : static_cast<float>(square);  // by rounding only
  }
}

// gamma / sqrt(variance + epsilon), and without gamma.
struct Factors {
  float *factor, *inverse;

  Factors(Scratch& scratch, const float* variance, const float* gamma, float epsilon,
          std::int64_t c)
      : factor(scratch.copy(gamma, c, 1.0F)), inverse(scratch.floats()) {
    for_each_vector(c, [&](std::int64_t channel, auto lanes) {
      const Vec sum = load_lanes(variance + channel, lanes) + broadcast(epsilon);
      const Vec one_by = broadcast(1.0F) / sqrt(sum);
      store_lanes(inverse + channel, one_by, lanes);
      store_lanes(factor + channel, load(factor + channel) * one_by, lanes);
    });
  }
};

// Calls come by value here and below: a store to a tensor cannot change where pointers of a copy
// point to, so that the loops need not load them again.
template <Rectifier kKind, bool kResidual>
void normalize_rows(NormalizeCall call, void* scratch) {
  Scratch arrays(scratch, call.c);
  const Factors factors(arrays, call.variance, call.gamma, call.epsilon, call.c);
  const float* mean = arrays.copy(call.mean, call.c, 0.0F);
  const float* beta = arrays.copy(call.beta, call.c, 0.0F);
  const Vec slope = broadcast(call.slope);
  const std::int64_t c = call.c;
  for_each_block_backwards(call.rows, [&](std::int64_t first, std::int64_t last) {
    for_each_group(first, last, c,
                   [&](auto rows, std::int64_t at, std::int64_t channel, auto lanes) {
                     const Vec from = load(mean + channel);
                     const Vec factor = load(factors.factor + channel);
                     const Vec to = load(beta + channel);
                     for (int r = 0; r < rows.kValue; ++r) {
                       Vec z = fma(load_lanes(call.x + at + r * c, lanes) - from, factor, to);
                       if constexpr (kResidual) {
                         z += load_lanes(call.residual + at + r * c, lanes);
                       }
                       store_lanes(call.y + at + r * c, rectify<kKind>(z, slope), lanes);
                     }
                   });
  });
}

void normalize(const NormalizeCall& call, void* scratch) {
  with_rectifier(call.slope, [&](auto kind) {
    if (call.residual == nullptr) {
      normalize_rows<kind.kValue, false>(call, scratch);
    } else {
      normalize_rows<kind.kValue, true>(call, scratch);
    }
  });
}

// The gradient g before the activation at one vector.
template <Rectifier kKind, class Lanes>
[[gnu::always_inline]] inline Vec gradient_at(const NormGradientCall& call, std::int64_t at,
                                              Lanes lanes) {
  Vec y{};
  if constexpr (kKind != Rectifier::kNone) {
    y = load_lanes(call.y + at, lanes);
  }
  return rectify_backward<kKind>(y, load_lanes(call.dy + at, lanes), broadcast(call.slope));
}

// Sums over rows of g and of g (x - mean); g itself goes to dresidual where that is wanted.
template <Rectifier kKind, bool kResidual>
void sum_gradients(NormGradientCall call, const float* mean, Sums sums, Sums products) {
  const std::int64_t c = call.c;
  for_each_block(call.rows, [&](std::int64_t first, std::int64_t last) {
    for_each_group(
        first, last, c, [&](auto rows, std::int64_t at, std::int64_t channel, auto lanes) {
          const Vec from = load(mean + channel);
          Vec gradient[rows.kValue];
          Vec product{};
          for (int r = 0; r < rows.kValue; ++r) {
            gradient[r] = gradient_at<kKind>(call, at + r * c, lanes);
            if constexpr (kResidual) {
              store_lanes(call.dresidual + at + r * c, gradient[r], lanes);
            }
            product = fma(gradient[r], load_lanes(call.x + at + r * c, lanes) - from, product);
          }
          add_to(sums.block + channel, sum_of(gradient));
          add_to(products.block + channel, product);
        });
    sums.end_block(c);
    products.end_block(c);
  });
}

// dx = factor (g - center - (x - mean) lean); of statistics that are constants both are zero.
struct Correction {
  const float *mean, *factor, *center, *lean;
};

template <Rectifier kKind, bool kOfBatch>
void data_gradients(NormGradientCall call, Correction k) {
  const std::int64_t c = call.c;
  for_each_block_backwards(call.rows, [&](std::int64_t first, std::int64_t last) {
    for_each_group(first, last, c,
                   [&](auto rows, std::int64_t at, std::int64_t channel, auto lanes) {
                     const Vec from = load(k.mean + channel);
                     const Vec factor = load(k.factor + channel);
                     const Vec center = load(k.center + channel);
                     const Vec lean = load(k.lean + channel);
                     for (int r = 0; r < rows.kValue; ++r) {
                       Vec gradient = gradient_at<kKind>(call, at + r * c, lanes);
                       if constexpr (kOfBatch) {
                         const Vec distance = load_lanes(call.x + at + r * c, lanes) - from;
                         gradient = fma(-distance, lean, gradient - center);
                       }
                       store_lanes(call.dx + at + r * c, factor * gradient, lanes);
                     }
                   });
  });
}

template <Rectifier kKind>
void data_gradients_of(const NormGradientCall& call, const Correction& k) {
  if (call.of_batch) {
    data_gradients<kKind, true>(call, k);
  } else {
    data_gradients<kKind, false>(call, k);
  }
}

template <Rectifier kKind>
void normalize_backward_of(const NormGradientCall& call, void* scratch) {
  const std::int64_t c = call.c;
  Scratch arrays(scratch, c);
  const Sums sums(arrays);
  const Sums products(arrays);
  const Factors factors(arrays, call.variance, call.gamma, call.epsilon, c);
  const float* mean = arrays.copy(call.mean, c, 0.0F);
  const bool correct = call.dx != nullptr && call.of_batch;
  if (call.dresidual != nullptr) {
    sum_gradients<kKind, true>(call, mean, sums, products);
  } else if (call.dgamma != nullptr || call.dbeta != nullptr || correct) {
    sum_gradients<kKind, false>(call, mean, sums, products);
  }
  // The blocks' sums are not needed any more: their arrays take the corrections.
  const auto rows = static_cast<double>(call.rows);
  for (std::int64_t i = 0; i < c; ++i) {
    const auto inverse = static_cast<double>(factors.inverse[i]);
    const double dgamma = products.total[i] * inverse;
    if (call.dgamma != nullptr) {
      call.dgamma[i] = static_cast<float>(dgamma);
    }
    if (call.dbeta != nullptr) {
      call.dbeta[i] = static_cast<float>(sums.total[i]);
    }
    sums.block[i] = static_cast<float>(sums.total[i] / rows);
    products.block[i] = static_cast<float>(dgamma * inverse / rows);
  }
  if (call.dx == nullptr) {
    return;
  }
  const Correction correction = {mean, factors.factor, sums.block, products.block};
  if (kKind == Rectifier::kNone || call.dresidual == nullptr) {
    return data_gradients_of<kKind>(call, correction);
  }
  NormGradientCall again = call;  // g is there already
  again.dy = call.dresidual;
  data_gradients_of<Rectifier::kNone>(again, correction);
}

void normalize_backward(const NormGradientCall& call, void* scratch) {
  with_rectifier(call.slope, [&](auto kind) { normalize_backward_of<kind.kValue>(call, scratch); });
}

void prelu(const float* x, const float* alpha, std::int64_t rows, std::int64_t c, float* y) {
  for_each_group(0, rows, c, [&](auto count, std::int64_t at, std::int64_t channel, auto lanes) {
    const Vec slope = load_lanes(alpha + channel, lanes);
    for (int r = 0; r < count.kValue; ++r) {
      const Vec value = load_lanes(x + at + r * c, lanes);
      store_lanes(y + at + r * c, rectify<Rectifier::kLeaky>(value, slope), lanes);
    }
  });
}

void prelu_backward(const PreluGradientCall& given, void* scratch) {
  const PreluGradientCall call = given;
  const std::int64_t c = call.c;
  Scratch arrays(scratch, c);
  const Sums sums(arrays);
  for_each_block(call.rows, [&](std::int64_t first, std::int64_t last) {
    for_each_group(first, last, c,
                   [&](auto rows, std::int64_t at, std::int64_t channel, auto lanes) {
                     const Vec slope = load_lanes(call.alpha + channel, lanes);
                     Vec below[rows.kValue];
                     for (int r = 0; r < rows.kValue; ++r) {
                       const Vec x = load_lanes(call.x + at + r * c, lanes);
                       const Vec dy = load_lanes(call.dy + at + r * c, lanes);
                       below[r] = select(x > Vec{}, Vec{}, dy * x);
                       if (call.dx != nullptr) {
                         store_lanes(call.dx + at + r * c,
                                     rectify_backward<Rectifier::kLeaky>(x, dy, slope), lanes);
                       }
                     }
                     add_to(sums.block + channel, sum_of(below));
                   });
    sums.end_block(c);
  });
  for (std::int64_t i = 0; i < c && call.dalpha != nullptr; ++i) {
    call.dalpha[i] = static_cast<float>(sums.total[i]);
  }
}

}  // namespace

NormTable make_norm_table() {
  return {Scratch::bytes, statistics, normalize, normalize_backward, prelu, prelu_backward};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
