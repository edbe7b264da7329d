// y = activation(maxpool2x2(x * w + bias)), kLanes images side by side in a vector.
//
// A block of images is transposed to [h][w][c][lane]. For one pooled position and a few output
// channels the four convolution results of the window stay in registers over all taps; so do
// maximum and argmax. A lane never sees its neighbours: an image's bits do not depend on its place
// or on n.
#include "kernels/cpu/simd/conv_pool_parts.h"
#include "kernels/cpu/simd/math.h"
#include "kernels/cpu/simd/transpose.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {
namespace {

// Output channels of a block: 4 * kBlock accumulators out of 16 (AVX2) or 32 (AVX-512) registers.
constexpr int kBlock = kLanes == 16 ? 6 : 3;

// Elements [done, needed) and perhaps more of each image to xt [element][lane]; missing images are
// zero. Returns the new `done`.
std::int64_t gather(const float* x, std::int64_t size, std::int64_t images, std::int64_t done,
                    std::int64_t needed, float* xt) {
  if (size < kLanes) {
    for (std::int64_t e = done; e < size; ++e) {
      for (std::int64_t lane = 0; lane < kLanes; ++lane) {
        xt[e * kLanes + lane] = lane < images ? x[lane * size + e] : 0.0F;
      }
    }
    return size;
  }
  while (done < needed) {
    const std::int64_t begin = smaller(done, size - kLanes);
    Vec v[kLanes];
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      v[lane] = lane < images ? load(x + lane * size + begin) : Vec{};
    }
    transpose(v);
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      store(xt + (begin + lane) * kLanes, v[lane]);
    }
    done = begin + kLanes;
  }
  return done;
}

// y [lane * stride + element] = yt [element][lane] of the real images.
void scatter(const float* yt, std::int64_t count, std::int64_t images, std::int64_t stride,
             float* y) {
  if (count < kLanes) {
    for (std::int64_t lane = 0; lane < images; ++lane) {
      for (std::int64_t e = 0; e < count; ++e) {
        y[lane * stride + e] = yt[e * kLanes + lane];
      }
    }
    return;
  }
  for (std::int64_t e = 0; e < count; e += kLanes) {
    const std::int64_t begin = smaller(e, count - kLanes);
    Vec v[kLanes];
#pragma GCC unroll 16
    for (int k = 0; k < kLanes; ++k) {
      v[k] = load(yt + (begin + k) * kLanes);
    }
    transpose(v);
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      if (lane < images) {
        store(y + lane * stride + begin, v[lane]);
      }
    }
  }
}

// The same for the argmax: four elements are packed into an integer, eight of them leave together.
// at holds up to seven elements more than count, of any value.
void scatter(const std::int32_t* at, std::int64_t count, std::int64_t images, std::int64_t stride,
             std::uint8_t* argmax) {
  const auto* from = reinterpret_cast<const StoredIntVec*>(at);
  for (std::int64_t e = 0; e < count; e += 8, from += 8) {
    const IntVec low = from[0] | from[1] << 8 | from[2] << 16 | from[3] << 24;
    const IntVec high = from[4] | from[5] << 8 | from[6] << 16 | from[7] << 24;
    // Image 4q + 2h + p stands in pair p of quad q of the first (h = 0) or second vector.
    const Vec pairs[2] = {mix<TransposeStep::kUnpack1, 0>((Vec)low, (Vec)high),
                          mix<TransposeStep::kUnpack1, 1>((Vec)low, (Vec)high)};
    const auto* bytes = reinterpret_cast<const unsigned char*>(pairs);
    const auto length = static_cast<unsigned long>(smaller(8, count - e));
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; ++lane) {
      const int place = lane % 4 / 2 * 4 * kLanes + lane / 4 * 16 + lane % 2 * 8;
      if (lane < images && length == 8) {
        __builtin_memcpy(argmax + lane * stride + e, bytes + place, 8);
      } else if (lane < images) {
        __builtin_memcpy(argmax + lane * stride + e, bytes + place, length);
      }
    }
  }
}

struct Forward {
  ConvPoolShape s;
  std::int64_t row_taps;    // kw * c
  std::int64_t row, pixel;  // floats from one row, one pixel of xt to the next
  std::int64_t pw, row_outputs;
  float* xt;         // [h][w][c][lane]
  float* yt;         // [pw][oc][lane]
  std::int32_t* at;  // [pw][oc][lane]
  float* weights;    // blocks of [kh][kw][c][channel of the block]
  float* bias;       // [oc]
};

// One pooled row of `B` channels from channel `o` on. x: the top row of its windows.
template <int B>
void pooled_row(const Forward& f, const float* x, std::int64_t o) {
  const float* weights = f.weights + o * f.s.kh * f.row_taps;
  for (std::int64_t q = 0; q < f.pw; ++q, x += 2 * f.pixel) {
    Vec acc[4][B];
#pragma GCC unroll 6
    for (int b = 0; b < B; ++b) {
      acc[0][b] = acc[1][b] = acc[2][b] = acc[3][b] = broadcast(f.bias[o + b]);
    }
    const float* w = weights;
    const float* top = x;
    for (std::int64_t i = 0; i < f.s.kh; ++i, top += f.row) {
      const float* at[4] = {top, top + f.pixel, top + f.row, top + f.row + f.pixel};
      for (std::int64_t t = 0; t < f.row_taps; ++t, w += B) {
        Vec tap[B];
#pragma GCC unroll 6
        for (int b = 0; b < B; ++b) {
          tap[b] = broadcast(w[b]);
        }
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          const Vec v = load(at[p] + t * kLanes);
#pragma GCC unroll 6
          for (int b = 0; b < B; ++b) {
            acc[p][b] = fma(v, tap[b], acc[p][b]);
          }
        }
      }
    }
#pragma GCC unroll 6
    for (int b = 0; b < B; ++b) {
      Vec best = acc[0][b];
      IntVec index{};
#pragma GCC unroll 4
      for (int p = 1; p < 4; ++p) {
        const IntVec mask = wins(acc[p][b], best);
        best = mask ? acc[p][b] : best;
        index = mask ? broadcast(p) : index;
      }
      const std::int64_t place = (q * f.s.oc + o + b) * kLanes;
      store(f.yt + place, best);
      *reinterpret_cast<StoredIntVec*>(f.at + place) = index;
    }
  }
}

void pooled_row(const Forward& f, const float* x, std::int64_t o, std::int64_t channels) {
  switch (channels) {
    case 1:
      return pooled_row<1>(f, x, o);
    case 2:
      return pooled_row<2>(f, x, o);
    case 3:
      return pooled_row<3>(f, x, o);
    default:
      break;
  }
  if constexpr (kBlock > 3) {
    switch (channels) {
      case 4:
        return pooled_row<4>(f, x, o);
      case 5:
        return pooled_row<5>(f, x, o);
      default:
        return pooled_row<6>(f, x, o);
    }
  }
}

template <Activation kActivation>
void activate(const Forward& f) {
  for (std::int64_t e = 0; e < f.row_outputs * kLanes; e += kLanes) {
    store(f.yt + e, apply<kActivation>(load(f.yt + e)));
  }
}

void activate(const Forward& f, int activation) {
  switch (static_cast<Activation>(activation)) {
    case Activation::kTanh:
      return activate<Activation::kTanh>(f);
    case Activation::kRelu:
      return activate<Activation::kRelu>(f);
    case Activation::kSigmoid:
      return activate<Activation::kSigmoid>(f);
    case Activation::kNone:
      return;
  }
}

Forward plan(const ConvPoolShape& s, Scratch& scratch) {
  Forward f{};
  f.s = s;
  f.row_taps = s.kw * s.c;
  f.row = s.w * s.c * kLanes;
  f.pixel = s.c * kLanes;
  f.pw = pooled_w(s);
  f.row_outputs = f.pw * s.oc;
  f.xt = scratch.floats(image_size(s) * kLanes);
  f.yt = scratch.floats(f.row_outputs * kLanes);
  f.at = scratch.integers((f.row_outputs + 7) * kLanes);
  f.weights = scratch.floats(s.oc * s.kh * f.row_taps);
  f.bias = scratch.floats(s.oc);
  return f;
}

// Weights [oc][tap] to blocks of channels, [tap][channel] in each.
void pack(const Forward& f, const float* w, const float* bias) {
  const std::int64_t taps = f.s.kh * f.row_taps;
  const std::int64_t blocks = group_count(f.s.oc, kBlock);
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t begin = group_begin(f.s.oc, blocks, block);
    const std::int64_t size = group_begin(f.s.oc, blocks, block + 1) - begin;
    for (std::int64_t o = 0; o < size; ++o) {
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        f.weights[begin * taps + tap * size + o] = w[(begin + o) * taps + tap];
      }
    }
  }
  for (std::int64_t o = 0; o < f.s.oc; ++o) {
    f.bias[o] = bias == nullptr ? 0.0F : bias[o];
  }
}

}  // namespace

std::int64_t conv_pool_forward_scratch(const ConvPoolShape& s) {
  Scratch scratch(nullptr);
  plan(s, scratch);
  return scratch.used();
}

void conv_pool_forward(const ConvPoolShape& s, const float* x, const float* w, const float* bias,
                       int activation, float* y, std::uint8_t* argmax, void* scratch) {
  Scratch pieces(scratch);
  const Forward f = plan(s, pieces);
  pack(f, w, bias);
  const std::int64_t size = image_size(s);
  const std::int64_t outputs = pooled_size(s);
  const std::int64_t blocks = group_count(s.oc, kBlock);
  for (std::int64_t n = 0; n < s.n; n += kLanes) {
    const std::int64_t images = smaller(kLanes, s.n - n);
    std::int64_t done = 0;
    for (std::int64_t r = 0; r < pooled_h(s); ++r) {
      done = gather(x + n * size, size, images, done, (2 * r + 1 + s.kh) * s.w * s.c, f.xt);
      for (std::int64_t block = 0; block < blocks; ++block) {
        const std::int64_t o = group_begin(s.oc, blocks, block);
        pooled_row(f, f.xt + 2 * r * f.row, o, group_begin(s.oc, blocks, block + 1) - o);
      }
      activate(f, activation);
      const std::int64_t place = n * outputs + r * f.row_outputs;
      scatter(f.yt, f.row_outputs, images, outputs, y + place);
      scatter(f.at, f.row_outputs, images, outputs, argmax + place);
    }
  }
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
