// Functions of two tensors along runs of elements, and the sums of gradients of what is repeated.
#include "kernels/cpu/simd/functions.h"
#include "kernels/cpu/simd/tables.h"
#include "kernels/pointwise_function.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

namespace {

// How a source is read: element by element, or one element again and again.
struct Each {
  const float* p;
  [[nodiscard]] Vec whole(std::int64_t i) const { return load(p + i); }
  [[nodiscard]] Vec rest(std::int64_t i, IntVec lanes) const { return load_masked(p + i, lanes); }
};
struct Same {
  Vec v;
  [[nodiscard]] Vec whole(std::int64_t /*i*/) const { return v; }
  [[nodiscard]] Vec rest(std::int64_t /*i*/, IntVec /*lanes*/) const { return v; }
};

// visit(how a is read, how b is read)
template <class Visit>
void read(const BinaryRun& run, const Visit& visit) {
  if (run.repeat_a && run.repeat_b) {
    visit(Same{broadcast(*run.a)}, Same{broadcast(*run.b)});
  } else if (run.repeat_a) {
    visit(Same{broadcast(*run.a)}, Each{run.b});
  } else if (run.repeat_b) {
    visit(Each{run.a}, Same{broadcast(*run.b)});
  } else {
    visit(Each{run.a}, Each{run.b});
  }
}

template <class Function>
void apply_to(const BinaryRun& run, const Function& function) {
  read(run, [&](const auto& a, const auto& b) {
    std::int64_t i = 0;
    for (; i + kLanes <= run.count; i += kLanes) {
      store(run.y + i, function(a.whole(i), b.whole(i)));
    }
    if (const int count = static_cast<int>(run.count - i); count > 0) {
      const IntVec lanes = first_lanes(count);
      store_masked(run.y + i, function(a.rest(i, lanes), b.rest(i, lanes)), lanes);
    }
  });
}

template <class Function>
void gradient_of(const BinaryRun& run, const Function& function) {
  read(run, [&](const auto& a, const auto& b) {
    std::int64_t i = 0;
    for (; i + kLanes <= run.count; i += kLanes) {
      store(run.y + i, function(a.whole(i), b.whole(i), load(run.dy + i)));
    }
    if (const int count = static_cast<int>(run.count - i); count > 0) {
      const IntVec lanes = first_lanes(count);
      const Vec d = load_masked(run.dy + i, lanes);
      store_masked(run.y + i, function(a.rest(i, lanes), b.rest(i, lanes), d), lanes);
    }
  });
}

void forward(int function, const BinaryRun& run) {
  switch (static_cast<BinaryFunction>(function)) {
    case BinaryFunction::kAdd:
      return apply_to(run, [](Vec a, Vec b) { return a + b; });
    case BinaryFunction::kSubtract:
      return apply_to(run, [](Vec a, Vec b) { return a - b; });
    case BinaryFunction::kMultiply:
      return apply_to(run, [](Vec a, Vec b) { return a * b; });
    case BinaryFunction::kDivide:
      return apply_to(run, [](Vec a, Vec b) { return a / b; });
    case BinaryFunction::kMaximum:
      return apply_to(run, [](Vec a, Vec b) { return select((a > b) | (a != a), a, b); });
    case BinaryFunction::kMinimum:
      return apply_to(run, [](Vec a, Vec b) { return select((a < b) | (a != a), a, b); });
  }
}

// The gradient of the one of two that is taken unless it `loses`; half of it where both are equal.
Vec share(IntVec loses, Vec a, Vec b, Vec dy) {
  const Vec factor = select(a == b, broadcast(0.5F), broadcast(1.0F));
  return dy * select(loses, Vec{}, factor);
}

void gradient(int function, int input, const BinaryRun& run) {
  const bool first = input == 0;
  switch (static_cast<BinaryFunction>(function)) {
    case BinaryFunction::kAdd:
      return gradient_of(run, [](Vec, Vec, Vec d) { return d; });
    case BinaryFunction::kSubtract:
      return gradient_of(run, [first](Vec, Vec, Vec d) { return first ? d : -d; });
    case BinaryFunction::kMultiply:
      return gradient_of(run, [first](Vec a, Vec b, Vec d) { return d * (first ? b : a); });
    case BinaryFunction::kDivide:
      return gradient_of(
          run, [first](Vec a, Vec b, Vec d) { return first ? d / b : -d * ((a / b) / b); });
    case BinaryFunction::kMaximum:
      return gradient_of(
          run, [first](Vec a, Vec b, Vec d) { return share(first ? a < b : a > b, a, b, d); });
    case BinaryFunction::kMinimum:
      return gradient_of(
          run, [first](Vec a, Vec b, Vec d) { return share(first ? a > b : a < b, a, b, d); });
  }
}

void accumulate(const float* x, double* sums, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] += static_cast<double>(x[i]);
  }
}

// Eight sums, whatever a vector holds, then halves are added until one is left.
double total(const float* x, std::int64_t count) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) {
      sums[j] += static_cast<double>(x[i + j]);
    }
  }
  for (int j = 0; i + j < count; ++j) {
    sums[j] += static_cast<double>(x[i + j]);
  }
  for (int half = kSums / 2; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) {
      sums[j] += sums[j + half];
    }
  }
  return sums[0];
}

}  // namespace

BinaryTable make_binary_table() {
  return {forward, gradient, accumulate, total};
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
