// Resize and Upsample: along each axis on its own, every position a weighted sum of positions
// before. Formulas: the specification of ONNX's Resize.
#include <algorithm>
#include <cmath>

#include "core/onnx/operators.h"

namespace gentrain::onnx {
namespace {

constexpr std::int64_t kMostPositions = std::int64_t{1} << 20;

/// What the attributes say.
struct ResizeRule {
  std::string mode;         // nearest, linear, cubic
  std::string coordinates;  // coordinate_transformation_mode
  std::string nearest;      // nearest_mode
  double cubic = -0.75;
  bool exclude_outside = false;
};

/// One axis: its extents, and the factor as the file has it.
struct ResizeAxis {
  std::int64_t from = 1;
  std::int64_t to = 1;
  double scale = 1;
};

/// The place in the image before that a position comes from, in single precision: whether a place
/// lies in the middle between two pixels is decided by its rounding, and others round so.
float place_of(const ResizeRule& rule, const ResizeAxis& axis, std::int64_t at) {
  const auto x = static_cast<float>(at);
  const auto from = static_cast<float>(axis.from);
  const auto to = static_cast<float>(axis.to);
  const auto scale = static_cast<float>(axis.scale);
  if (rule.coordinates == "align_corners") {
    return axis.to == 1 ? 0 : x * (from - 1) / (to - 1);
  }
  if (rule.coordinates == "asymmetric") {
    return x / scale;
  }
  if (rule.coordinates == "pytorch_half_pixel") {
    return axis.to > 1 ? (x + 0.5F) / scale - 0.5F : 0;
  }
  if (rule.coordinates == "tf_half_pixel_for_nn") {
    return (x + 0.5F) / scale;
  }
  if (rule.coordinates == "half_pixel_symmetric") {
    const float adjustment = to / (scale * from);
    return from / 2 * (1 - adjustment) + (x + 0.5F) / scale - 0.5F;
  }
  return (x + 0.5F) / scale - 0.5F;
}

std::int64_t nearest_of(const ResizeRule& rule, double place) {
  double rounded = std::ceil(place - 0.5);  // round_prefer_floor
  if (rule.nearest == "floor") {
    rounded = std::floor(place);
  } else if (rule.nearest == "ceil") {
    rounded = std::ceil(place);
  } else if (rule.nearest == "round_prefer_ceil") {
    rounded = std::floor(place + 0.5);
  }
  return static_cast<std::int64_t>(rounded);
}

/// Weights of the pixels floor(place) - 1 to floor(place) + 2. Keys 1981, "Cubic convolution
/// interpolation for digital image processing".
std::vector<double> cubic_weights(double a, double t) {
  const auto near = [a](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [a](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

/// Weights that belong to the pixels from `first` on.
struct Taps {
  std::int64_t first = 0;
  std::vector<double> weights;
};

Taps taps_of(const ResizeRule& rule, const ResizeAxis& axis, double place) {
  if (rule.mode == "nearest") {
    return {nearest_of(rule, place), {1}};
  }
  if (rule.mode == "linear") {
    place = std::clamp(place, 0.0, static_cast<double>(axis.from - 1));
    const double floor = std::floor(place);
    return {static_cast<std::int64_t>(floor), {1 - (place - floor), place - floor}};
  }
  const double floor = std::floor(place);
  return {static_cast<std::int64_t>(floor) - 1, cubic_weights(rule.cubic, place - floor)};
}

ops::AxisRows rows_of(const ResizeRule& rule, const ResizeAxis& axis) {
  ops::AxisRows rows;
  rows.from = axis.from;
  rows.begins.push_back(0);
  for (std::int64_t at = 0; at < axis.to; ++at) {
    Taps taps = taps_of(rule, axis, static_cast<double>(place_of(rule, axis, at)));
    double sum = 0;
    for (std::size_t k = 0; k < taps.weights.size(); ++k) {
      const std::int64_t source = taps.first + static_cast<std::int64_t>(k);
      if (rule.mode == "cubic" && rule.exclude_outside && (source < 0 || source >= axis.from)) {
        taps.weights[k] = 0;
      }
      sum += taps.weights[k];
    }
    for (std::size_t k = 0; k < taps.weights.size(); ++k) {
      if (taps.weights[k] != 0) {
        const std::int64_t source = taps.first + static_cast<std::int64_t>(k);
        rows.sources.push_back(
            static_cast<std::int32_t>(std::clamp<std::int64_t>(source, 0, axis.from - 1)));
        rows.weights.push_back(
            static_cast<float>(rule.exclude_outside ? taps.weights[k] / sum : taps.weights[k]));
      }
    }
    rows.begins.push_back(static_cast<std::int32_t>(rows.sources.size()));
  }
  return rows;
}

void need_one_of(const char* attribute, const std::string& value,
                 std::initializer_list<std::string_view> known) {
  if (std::find(known.begin(), known.end(), value) == known.end()) {
    refuse("its {} is '{}', which is not supported", attribute, value);
  }
}

ResizeRule read_rule(Call& call) {
  Attributes& attributes = call.attributes();
  ResizeRule rule;
  rule.mode = attributes.text("mode", "nearest");
  const bool old = call.opset() < 11;
  rule.coordinates =
      attributes.text("coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
  rule.nearest = attributes.text("nearest_mode", old ? "floor" : "round_prefer_floor");
  rule.cubic = attributes.real("cubic_coeff_a", -0.75);
  rule.exclude_outside = attributes.flag("exclude_outside", false);
  attributes.real("extrapolation_value", 0);  // of tf_crop_and_resize alone
  need_one_of("mode", rule.mode, {"nearest", "linear", "cubic"});
  need_one_of("coordinate_transformation_mode", rule.coordinates,
              {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
               "tf_half_pixel_for_nn", "half_pixel_symmetric"});
  need_one_of("nearest_mode", rule.nearest,
              {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});
  need_one_of("keep_aspect_ratio_policy", attributes.text("keep_aspect_ratio_policy", "stretch"),
              {"stretch"});
  if (attributes.flag("antialias", false)) {
    refuse("its antialias is 1, which is not supported");
  }
  return rule;
}

/// The axes that sizes or scales are of, with the samples'.
std::vector<std::int64_t> read_axes(Call& call, const Placed& x) {
  std::vector<std::int64_t> all;
  for (int i = 0; i < Call::rank(x); ++i) {
    all.push_back(i);
  }
  return call.attributes().integers("axes").value_or(all);
}

void need_as_many(const char* what, std::int64_t count, const std::vector<std::int64_t>& axes) {
  if (count != static_cast<std::int64_t>(axes.size())) {
    refuse("it has {} {} for the axes {}", count, what, text_of(axes));
  }
}

bool is_samples(std::int64_t axis, const Placed& x) {
  return axis == 0 || axis == -Call::rank(x);
}

Placed resized_to(Call& call, const ResizeRule& rule, const Placed& x, int axis,
                  const ResizeAxis& extents) {
  need_range("extents", {&extents.to, 1}, 1, kMostPositions);
  if (extents.to == extents.from && extents.scale == 1) {
    return x;
  }
  call.build().budget().charge(4 * extents.to);
  return call.build().mapped(x, axis, rows_of(rule, extents), "resized");
}

Placed by_sizes(Call& call, const ResizeRule& rule, const Placed& x, int input) {
  const std::vector<std::int64_t> axes = read_axes(call, x);
  const std::vector<std::int64_t> sizes = call.integers(input, true);
  need_as_many("sizes", static_cast<std::int64_t>(sizes.size()), axes);
  Placed result = x;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (is_samples(axes[i], x) &&
        (sizes[i] == kSamples || call.samples < 0 || sizes[i] == call.samples)) {
      continue;  // a free number of samples stands there as the exporter saw it
    }
    const int axis = call.axis(axes[i], Call::rank(x));
    ResizeAxis extents;
    extents.from = call.build().dims(x)[static_cast<std::size_t>(axis)];
    extents.to = sizes[i];
    extents.scale = static_cast<double>(extents.to) / static_cast<double>(extents.from);
    result = resized_to(call, rule, result, axis, extents);
  }
  return result;
}

Placed by_scales(Call& call, const ResizeRule& rule, const Placed& x,
                 const std::vector<float>& scales) {
  const std::vector<std::int64_t> axes = read_axes(call, x);
  need_as_many("scales", static_cast<std::int64_t>(scales.size()), axes);
  Placed result = x;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (is_samples(axes[i], x) && scales[i] == 1) {
      continue;
    }
    const int axis = call.axis(axes[i], Call::rank(x));
    ResizeAxis extents;
    extents.from = call.build().dims(x)[static_cast<std::size_t>(axis)];
    extents.scale = static_cast<double>(scales[i]);
    const double to = std::floor(static_cast<double>(extents.from) * extents.scale);
    if (!(extents.scale > 0) || !(to >= 1) || to > static_cast<double>(kMostPositions)) {
      refuse("its scale {} makes {} positions of {}", extents.scale, to, extents.from);
    }
    extents.to = static_cast<std::int64_t>(to);
    result = resized_to(call, rule, result, axis, extents);
  }
  return result;
}

void resize(Call& call) {
  const Placed& x = call.placed(0);
  const ResizeRule rule = read_rule(call);
  const int scales = call.opset() < 11 ? 1 : 2;
  const bool has_scales = call.has(scales) && call.constant(scales)->size() > 0;
  if (!has_scales && !call.has(3)) {
    refuse("it has neither scales nor sizes");
  }
  call.give(has_scales ? by_scales(call, rule, x, call.reals(scales)->reals)
                       : by_sizes(call, rule, x, 3));
}

void upsample(Call& call) {
  const Placed& x = call.placed(0);
  const ResizeRule rule{call.attributes().text("mode", "nearest"), "asymmetric", "floor"};
  need_one_of("mode", rule.mode, {"nearest", "linear"});
  call.give(by_scales(call, rule, x, call.reals(1)->reals));
}

constexpr OperatorEntry kResizeEntries[] = {{"Resize", resize}, {"Upsample", upsample}};

}  // namespace

std::span<const OperatorEntry> resize_operators() {
  return kResizeEntries;
}

}  // namespace gentrain::onnx
