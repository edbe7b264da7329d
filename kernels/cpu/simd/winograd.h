// Winograd's minimal filtering F(4x4, 3x3): 3x3 convolutions with stride 1 for 36 products where
// the definition takes 144. The routines behind the convolutions that kernels/cpu/winograd.h takes.
//
// A tile of 4x4 results is A^T [(G g G^T) . (B^T d B)] A for its window d of 6x6 pixels and the
// weights g of 3x3. The interpolation points 0, +-2/3, +-3/2 and infinity keep the error near that
// of a direct sum (0, +-1, +-2 more than double it). Sums over channels are 36 matrix products per
// block of tiles. A value that is NaN or infinite reaches every result that depends on it, as NaN
// or infinite; it may reach others of the same 4x4 tile (backward by weights: other taps of the
// same pair of channels), never another tile. Values beyond 1e36 may overflow on the way.
//
// Source: Lavin and Gray 2016, arXiv:1509.09308; Winograd 1980, "Arithmetic complexity of
// computations".
#pragma once

#include <cstdint>

namespace gentrain::simd {

/// Images [n, h, w, c], results [n, oh, ow, oc]; `top` and `left` rows and columns of zeros before
/// the image, and as many behind it as the results need; each 0 to 2.
struct WinogradShape {
  std::int64_t n, h, w, c, oh, ow, oc, top, left;
};

/// y = activation(x * weights + bias). What follows the sum belongs here: it costs no pass of its
/// own.
struct WinogradCall {
  const float* x;
  const float* weights;  // written by pack or pack_turned
  const float* bias;     // [oc] or null
  int activation;        // the value of enum Activation
  float* y;
  void* scratch;  // forward_scratch bytes, aligned to 64 bytes
};

/// Any number of channels from 1 on; multiples of kLanes (8, or 16) waste nothing.
struct WinogradTable {
  /// Floats that pack and pack_turned write.
  std::int64_t (*packed_floats)(std::int64_t c, std::int64_t oc);
  /// w [k, 3, 3, c] for a convolution of c channels to k.
  void (*pack)(const float* w, std::int64_t k, std::int64_t c, float* packed);
  /// w [k, 3, 3, c], turned by 180 degrees, for a convolution of k channels to c: gradients of the
  /// images from those of the results.
  void (*pack_turned)(const float* w, std::int64_t k, std::int64_t c, float* packed);

  std::int64_t (*forward_scratch)(const WinogradShape& shape);
  void (*forward)(const WinogradShape& shape, const WinogradCall& call);

  std::int64_t (*backward_weights_scratch)(const WinogradShape& shape);
  /// dw [oc, 3, 3, c] and, unless null, dbias [oc] from x and dy [n, oh, ow, oc]. Sums over tiles
  /// go through blocks of tiles in their order.
  void (*backward_weights)(const WinogradShape& shape, const float* x, const float* dy, float* dw,
                           float* dbias, void* scratch);
};

}  // namespace gentrain::simd
