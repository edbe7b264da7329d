// The differentiable convolutions and what describes them. Images are NHWC; tensors as in ops.h,
// which includes this.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/tensor.h"
#include "kernels/activation.h"

namespace gentrain::ops {

struct Stride {
  std::int64_t h = 1;
  std::int64_t w = 1;
};
struct Padding {
  std::int64_t top = 0;
  std::int64_t bottom = 0;
  std::int64_t left = 0;
  std::int64_t right = 0;
};
/// Distance between the pixels that neighbouring weights of a kernel see.
struct Dilation {
  std::int64_t h = 1;
  std::int64_t w = 1;
};

/// How a kernel slides over images, and what follows.
struct ConvOptions {
  Stride stride{1, 1};
  Padding padding{0, 0, 0, 0};
  Activation activation = Activation::kNone;
  /// Result channels are cut into so many groups, which divide c and oc; each is computed from its
  /// own c / groups channels of x alone. c groups: a depthwise convolution.
  std::int64_t groups = 1;
  Dilation dilation{1, 1};
};

/// Two-dimensional cross-correlation with zero padding, bias and activation.
///
/// x       [n, h, w, c]
/// weights [oc, kh, kw, c / groups]
/// bias    [oc], or undefined for none
/// result  [n, oh, ow, oc], oh = floor((h + top + bottom - covered) / stride.h) + 1 with covered =
///         (kh - 1) * dilation.h + 1, ow likewise
///
/// Throws ShapeError if ranks or channel counts differ, the groups do not divide them or a result
/// extent would be below 1.
/// Source: Dumoulin and Visin 2016, arXiv:1603.07285.
Tensor conv2d(Context& context, const Tensor& x, const Tensor& weights, const Tensor& bias,
              const ConvOptions& options = {});

/// activation(max_pool(conv2d(x, weights) + bias)) with a 2x2 window and stride 2, extents rounded
/// down. Where the device has a kernel for the whole, the convolution's result is never stored.
///
/// result [n, oh / 2, ow / 2, oc]
///
/// Throws ShapeError as conv2d, and if a result extent would be below 1.
Tensor conv2d_max_pool(Context& context, const Tensor& x, const Tensor& weights, const Tensor& bias,
                       const ConvOptions& options = {});

/// The convolution whose transpose is meant, and the pixels of its images: several extents may give
/// the same result of a convolution with strides.
struct ConvTransposeOptions {
  Stride stride{1, 1};
  Padding padding{0, 0, 0, 0};  // of the result
  std::int64_t groups = 1;
  Dilation dilation{1, 1};
  std::int64_t to_h = 0;
  std::int64_t to_w = 0;
};

/// The map whose matrix is the transpose of that of conv2d from images [to_h, to_w, out] to
/// [h, w, c] with these weights, stride, padding, groups and dilation; then bias. The gradient of
/// such a conv2d, known as deconvolution too.
///
/// x       [n, h, w, c]
/// weights [c, kh, kw, out / groups]
/// bias    [out], or undefined for none
/// result  [n, to_h, to_w, out]
///
/// Throws ShapeError if ranks or channel counts differ, the groups do not divide them, the weights
/// are empty, to_h or to_w is below 1, or that conv2d would not give [h, w] pixels.
/// Source: Dumoulin and Visin 2016, arXiv:1603.07285.
Tensor conv2d_transpose(Context& context, const Tensor& x, const Tensor& weights,
                        const Tensor& bias, const ConvTransposeOptions& options);

}  // namespace gentrain::ops
