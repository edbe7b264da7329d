// How close an image comes to the original.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

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

/// How much fine detail an image has, in squared steps of 8 bits: the mean of
/// (4 p - above - below - left - right)^2 over the pixels that have all four neighbours, then over
/// the channels. Throws ShapeError for less than 3 x 3 pixels.
double laplacian_energy(const image::Image& image);

/// PSNR and SSIM of one image.
struct ImageQuality {
  double psnr = 0;
  double ssim = 0;
};

/// What bicubic interpolation reaches, which each evaluation tells anew of the same images:
/// computed once for each pair of images, of as many as kMost, by their contents. Thread-safe.
class BicubicQuality {
 public:
  static constexpr std::size_t kMost = 100000;

  /// `small` becomes as large as `original`. Throws DeviceError where the image library is missing,
  /// and as psnr() and ssim().
  ImageQuality of(const image::Image& small, const image::Image& original);
  /// How often it was computed.
  [[nodiscard]] std::int64_t computed() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, ImageQuality> known_;  // by a hash of both images
  std::int64_t computed_ = 0;
};

}  // namespace gentrain::trainers
