// How close an image comes to the original.
#pragma once

#include "core/image/image.h"

namespace gentrain::trainers {

/// Peak signal-to-noise ratio, dB: 10 log10(255^2 / mean squared difference) over all pixels and
/// channels; 100 where there is no difference. Throws ShapeError if the shapes differ.
double psnr(const image::Image& a, const image::Image& b);

/// Structural similarity, at most 1: per channel the mean over all 11 x 11 windows that lie inside,
/// weighted by a Gaussian of 1.5 pixels, of
/// (2 ma mb + c1) (2 cab + c2) / ((ma^2 + mb^2 + c1) (va + vb + c2)), c1 = (0.01 * 255)^2, c2 =
/// (0.03 * 255)^2, with means m, (biased) variances v and covariance c; then the mean over
/// channels. Throws ShapeError if the shapes differ or a window does not fit.
///
/// Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural
/// similarity".
double ssim(const image::Image& a, const image::Image& b);

}  // namespace gentrain::trainers
