// The balance of two networks, from the statistics of each step.
#include "trainers/gan_watch.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace gentrain::trainers {

void GanWatch::begin_stage(const Stage& stage, std::int64_t /*steps_planned*/,
                           std::int64_t first_step) {
  const auto column = [&](std::string_view name) {
    const auto found = std::find(stage.statistics.begin(), stage.statistics.end(), name);
    return found == stage.statistics.end()
               ? std::size_t{0}
               : static_cast<std::size_t>(found - stage.statistics.begin());
  };
  columns_ = {column("content_gradient"), column("pixels_gradient"), column("adversarial_gradient"),
              column("real_right"), column("generated_right")};
  if (first_step == 0) {
    steps_ahead_ = 0;
  }
}

void GanWatch::after_step(const StepReport& report) {
  if (!columns_.there()) {
    return;
  }
  const auto norm = [&](std::size_t column) {
    return std::sqrt(static_cast<double>(report.statistics[column]));
  };
  if (report.stage_step == 0 || report.ends_epoch) {
    const double content = norm(columns_.content);
    const double pixels = norm(columns_.pixels);
    const double adversarial = norm(columns_.adversarial);
    const double all = content + pixels + adversarial;
    const double percent = all > 0 ? 100 / all : 0.0;
    spdlog::info(
        "step {}: gradient at the generated images: content {:.2f} %, pixels {:.2f} %, "
        "adversarial {:.2f} %",
        report.step + 1, percent * content, percent * pixels, percent * adversarial);
  }
  const double right = static_cast<double>(report.statistics[columns_.real_right] +
                                           report.statistics[columns_.generated_right]) /
                       (2 * static_cast<double>(report.images));
  steps_ahead_ = right >= kAhead ? steps_ahead_ + 1 : 0;
  if (steps_ahead_ >= kStepsAhead && !warned_) {
    warned_ = true;
    spdlog::warn(
        "step {}: the discriminator took {:.0f} of 100 images or more for what they are in "
        "{} steps in a row; the generator learns little from it now",
        report.step + 1, 100 * kAhead, kStepsAhead);
  }
}

void GanWatch::save(ObserverState& state) const {
  state.values["discriminator_ahead"] = {steps_ahead_, warned_};
}

void GanWatch::restore(const ObserverState& state) {
  if (!state.values.contains("discriminator_ahead")) {
    return;
  }
  const nlohmann::json& saved = state.values["discriminator_ahead"];
  steps_ahead_ = saved.at(0).get<std::int64_t>();
  warned_ = saved.at(1).get<bool>();
}

}  // namespace gentrain::trainers
