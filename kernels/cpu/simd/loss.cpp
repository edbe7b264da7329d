// Losses, row by row. Of softmax the largest logit is subtracted first, of sigmoid only e^-|x| is
// taken, so that nothing overflows.
#include "kernels/cpu/simd/math.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

constexpr float kInfinity = __builtin_inff();

// Lanes of the vector at column j of a row with k columns.
IntVec lanes_at(std::int64_t j, std::int64_t k) {
  return first_lanes(static_cast<int>(k - j < kLanes ? k - j : kLanes));
}

// How a vector of a row is read and written: whole, or the last one, whose missing lanes are zeros.
struct Whole {
  static Vec load_from(const float* p) { return load(p); }
  static void store_to(float* p, Vec v) { store(p, v); }
  static Vec lanes_of(Vec v) { return v; }
};
struct Masked {
  IntVec lanes;
  Vec load_from(const float* p) const { return load_masked(p, lanes); }
  void store_to(float* p, Vec v) const { store_masked(p, v, lanes); }
  Vec lanes_of(Vec v) const { return select(lanes, v, Vec{}); }
};
// visit(first column, Whole or Masked) for the vectors of a row.
template <class Visit>
void for_each_vector(std::int64_t k, Visit visit) {
  std::int64_t j = 0;
  for (; j + kLanes <= k; j += kLanes) {
    visit(j, Whole{});
  }
  if (j < k) {
    visit(j, Masked{lanes_at(j, k)});
  }
}

float largest_of(const float* row, std::int64_t k) {
  Vec best = broadcast(-kInfinity);
  for (std::int64_t j = 0; j < k; j += kLanes) {
    const IntVec lanes = lanes_at(j, k);
    best = max(best, select(lanes, load_masked(row + j, lanes), best));
  }
  return largest(best);
}

// Writes e^(row - shift) and returns its sum. Missing lanes count as e^-infinity = 0.
float exponentials(const float* row, float shift, std::int64_t k, float* y) {
  Vec total{};
  for (std::int64_t j = 0; j < k; j += kLanes) {
    const IntVec lanes = lanes_at(j, k);
    const Vec x = select(lanes, load_masked(row + j, lanes), broadcast(-kInfinity));
    const Vec e = exp_vec(x - broadcast(shift));
    store_masked(y + j, e, lanes);
    total += e;
  }
  return sum(total);
}

void scale_row(float factor, std::int64_t k, float* y) {
  for (std::int64_t j = 0; j < k; j += kLanes) {
    const IntVec lanes = lanes_at(j, k);
    store_masked(y + j, load_masked(y + j, lanes) * broadcast(factor), lanes);
  }
}

bool is_first_largest(const float* row, std::int64_t label, float largest) {
  if (row[label] != largest) {
    return false;
  }
  for (std::int64_t j = 0; j < label; ++j) {
    if (row[j] == largest) {
      return false;
    }
  }
  return true;
}

void softmax_cross_entropy(const float* logits, const std::int32_t* labels, const float* weights,
                           std::int64_t n, std::int64_t k, float* probabilities, float* sums) {
  double loss = 0;
  std::int64_t hits = 0;
  // The logarithms of kLanes rows are taken at once.
  for (std::int64_t first = 0; first < n; first += kLanes) {
    const int rows = static_cast<int>(n - first < kLanes ? n - first : kLanes);
    Vec totals = broadcast(1.0F);
    Vec shifts{};
    for (int r = 0; r < rows; ++r) {
      const float* row = logits + (first + r) * k;
      float* y = probabilities + (first + r) * k;
      const std::int64_t label = labels[first + r];
      const float top = largest_of(row, k);
      const float total = exponentials(row, top, k, y);
      scale_row(1.0F / total, k, y);
      hits += is_first_largest(row, label, top) ? 1 : 0;
      totals[r] = total;
      shifts[r] = row[label] - top;
    }
    const Vec logs = log_vec(totals);
    for (int r = 0; r < rows; ++r) {
      const double weight = weights == nullptr ? 1.0 : static_cast<double>(weights[first + r]);
      loss += weight * (static_cast<double>(logs[r]) - static_cast<double>(shifts[r]));
    }
  }
  sums[0] = static_cast<float>(loss);
  sums[1] = static_cast<float>(hits);
}

void softmax_cross_entropy_backward(const float* probabilities, const std::int32_t* labels,
                                    const float* weights, float scale, std::int64_t n,
                                    std::int64_t k, float* dlogits) {
  const auto scaled = make_elementwise_table().scale;
  if (weights == nullptr) {
    scaled(scale, probabilities, dlogits, n * k);
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const float factor = weights == nullptr ? scale : scale * weights[i];
    if (weights != nullptr) {
      scaled(factor, probabilities + i * k, dlogits + i * k, k);
    }
    const std::int64_t at = i * k + labels[i];
    dlogits[at] = factor * (probabilities[at] - 1.0F);
  }
}

void softmax(const float* logits, std::int64_t n, std::int64_t k, float* probabilities) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float* row = logits + i * k;
    float* y = probabilities + i * k;
    scale_row(1.0F / exponentials(row, largest_of(row, k), k, y), k, y);
  }
}

void sigmoid_cross_entropy(const float* logits, const float* targets, std::int64_t n,
                           std::int64_t k, float* losses) {
  const Vec zero{};
  const Vec one = broadcast(1.0F);
  for (std::int64_t i = 0; i < n; ++i) {
    Vec total{};
    for_each_vector(k, [&](std::int64_t j, auto part) {
      const Vec x = part.load_from(logits + i * k + j);
      const Vec t = part.load_from(targets + i * k + j);
      const Vec softplus = max(zero, x) + log_vec(one + exp_vec(-max(x, -x)));
      total += part.lanes_of(softplus - x * t);
    });
    losses[i] = sum(total);
  }
}

void sigmoid_cross_entropy_backward(const float* logits, const float* targets, float scale,
                                    std::int64_t count, float* dlogits) {
  const Vec factor = broadcast(scale);
  for_each_vector(count, [&](std::int64_t j, auto part) {
    const Vec p = sigmoid_vec(part.load_from(logits + j));
    part.store_to(dlogits + j, factor * (p - part.load_from(targets + j)));
  });
}

// A row may be a whole image: floats are summed within blocks of kReduceBlock only.
void squared_error(const float* x, const float* target, std::int64_t n, std::int64_t k,
                   float* losses) {
  for (std::int64_t i = 0; i < n; ++i) {
    double total = 0;
    for (std::int64_t first = 0; first < k; first += kReduceBlock) {
      const std::int64_t last = smaller(k, first + kReduceBlock);
      const float* a = x + i * k;
      const float* b = target + i * k;
      Vec sums[2] = {};
      std::int64_t j = first;
      for (; j + 2 * kLanes <= last; j += 2 * kLanes) {
        const Vec even = load(a + j) - load(b + j);
        const Vec odd = load(a + j + kLanes) - load(b + j + kLanes);
        sums[0] = fma(even, even, sums[0]);
        sums[1] = fma(odd, odd, sums[1]);
      }
      for (; j < last; j += kLanes) {
        const IntVec lanes = lanes_at(j, last);
        const Vec distance = load_masked(a + j, lanes) - load_masked(b + j, lanes);
        sums[0] = fma(distance, distance, sums[0]);
      }
      total += static_cast<double>(sum(sums[0] + sums[1]));
    }
    losses[i] = static_cast<float>(total);
  }
}

void squared_error_backward(const float* x, const float* target, float scale, std::int64_t count,
                            float* dx) {
  const Vec factor = broadcast(2.0F * scale);
  for (std::int64_t j = 0; j < count; j += kLanes) {
    const IntVec lanes = lanes_at(j, count);
    const Vec distance = load_masked(x + j, lanes) - load_masked(target + j, lanes);
    store_masked(dx + j, factor * distance, lanes);
  }
}

void gaussian_sample(const float* latent, const float* noise, std::int64_t n, std::int64_t k,
                     float* z, float* divergence) {
  const Vec half = broadcast(0.5F);
  for (std::int64_t i = 0; i < n; ++i) {
    const float* means = latent + 2 * i * k;
    Vec total{};
    for_each_vector(k, [&](std::int64_t j, auto part) {
      const Vec mean = part.load_from(means + j);
      const Vec log_variance = part.load_from(means + k + j);
      const Vec stddev = exp_vec(log_variance * half);
      // Lanes that are missing have mean 0 and variance 1: nothing is added.
      total += fma(stddev, stddev, mean * mean) - broadcast(1.0F) - log_variance;
      part.store_to(z + i * k + j, fma(stddev, part.load_from(noise + i * k + j), mean));
    });
    divergence[i] = 0.5F * sum(total);
  }
}

void gaussian_sample_backward(const float* latent, const float* noise, const float* dz, float scale,
                              std::int64_t n, std::int64_t k, float* dlatent) {
  const Vec half = broadcast(0.5F);
  const Vec factor = broadcast(scale);
  for (std::int64_t i = 0; i < n; ++i) {
    const float* means = latent + 2 * i * k;
    float* dmeans = dlatent + 2 * i * k;
    for_each_vector(k, [&](std::int64_t j, auto part) {
      const Vec mean = part.load_from(means + j);
      const Vec stddev = exp_vec(part.load_from(means + k + j) * half);
      const Vec gradient = part.load_from(dz + i * k + j);
      const Vec through_noise = gradient * part.load_from(noise + i * k + j) * stddev;
      part.store_to(dmeans + j, fma(factor, mean, gradient));
      const Vec excess = fma(stddev, stddev, broadcast(-1.0F));
      part.store_to(dmeans + k + j, half * fma(factor, excess, through_noise));
    });
  }
}

}  // namespace

LossTable make_loss_table() {
  return {softmax_cross_entropy,
          softmax_cross_entropy_backward,
          softmax,
          sigmoid_cross_entropy,
          sigmoid_cross_entropy_backward,
          squared_error,
          squared_error_backward,
          gaussian_sample,
          gaussian_sample_backward};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
