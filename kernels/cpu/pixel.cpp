// Pixel shuffle: checks, then the vector kernels.
#include "kernels/pixel.h"

#include <fmt/format.h>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/simd.h"
#include "kernels/error.h"

namespace gentrain::cpu {

namespace {

class Pixel final : public PixelKernels {
 public:
  explicit Pixel(const Backend& backend) : table_(backend.simd->pixel) {}

  void shuffle(Queue& /*queue*/, std::int64_t r, double slope, ConstView x, View y) override {
    const Arguments arguments("pixel shuffle");
    arguments.require_slope(slope);
    const simd::ShuffleShape s = shape_of(arguments, "y", y, r);
    arguments.require("x", x, {s.n, s.h, s.w, s.c * r * r});
    table_.shuffle(s, static_cast<float>(slope), x.as<float>(), y.as<float>());
  }

  void shuffle_backward(Queue& /*queue*/, std::int64_t r, double slope, ConstView y, ConstView dy,
                        View dx) override {
    const Arguments arguments("pixel shuffle backward");
    arguments.require_slope(slope);
    const simd::ShuffleShape s = shape_of(arguments, "dy", dy, r);
    if (slope != 1) {
      arguments.require("y", y, dy.shape);
    }
    arguments.require("dx", dx, {s.n, s.h, s.w, s.c * r * r});
    table_.shuffle_backward(s, static_cast<float>(slope), y.as<float>(), dy.as<float>(),
                            dx.as<float>());
  }

 private:
  /// The extents by which `view`, [n, h r, w r, c], fits.
  static simd::ShuffleShape shape_of(const Arguments& arguments, std::string_view name,
                                     ConstView view, std::int64_t r) {
    const Shape& s = view.shape;
    if (r < 1 || s.rank() != 4 || s.elements() == 0 || s[1] % r != 0 || s[2] % r != 0) {
      throw ShapeError(fmt::format(
          "{}: {} has shape {}: [n, h r, w r, c] that is not empty needed, r = {} at least 1",
          arguments.routine(), name, s.str(), r));
    }
    arguments.require(name, view, s);
    return {s[0], s[1] / r, s[2] / r, s[3], r};
  }

  const simd::PixelTable& table_;
};

}  // namespace

std::unique_ptr<PixelKernels> make_pixel(const Backend& backend) {
  return std::make_unique<Pixel>(backend);
}

}  // namespace gentrain::cpu
