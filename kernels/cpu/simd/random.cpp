// Random tensors: Philox4x32-10 for a group of consecutive blocks side by side, plain loops over
// the group that the compiler vectorises (integers and exactly rounded floats: no lane differs).
#include "kernels/cpu/simd/math.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr int kBlocks = 16;
constexpr int kWords = 4 * kBlocks;

// Words of the blocks from `first` on, word by word: word w of block first + b at words[w][b].
void philox(const RandomStream& stream, std::uint64_t first, std::uint32_t words[4][kBlocks]) {
  for (int b = 0; b < kBlocks; ++b) {
    const std::uint64_t index = first + static_cast<std::uint64_t>(b);
    words[0][b] = static_cast<std::uint32_t>(index);
    words[1][b] = static_cast<std::uint32_t>(index >> 32) ^ 0x80000000U;
    words[2][b] = stream.counter[0];
    words[3][b] = stream.counter[1];
  }
  std::uint32_t key0 = stream.key[0];
  std::uint32_t key1 = stream.key[1];
  for (int round = 0; round < 10; ++round) {
    for (int b = 0; b < kBlocks; ++b) {
      const std::uint64_t low = std::uint64_t{0xD2511F53U} * words[0][b];
      const std::uint64_t high = std::uint64_t{0xCD9E8D57U} * words[2][b];
      words[0][b] = static_cast<std::uint32_t>(high >> 32) ^ words[1][b] ^ key0;
      words[1][b] = static_cast<std::uint32_t>(high);
      words[2][b] = static_cast<std::uint32_t>(low >> 32) ^ words[3][b] ^ key1;
      words[3][b] = static_cast<std::uint32_t>(low);
    }
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
}

// The uniform numbers in [0, 1) of a group, word by word as above.
void uniform_group(const RandomStream& stream, std::uint64_t first, float numbers[4][kBlocks]) {
  std::uint32_t words[4][kBlocks];
  philox(stream, first, words);
  for (int w = 0; w < 4; ++w) {
    for (int b = 0; b < kBlocks; ++b) {
      numbers[w][b] = static_cast<float>(static_cast<std::int32_t>(words[w][b] >> 8)) * 0x1p-24F;
    }
  }
}

// visit(first element, elements, numbers in the order of the elements) for each group of a tensor.
template <class Transform, class Visit>
void for_each_group(const RandomStream& stream, std::int64_t count, Transform transform,
                    Visit visit) {
  float numbers[4][kBlocks];
  float ordered[kWords];
  for (std::int64_t i = 0; i < count; i += kWords) {
    uniform_group(stream, static_cast<std::uint64_t>(i) / 4, numbers);
    transform(numbers);
    for (int b = 0; b < kBlocks; ++b) {
      for (int w = 0; w < 4; ++w) {
        ordered[4 * b + w] = numbers[w][b];
      }
    }
    visit(i, static_cast<int>(count - i < kWords ? count - i : kWords), ordered);
  }
}

void uniform(const RandomStream& stream, float low, float high, float* y, std::int64_t count) {
  const float width = high - low;
  for_each_group(
      stream, count, [](float(*)[kBlocks]) {},
      [=](std::int64_t first, int elements, const float* u) {
        for (int i = 0; i < elements; ++i) {
          y[first + i] = low + width * u[i];
        }
      });
}

// Box and Muller: radius sqrt(-2 log(1 - u)) and angle 2 pi v become its cosine and sine part.
void box_muller(Vec& u, Vec& v) {
  const Vec one = broadcast(1.0F);
  const Vec radius = sqrt(broadcast(-2.0F) * log_vec(one - u));
  // The angle is a multiple of a quarter turn plus at most an eighth, both exact.
  const Vec magic = broadcast(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec shifted = fma(v, broadcast(4.0F), magic);
  const Vec rest = fma(shifted - magic, broadcast(-0.25F), v) * broadcast(6.28318531F);
  const IntVec quarter = as_int(shifted) & 3;
  const Vec cosine = cos_vec(rest);
  const Vec sine = sin_vec(rest);
  const IntVec odd = -(quarter & 1);
  const Vec along = select(odd, sine, cosine);
  const Vec across = select(odd, cosine, sine);
  // Signs: the cosine is negative in quarters 1 and 2, the sine in 2 and 3.
  const IntVec cosine_sign = ((quarter + 1) & 2) << 30;
  const IntVec sine_sign = (quarter & 2) << 30;
  u = radius * as_float(as_int(along) ^ cosine_sign);
  v = radius * as_float(as_int(across) ^ sine_sign);
}

void normal(const RandomStream& stream, float mean, float stddev, float* y, std::int64_t count) {
  const auto transform = [](float(*numbers)[kBlocks]) {
    for (int pair = 0; pair < 4; pair += 2) {
      for (int b = 0; b < kBlocks; b += kLanes) {
        Vec first = load(&numbers[pair][b]);
        Vec second = load(&numbers[pair + 1][b]);
        box_muller(first, second);
        store(&numbers[pair][b], first);
        store(&numbers[pair + 1][b], second);
      }
    }
  };
  for_each_group(stream, count, transform, [=](std::int64_t first, int elements, const float* g) {
    for (int i = 0; i < elements; ++i) {
      y[first + i] = mean + stddev * g[i];
    }
  });
}

void dropout(const RandomStream& stream, float keep, const float* x, float* y, std::int64_t count) {
  for_each_group(
      stream, count, [](float(*)[kBlocks]) {},
      [=](std::int64_t first, int elements, const float* u) {
        for (int i = 0; i < elements; ++i) {
          y[first + i] = u[i] < keep ? x[first + i] / keep : 0.0F;
        }
      });
}

}  // namespace

RandomTable make_random_table() {
  return {uniform, normal, dropout};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
