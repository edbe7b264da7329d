// Attributes of windows, and the extents that follow.
#include "core/onnx/windows.h"

#include <algorithm>
#include <numeric>

namespace gentrain::onnx {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 20;

/// Padding of an axis whose result has ceil(from / stride) positions.
void pad_automatically(AutoPad rule, WindowAxis& axis) {
  axis.to = (axis.from + axis.stride - 1) / axis.stride;
  const std::int64_t total =
      std::max<std::int64_t>(0, (axis.to - 1) * axis.stride + axis.covered() - axis.from);
  axis.before = rule == AutoPad::kUpper ? total / 2 : total - total / 2;
  axis.after = total - axis.before;
}

/// Positions of the result, and the padding behind that they need.
void fit(WindowAxis& axis, bool round_up) {
  const std::int64_t room = axis.from + axis.before + axis.after - axis.covered();
  if (room < 0) {
    refuse("its window of {} does not fit into {} and a padding of {} and {}", axis.covered(),
           axis.from, axis.before, axis.after);
  }
  axis.to = room / axis.stride + 1;
  // A window that would begin behind the image and its padding before is left out.
  if (round_up && room % axis.stride != 0 && axis.to * axis.stride < axis.from + axis.before) {
    ++axis.to;
  }
}

}  // namespace

std::array<std::int64_t, 2> read_pair(Call& call, const char* name, std::int64_t otherwise,
                                      std::int64_t low) {
  const auto values = call.attributes().integers(name);
  if (!values) {
    return {otherwise, otherwise};
  }
  if (values->size() != 2) {
    refuse("its {} are {}, two numbers are needed", name, text_of(*values));
  }
  need_range(name, *values, low, kMost);
  return {(*values)[0], (*values)[1]};
}

std::array<std::int64_t, 4> read_pads(Call& call) {
  const auto values = call.attributes().integers("pads");
  if (!values) {
    return {0, 0, 0, 0};
  }
  if (values->size() != 4) {
    refuse("its pads are {}, four numbers are needed", text_of(*values));
  }
  need_range("pads", *values, 0, kMost);
  return {(*values)[0], (*values)[1], (*values)[2], (*values)[3]};
}

AutoPad read_auto_pad(Call& call, const std::array<std::int64_t, 4>& pads) {
  const std::string rule = call.attributes().text("auto_pad", "NOTSET");
  if (rule == "NOTSET" || rule.empty()) {
    return AutoPad::kExplicit;
  }
  if (rule != "SAME_UPPER" && rule != "SAME_LOWER" && rule != "VALID") {
    refuse("its auto_pad is '{}': NOTSET, SAME_UPPER, SAME_LOWER or VALID is needed", rule);
  }
  if (std::any_of(pads.begin(), pads.end(), [](std::int64_t pad) { return pad != 0; })) {
    refuse("it has the pads {} beside the auto_pad {}", text_of(pads), rule);
  }
  return rule == "VALID"        ? AutoPad::kValid
         : rule == "SAME_UPPER" ? AutoPad::kUpper
                                : AutoPad::kLower;
}

std::array<std::int64_t, 2> read_kernel(Call& call, const std::int64_t* otherwise) {
  if (otherwise == nullptr && !call.attributes().has("kernel_shape")) {
    refuse("its attribute kernel_shape is missing");
  }
  if (otherwise == nullptr) {
    return read_pair(call, "kernel_shape", 1, 1);
  }
  const std::array<std::int64_t, 2> weights{otherwise[0], otherwise[1]};
  need_range("extents of a kernel", weights, 1, kMost);
  if (call.attributes().has("kernel_shape")) {
    const std::array<std::int64_t, 2> kernel = read_pair(call, "kernel_shape", 1, 1);
    if (kernel != weights) {
      refuse("its kernel_shape is {} but its weights are of {}", text_of(kernel), text_of(weights));
    }
  }
  return weights;
}

Windows read_windows(Call& call, const Placed& image, std::array<std::int64_t, 2> window,
                     bool may_round_up) {
  const auto strides = read_pair(call, "strides", 1, 1);
  const auto dilations = read_pair(call, "dilations", 1, 1);
  const auto pads = read_pads(call);
  const AutoPad rule = read_auto_pad(call, pads);
  const bool round_up = may_round_up && call.attributes().flag("ceil_mode", false);
  const Shape& shape = call.build().graph().node(image.node).shape;
  Windows axes;
  for (std::size_t i = 0; i < 2; ++i) {
    WindowAxis& axis = axes[i];
    axis.window = window[i];
    axis.stride = strides[i];
    axis.dilation = dilations[i];
    axis.from = shape[static_cast<int>(i)];
    if (rule == AutoPad::kUpper || rule == AutoPad::kLower) {
      pad_automatically(rule, axis);
    } else {
      axis.before = pads[i];
      axis.after = pads[i + 2];
      fit(axis, round_up);
    }
  }
  return axes;
}

}  // namespace gentrain::onnx
