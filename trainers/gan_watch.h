// What a run says of two networks that are trained against each other.
#pragma once

#include <cstdint>
#include <vector>

#include "trainers/loop.h"

namespace gentrain::trainers {

/// In stages that tell "content_gradient", "pixels_gradient" and "adversarial_gradient", logs each
/// term's share of the sum of their norms, those of the gradient at the generated images, at the
/// stage's first step and behind each epoch. Warns once where the discriminator took 99 of 100
/// images for what they are in 200 steps in a row: the generator then learns little from it. It
/// ends nothing. Rank 0.
class GanWatch final : public Observer {
 public:
  void begin_stage(const Stage& stage, std::int64_t steps_planned,
                   std::int64_t first_step) override;
  void after_step(const StepReport& report) override;
  void save(ObserverState& state) const override;
  void restore(const ObserverState& state) override;

  static constexpr std::int64_t kStepsAhead = 200;
  static constexpr double kAhead = 0.99;

 private:
  struct Columns {
    std::size_t content = 0;
    std::size_t pixels = 0;
    std::size_t adversarial = 0;
    std::size_t real_right = 0;
    std::size_t generated_right = 0;
    [[nodiscard]] bool there() const { return content > 0; }
  };
  Columns columns_;  // of the statistics
  std::int64_t steps_ahead_ = 0;
  bool warned_ = false;
};

}  // namespace gentrain::trainers
