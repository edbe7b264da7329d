// Winograd's minimal filtering along one axis: F(4, 3), F(4, 5) and F(4, 7), convolutions with
// stride 1 whose kernel has 3, 5 or 7 weights along that axis, for 6, 8 and 10 products where the
// definition takes 12, 20 and 28. The routines behind the convolutions that
// kernels/cpu/winograd_line.h takes.
//
// Four results along a line of pixels are A^T [(G g) . (B^T d)] for their window d of 3 + taps
// pixels and the weights g; kernels of more rows than one add up the products of the windows of
// their rows. A value that is NaN or infinite reaches every result that depends on it, as NaN or
// infinite; it may reach others of the same four, never further. Values beyond 1e34 may overflow on
// the way.
//
// Source: Lavin and Gray 2016, arXiv:1509.09308; Winograd 1980, "Arithmetic complexity of
// computations".
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Images of lines of pixels: rows if the axis is along rows, columns if it is along columns.
/// Pixels are c floats one behind the other.
struct LineImages {
  std::int64_t lines, length;       // of one image, pixels
  std::int64_t image, line, pixel;  // floats from one to the next
};

struct LineShape {
  std::int64_t n, c, oc;
  std::int64_t taps;  // weights along a line: 3, 5 or 7
  std::int64_t rows;  // lines under a kernel, at least 1
  LineImages from, to;
  /// Zeros before each line, 0 to taps - 1, and lines of zeros before each image, 0 to rows - 1; as
  /// many behind them as the results need. With one row both have as many lines.
  std::int64_t before, above;
  std::int64_t tap_step,
      row_step;  // pixels of a kernel [kh, kw] from one to the next, on both axes
};

/// y = activation(x * weights + bias)
struct LineCall {
  const float* x;
  const float* weights;  // written by pack or pack_turned
  const float* bias;     // [oc] or null
  int activation;        // the value of enum Activation
  float* y;
  void* scratch;  // scratch() bytes, aligned to 64 bytes
};

/// Any number of channels from 1 on; multiples of kLanes (8, or 16) waste nothing.
struct WinogradLineTable {
  /// Floats that pack and pack_turned write for a convolution of the shape.
  std::int64_t (*packed_floats)(const LineShape& s);
  /// w [oc, kh, kw, c] for a convolution of c channels to oc.
  void (*pack)(const LineShape& s, const float* w, float* packed);
  /// w [c, kh, kw, oc], turned by 180 degrees, for a convolution of c channels to oc: gradients of
  /// images from those of results.
  void (*pack_turned)(const LineShape& s, const float* w, float* packed);

  std::int64_t (*scratch)(const LineShape& s);
  void (*forward)(const LineShape& s, const LineCall& call);
};

}  // namespace gentrain::simd
