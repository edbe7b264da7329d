// Pictures that a model makes while it is trained, and the observer that writes them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/image/image.h"
#include "kernels/shape.h"
#include "trainers/loop.h"
#include "trainers/options.h"

namespace gentrain::trainers {

class Objective;
class RunFolder;
class TrainingRun;

/// A picture, and what it shows: the first part of its file's name.
struct Picture {
  std::string name;
  image::Image image;
};

/// A value as a byte: `black` is 0 and 1 is 255; what lies outside is cut off.
inline std::uint8_t byte_of(float value, float black) {
  return static_cast<std::uint8_t>(
      std::lround(std::clamp((value - black) / (1 - black), 0.0F, 1.0F) * 255.0F));
}

/// Images of `shape` [h, w, c] from their values, see byte_of(). Throws ShapeError if values are
/// left over.
std::vector<image::Image> images_of(std::span<const float> values, const Shape& shape,
                                    float black = 0);
/// The same of x [n, h, w, c], f32.
std::vector<image::Image> images_of(Context& context, const Tensor& x, float black = 0);

/// Images of one shape in rows of `columns`, two white pixels between them; the rest of the last
/// row is white. Throws ShapeError if there is no image, their shapes differ or columns is below 1.
image::Image sheet(const std::vector<image::Image>& images, std::int64_t columns);

/// Whether a run writes pictures.
bool draws_pictures(const TrainingRun& run);

/// Writes the objective's pictures to samples/NAME-STEP.png every so often and at the end. What
/// they show is a function of the job's seed and of the weights. On rank 0 alone: the others go on
/// to the next step and wait there.
class PictureWriter final : public Observer {
 public:
  /// All must outlive it. Throws DeviceError if images cannot be written here.
  PictureWriter(TrainingRun& run, RunFolder& folder);
  void after_step(const StepReport& report) override;
  void end(const LoopPosition& position, LoopEnd end) override;

 private:
  void write(std::int64_t step);

  TrainingRun& run_;
  RunFolder& folder_;
  std::optional<std::int64_t> written_;  // step
};

}  // namespace gentrain::trainers
