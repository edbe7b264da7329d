// Functions of one tensor and routines along axes: checks, then the vector kernels. Functions of
// two tensors stand in binary.cpp.
#include "kernels/pointwise.h"

#include <vector>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/binary.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/permute.h"
#include "kernels/cpu/simd.h"

namespace gentrain::cpu {

namespace {

using simd::AxisSegment;

simd::PointwiseCall call_of(const PointwiseRule& rule) {
  check(rule);
  return {static_cast<int>(rule.function), static_cast<float>(rule.a), static_cast<float>(rule.b),
          static_cast<float>(rule.c)};
}

/// Whether position i is a copy of one before.
bool is_copy(const AxisTerms& terms, std::size_t i) {
  const auto first = static_cast<std::size_t>(terms.begins[i]);
  return terms.begins[i + 1] - terms.begins[i] == 1 && terms.weights[first] == 1;
}

AxisSegment segment_at(const AxisTerms& terms, std::size_t i) {
  const auto to = static_cast<std::int64_t>(i);
  if (terms.begins[i] == terms.begins[i + 1]) {
    return {AxisSegment::kFill, to, 0, 1};
  }
  if (is_copy(terms, i)) {
    return {AxisSegment::kCopy, to, terms.sources[static_cast<std::size_t>(terms.begins[i])], 1};
  }
  return {AxisSegment::kTerms, to, 0, 1};
}

std::vector<AxisSegment> segments_of(const AxisTerms& terms) {
  std::vector<AxisSegment> result;
  for (std::size_t i = 0; i + 1 < terms.begins.size(); ++i) {
    const AxisSegment next = segment_at(terms, i);
    const bool goes_on =
        !result.empty() && result.back().kind == next.kind &&
        (next.kind != AxisSegment::kCopy || result.back().from + result.back().count == next.from);
    if (goes_on) {
      ++result.back().count;
    } else {
      result.push_back(next);
    }
  }
  return result;
}

/// `before` is [outer, from, inner], `after` [outer, to, inner].
simd::AxisRun run_of(std::string_view routine, const AxisTerms& terms, const Shape& before,
                     const Shape& after, const std::vector<AxisSegment>& segments) {
  check_axis_shapes(routine, terms, before, after);
  return {.segments = segments.data(),
          .segment_count = std::ssize(segments),
          .begins = terms.begins.data(),
          .sources = terms.sources.data(),
          .weights = terms.weights.data(),
          .fill = terms.fill,
          .outer = before[0],
          .from = terms.from,
          .to = terms.to(),
          .inner = before[2]};
}

class Pointwise final : public PointwiseKernels {
 public:
  explicit Pointwise(const Backend& backend)
      : table_(backend.simd->pointwise),
        axes_(backend.simd->axes),
        loss_(backend.simd->loss),
        binary_(backend.simd->binary) {}

  void forward(Queue& /*queue*/, const PointwiseRule& rule, ConstView x, View y) override {
    const Arguments arguments("pointwise");
    const simd::PointwiseCall call = call_of(rule);
    arguments.require_elements("x", x, y.elements());
    arguments.require_elements("y", y, y.elements());
    table_.forward(call, x.as<float>(), y.as<float>(), y.elements());
  }

  void backward(Queue& /*queue*/, const PointwiseRule& rule, ConstView x, ConstView dy,
                View dx) override {
    const Arguments arguments("pointwise backward");
    const simd::PointwiseCall call = call_of(rule);
    arguments.require_elements("x", x, dx.elements());
    arguments.require_elements("dy", dy, dx.elements());
    arguments.require_elements("dx", dx, dx.elements());
    table_.backward(call, x.as<float>(), dy.as<float>(), dx.as<float>(), dx.elements());
  }

  void binary(Queue& /*queue*/, BinaryFunction function, ConstView a, ConstView b,
              View y) override {
    binary_forward(binary_, function, a, b, y);
  }

  void binary_backward(Queue& queue, BinaryFunction function, const BinarySources& sources, View da,
                       View db, ShardRows shards) override {
    binary_gradients(binary_, queue, {function, sources, shards}, da, db);
  }

  void permute(Queue& /*queue*/, std::span<const int> axes, ConstView x, View y) override {
    const Arguments arguments("permute");
    const DType type = x.dtype == DType::kBf16 ? DType::kBf16 : DType::kF32;
    arguments.require("x", x, x.shape, type);
    arguments.require("y", y, permuted("permute", x.shape, axes), type);
    cpu::permute(axes, x, y);
  }

  void axis_map(Queue& /*queue*/, const AxisTerms& terms, ConstView x, View y) override {
    const Arguments arguments("axis map");
    check("axis map", terms);
    arguments.require("x", x, x.shape);
    arguments.require("y", y, y.shape);
    const std::vector<AxisSegment> segments = segments_of(terms);
    axes_.axis_map(run_of("axis map", terms, x.shape, y.shape, segments), x.as<float>(),
                   y.as<float>());
  }

  void axis_map_backward(Queue& /*queue*/, const AxisTerms& terms, ConstView dy, View dx) override {
    const Arguments arguments("axis map backward");
    check("axis map backward", terms);
    arguments.require("dy", dy, dy.shape);
    arguments.require("dx", dx, dx.shape);
    const std::vector<AxisSegment> segments = segments_of(terms);
    axes_.axis_map_backward(run_of("axis map backward", terms, dx.shape, dy.shape, segments),
                            dy.as<float>(), dx.as<float>());
  }

  void softmax(Queue& /*queue*/, bool log, ConstView x, View y) override {
    const Arguments arguments("softmax");
    arguments.require("x", x, x.shape);
    arguments.require("y", y, x.shape);
    const std::int64_t k = last_extent("softmax", x.shape);
    const std::int64_t rows = x.elements() / k;
    if (log) {
      axes_.log_softmax(x.as<float>(), rows, k, y.as<float>());
    } else {
      loss_.softmax(x.as<float>(), rows, k, y.as<float>());
    }
  }

  void softmax_backward(Queue& /*queue*/, bool log, ConstView y, ConstView dy, View dx) override {
    const Arguments arguments("softmax backward");
    arguments.require("y", y, y.shape);
    arguments.require("dy", dy, y.shape);
    arguments.require("dx", dx, y.shape);
    const std::int64_t k = last_extent("softmax backward", y.shape);
    const auto routine = log ? axes_.log_softmax_backward : axes_.softmax_backward;
    routine(y.as<float>(), dy.as<float>(), y.elements() / k, k, dx.as<float>());
  }

 private:
  const simd::PointwiseTable& table_;
  const simd::AxesTable& axes_;
  const simd::LossTable& loss_;
  const simd::BinaryTable& binary_;
};

}  // namespace

std::unique_ptr<PointwiseKernels> make_pointwise(const Backend& backend) {
  return std::make_unique<Pointwise>(backend);
}

}  // namespace gentrain::cpu
