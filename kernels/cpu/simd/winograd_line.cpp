// Winograd's convolution along lines, block of lines by block of lines: windows of x, a matrix
// product for each point and row of the kernel, results with what follows them.
#include "kernels/cpu/simd/winograd_line.h"

#include "kernels/cpu/simd/tables.h"
#include "kernels/cpu/simd/winograd_epilogue.h"
#include "kernels/cpu/simd/winograd_line_parts.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

/// The scratch of a call: transformed windows [points][lines under the block][tiles][inputs] and
/// products [points][block][tiles][results], points an odd number of cache lines apart.
struct Plan {
  std::int64_t tiles;                      // of a line
  std::int64_t stacks, lines;              // lines of results, by image or, with one row, all
  std::int64_t block;                      // lines of results
  std::int64_t inputs, results;            // floats of a tile at a point
  std::int64_t input_point, result_point;  // floats between points
  std::int64_t zeros, windows, products, floats;

  explicit Plan(const LineShape& s)
      : tiles((s.to.length + kResults - 1) / kResults),
        stacks(s.rows == 1 ? 1 : s.n),
        lines(s.rows == 1 ? s.n * s.to.lines : s.to.lines),
        inputs(round_up(s.c, kLanes)),
        results(round_up(s.oc, kLanes)) {
    // Windows and products of a block share the second cache with weights.
    constexpr std::int64_t kBlockFloats = 131072;
    constexpr std::int64_t kLeast = 6 * kTileRows;
    const std::int64_t points = line_points(s.taps);
    const std::int64_t fitting = larger(kLeast, kBlockFloats / (points * (inputs + results)));
    block = smaller(lines, (fitting + tiles - 1) / tiles);
    input_point = odd_lines((block + s.rows - 1) * tiles * inputs);
    result_point = odd_lines(block * tiles * results);
    zeros = 0;
    windows = odd_lines(inputs);
    products = windows + points * input_point;
    floats = products + points * result_point;
  }
};

template <int kTaps>
class Lines {
 public:
  Lines(const LineShape& s, const LineCall& call)
      : s_(s), call_(call), plan_(s), scratch_(static_cast<float*>(call.scratch)) {
    for (std::int64_t k = 0; k < plan_.inputs; ++k) {
      scratch_[plan_.zeros + k] = 0;
    }
  }

  template <Activation kActivation>
  void run() {
    for (std::int64_t stack = 0; stack < plan_.stacks; ++stack) {
      for (std::int64_t first = 0; first < plan_.lines; first += plan_.block) {
        const std::int64_t count = smaller(plan_.block, plan_.lines - first);
        for (std::int64_t i = 0; i < count + s_.rows - 1; ++i) {
          transform_line(stack, first + i - s_.above, i);
        }
        multiply_block(count);
        for (std::int64_t i = 0; i < count; ++i) {
          store_line<kActivation>(stack, first + i, i);
        }
      }
    }
  }

 private:
  static constexpr int kPoints = line_points(kTaps);
  static constexpr auto& kMatrices = kLineMatrices<kTaps>;

  /// A line of a stack; null outside of the image.
  [[nodiscard]] const float* line_of(const LineImages& images, const float* first,
                                     std::int64_t stack, std::int64_t line) const {
    if (s_.rows == 1) {
      return first + line / images.lines * images.image + line % images.lines * images.line;
    }
    const bool inside = line >= 0 && line < images.lines;
    return inside ? first + stack * images.image + line * images.line : nullptr;
  }

  void transform_line(std::int64_t stack, std::int64_t line, std::int64_t place) {
    const float* pixels = line_of(s_.from, call_.x, stack, line);
    float* to = scratch_ + plan_.windows + place * plan_.tiles * plan_.inputs;
    for (std::int64_t tile = 0; tile < plan_.tiles; ++tile, to += plan_.inputs) {
      const float* window[kPoints];
      for (int j = 0; j < kPoints; ++j) {
        const std::int64_t at = tile * kResults + j - s_.before;
        const bool inside = pixels != nullptr && at >= 0 && at < s_.from.length;
        window[j] = inside ? pixels + at * s_.from.pixel : scratch_ + plan_.zeros;
      }
      for (std::int64_t k = 0; k < plan_.inputs; k += kLanes) {
        if (k + kLanes <= s_.c) {
          transform_channels<false>(window, k, IntVec{}, to);
        } else {
          transform_channels<true>(window, k, first_lanes(static_cast<int>(s_.c - k)), to);
        }
      }
    }
  }

  template <bool kMasked>
  void transform_channels(const float* const window[kPoints], std::int64_t k, IntVec lanes,
                          float* to) const {
    Vec d[kPoints];
#pragma GCC unroll 10
    for (int j = 0; j < kPoints; ++j) {
      d[j] = kMasked ? load_masked(window[j] + k, lanes) : load(window[j] + k);
    }
#pragma GCC unroll 10
    for (int p = 0; p < kPoints; ++p) {
      Vec sum = broadcast(kMatrices.window[p][0]) * d[0];
#pragma GCC unroll 10
      for (int j = 1; j < kPoints; ++j) {
        if (kMatrices.window[p][j] != 0) {
          sum = fma(broadcast(kMatrices.window[p][j]), d[j], sum);
        }
      }
      store(to + p * plan_.input_point + k, sum);
    }
  }

  /// Sums over rows of the kernel and pieces of the channels: the windows of a row of the kernel
  /// begin as many lines further down.
  void multiply_block(std::int64_t count) {
    const auto multiply = make_gemm_table().multiply;
    const std::int64_t piece = winograd_piece(s_.c);
    for (int p = 0; p < kPoints; ++p) {
      const float* windows = scratch_ + plan_.windows + p * plan_.input_point;
      const float* weights = call_.weights + p * line_point_floats(s_);
      float* products = scratch_ + plan_.products + p * plan_.result_point;
      for (std::int64_t row = 0; row < s_.rows; ++row) {
        for (std::int64_t c = 0; c < s_.c; c += piece) {
          multiply({count * plan_.tiles, plan_.results, smaller(piece, s_.c - c),
                    windows + row * plan_.tiles * plan_.inputs + c, plan_.inputs, 1,
                    weights + row * line_row_floats(s_) + c * round_up(s_.oc, kPanel), 0, nullptr,
                    static_cast<int>(Activation::kNone), products, row > 0 || c > 0});
        }
      }
    }
  }

  template <Activation kActivation>
  void store_line(std::int64_t stack, std::int64_t line, std::int64_t place) const {
    const Epilogue<kActivation> epilogue = {call_.bias};
    float* to = const_cast<float*>(line_of(s_.to, call_.y, stack, line));
    const float* from = scratch_ + plan_.products + place * plan_.tiles * plan_.results;
    for (std::int64_t tile = 0; tile < plan_.tiles; ++tile, from += plan_.results) {
      const int pixels = static_cast<int>(smaller(kResults, s_.to.length - tile * kResults));
      for (std::int64_t k = 0; k < s_.oc; k += kLanes) {
        const int lanes = static_cast<int>(smaller(kLanes, s_.oc - k));
        Vec results[kResults];
        transform_products(from + k, results);
        const Vec bias = epilogue.bias_of(k, lanes);
        for (int i = 0; i < pixels; ++i) {
          float* at = to + (tile * kResults + i) * s_.to.pixel + k;
          const Vec y = epilogue.finish(results[i], bias);
          if (lanes == kLanes) {
            store(at, y);
          } else {
            store_n(at, y, lanes);
          }
        }
      }
    }
  }

  void transform_products(const float* products, Vec results[kResults]) const {
    Vec m[kPoints];
#pragma GCC unroll 10
    for (int p = 0; p < kPoints; ++p) {
      m[p] = load(products + p * plan_.result_point);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kResults; ++i) {
      Vec sum = broadcast(kMatrices.results[i][1]) * m[1];
#pragma GCC unroll 10
      for (int p = 0; p < kPoints; ++p) {
        if (p != 1 && kMatrices.results[i][p] != 0) {
          sum = fma(broadcast(kMatrices.results[i][p]), m[p], sum);
        }
      }
      results[i] = sum;
    }
  }

  const LineShape& s_;
  const LineCall& call_;
  Plan plan_;
  float* scratch_;
};

template <int kTaps>
void forward_of(const LineShape& s, const LineCall& call) {
  Lines<kTaps> lines(s, call);
  switch (static_cast<Activation>(call.activation)) {
    case Activation::kTanh:
      lines.template run<Activation::kTanh>();
      break;
    case Activation::kRelu:
      lines.template run<Activation::kRelu>();
      break;
    case Activation::kSigmoid:
      lines.template run<Activation::kSigmoid>();
      break;
    case Activation::kNone:
      lines.template run<Activation::kNone>();
  }
}

std::int64_t scratch_bytes(const LineShape& s) {
  return Plan(s).floats * static_cast<std::int64_t>(sizeof(float));
}

void forward(const LineShape& s, const LineCall& call) {
  (s.taps == 3 ? forward_of<3> : s.taps == 5 ? forward_of<5> : forward_of<7>)(s, call);
}

}  // namespace

WinogradLineTable make_winograd_line_table() {
  return {line_packed_floats, line_pack, line_pack_turned, scratch_bytes, forward};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
