// Routines along axes: positions that are weighted sums of others, and softmax over the last one.
#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/map.h"
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

void copy(const float* x, float* y, std::int64_t count) {
  __builtin_memcpy(y, x, static_cast<unsigned long>(count) * sizeof(float));
}

void fill(float value, float* y, std::int64_t count) {
  map(y, y, count, [value](Vec) { return broadcast(value); });
}

// y [inner] = the sum of the terms of a position, the first one of which is at `t`.
void sum_terms(const AxisRun& run, std::int64_t t, std::int64_t last, const float* x, float* y) {
  std::int64_t j = 0;
  const auto sum = [&](const auto& load_at) {
    Vec result = broadcast(run.weights[t]) * load_at(run.sources[t] * run.inner + j);
    for (std::int64_t i = t + 1; i < last; ++i) {
      result = fma(broadcast(run.weights[i]), load_at(run.sources[i] * run.inner + j), result);
    }
    return result;
  };
  for (; j + kLanes <= run.inner; j += kLanes) {
    store(y + j, sum([x](std::int64_t at) { return load(x + at); }));
  }
  if (const int rest = static_cast<int>(run.inner - j); rest > 0) {
    const IntVec lanes = first_lanes(rest);
    store_masked(y + j, sum([&](std::int64_t at) { return load_masked(x + at, lanes); }), lanes);
  }
}

void apply(const AxisRun& run, const AxisSegment& segment, const float* x, float* y) {
  float* to = y + segment.to * run.inner;
  switch (segment.kind) {
    case AxisSegment::kCopy:
      return copy(x + segment.from * run.inner, to, segment.count * run.inner);
    case AxisSegment::kFill:
      return fill(run.fill, to, segment.count * run.inner);
    case AxisSegment::kTerms:
      break;
  }
  for (std::int64_t i = segment.to; i < segment.to + segment.count; ++i, to += run.inner) {
    sum_terms(run, run.begins[i], run.begins[i + 1], x, to);
  }
}

void axis_map(const AxisRun& run, const float* x, float* y) {
  for (std::int64_t o = 0; o < run.outer; ++o) {
    for (std::int64_t s = 0; s < run.segment_count; ++s) {
      apply(run, run.segments[s], x + o * run.from * run.inner, y + o * run.to * run.inner);
    }
  }
}

// dx += weight * dy
void add_weighted(float weight, const float* dy, float* dx, std::int64_t count) {
  map(dy, dx, dx, count, [weight](Vec d, Vec sum) { return fma(broadcast(weight), d, sum); });
}

void apply_backward(const AxisRun& run, const AxisSegment& segment, const float* dy, float* dx) {
  const float* from = dy + segment.to * run.inner;
  if (segment.kind == AxisSegment::kCopy) {
    add_weighted(1, from, dx + segment.from * run.inner, segment.count * run.inner);
  }
  if (segment.kind != AxisSegment::kTerms) {
    return;
  }
  for (std::int64_t i = segment.to; i < segment.to + segment.count; ++i, from += run.inner) {
    for (std::int64_t t = run.begins[i]; t < run.begins[i + 1]; ++t) {
      add_weighted(run.weights[t], from, dx + run.sources[t] * run.inner, run.inner);
    }
  }
}

void axis_map_backward(const AxisRun& run, const float* dy, float* dx) {
  for (std::int64_t o = 0; o < run.outer; ++o) {
    float* row = dx + o * run.from * run.inner;
    fill(0, row, run.from * run.inner);
    for (std::int64_t s = 0; s < run.segment_count; ++s) {
      apply_backward(run, run.segments[s], dy + o * run.to * run.inner, row);
    }
  }
}

// The largest of a row, or any number where it has NaN; the sum of term(i, lanes) over a row.
float largest_of(const float* row, std::int64_t k) {
  Vec best = broadcast(-__builtin_inff());
  for (std::int64_t j = 0; j < k; j += kLanes) {
    const IntVec lanes = first_lanes(static_cast<int>(smaller(k - j, kLanes)));
    best = max(select(lanes, load_masked(row + j, lanes), best), best);
  }
  return largest(best);
}

template <class Term>
float sum_over(std::int64_t k, const Term& term) {
  Vec total{};
  for (std::int64_t j = 0; j < k; j += kLanes) {
    const IntVec lanes = first_lanes(static_cast<int>(smaller(k - j, kLanes)));
    total += select(lanes, term(j, lanes), Vec{});
  }
  return sum(total);
}

void log_softmax(const float* x, std::int64_t rows, std::int64_t k, float* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += k, y += k) {
    const Vec shift = broadcast(largest_of(x, k));
    const float total = sum_over(k, [&](std::int64_t j, IntVec lanes) {
      return exp_vec(load_masked(x + j, lanes) - shift);
    });
    const Vec log_total = log_any_vec(broadcast(total));
    map(x, y, k, [&](Vec v) { return (v - shift) - log_total; });
  }
}

void softmax_backward(const float* y, const float* dy, std::int64_t rows, std::int64_t k,
                      float* dx) {
  for (std::int64_t row = 0; row < rows; ++row, y += k, dy += k, dx += k) {
    const Vec mean = broadcast(sum_over(k, [&](std::int64_t j, IntVec lanes) {
      return load_masked(y + j, lanes) * load_masked(dy + j, lanes);
    }));
    map(y, dy, dx, k, [&](Vec v, Vec d) { return v * (d - mean); });
  }
}

void log_softmax_backward(const float* y, const float* dy, std::int64_t rows, std::int64_t k,
                          float* dx) {
  for (std::int64_t row = 0; row < rows; ++row, y += k, dy += k, dx += k) {
    const Vec total = broadcast(
        sum_over(k, [&](std::int64_t j, IntVec lanes) { return load_masked(dy + j, lanes); }));
    map(y, dy, dx, k, [&](Vec v, Vec d) { return d - exp_vec(v) * total; });
  }
}

}  // namespace

AxesTable make_axes_table() {
  return {axis_map, axis_map_backward, log_softmax, softmax_backward, log_softmax_backward};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
