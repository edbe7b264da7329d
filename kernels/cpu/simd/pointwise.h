// Routines behind PointwiseKernels: functions of one and of two tensors, and those along axes.
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// PointwiseRule; `function` is the value of enum PointwiseFunction.
struct PointwiseCall {
  int function;
  float a, b, c;
};

/// A destination may be one of the sources.
struct PointwiseTable {
  void (*forward)(const PointwiseCall& call, const float* x, float* y, std::int64_t count);
  void (*backward)(const PointwiseCall& call, const float* x, const float* dy, float* dx,
                   std::int64_t count);
};

/// Elements one behind the other; a source that is repeated is one element. y may be one that is
/// not.
struct BinaryRun {
  const float* a;
  bool repeat_a;
  const float* b;
  bool repeat_b;
  const float* dy;  // of gradients
  float* y;
  std::int64_t count;
};

/// `function` is the value of enum BinaryFunction.
struct BinaryTable {
  void (*forward)(int function, const BinaryRun& run);
  /// y = dy * the derivative by a (input 0) or b (input 1).
  void (*gradient)(int function, int input, const BinaryRun& run);
  /// sums += x, element by element.
  void (*accumulate)(const float* x, double* sums, std::int64_t count);
  /// The sum of x: its order is a function of the count.
  double (*total)(const float* x, std::int64_t count);
};

/// `count` positions along an axis, one behind the other: copies of those from `from` on, filled,
/// or each the sum of its terms.
struct AxisSegment {
  enum Kind : std::uint8_t { kCopy, kFill, kTerms };
  Kind kind;
  std::int64_t to;
  std::int64_t from;  // of kCopy
  std::int64_t count;
};

/// AxisTerms, cut into segments that cover all positions after.
struct AxisRun {
  const AxisSegment* segments;
  std::int64_t segment_count;
  const std::int32_t* begins;
  const std::int32_t* sources;
  const float* weights;
  float fill;
  std::int64_t outer, from, to, inner;
};

struct AxesTable {
  void (*axis_map)(const AxisRun& run, const float* x, float* y);
  void (*axis_map_backward)(const AxisRun& run, const float* dy, float* dx);
  /// Rows of k elements; y may be x, dx a source.
  void (*log_softmax)(const float* x, std::int64_t rows, std::int64_t k, float* y);
  void (*softmax_backward)(const float* y, const float* dy, std::int64_t rows, std::int64_t k,
                           float* dx);
  void (*log_softmax_backward)(const float* y, const float* dy, std::int64_t rows, std::int64_t k,
                               float* dx);
};

}  // namespace gentrain::simd
