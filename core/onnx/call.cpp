// Inputs of a node, checked for what its operator needs of them.
#include <algorithm>

#include "core/onnx/operators.h"

namespace gentrain::onnx {

Call::Call(const Node& node, std::int64_t opset, std::vector<const Value*> values, Builder& build)
    : node_(&node), opset_(opset), values_(std::move(values)), build_(&build), attributes_(node) {
  while (!values_.empty() && values_.back() == nullptr) {
    values_.pop_back();
  }
}

bool Call::has(int input) const {
  return input < inputs() && values_[static_cast<std::size_t>(input)] != nullptr;
}

const Value& Call::value(int input) const {
  if (!has(input)) {
    refuse("its input {} is missing", input);
  }
  return *values_[static_cast<std::size_t>(input)];
}

bool Call::is_constant(int input) const {
  return has(input) && std::holds_alternative<ConstantPointer>(value(input));
}

const Placed& Call::anywhere(int input) const {
  const auto* const placed = std::get_if<Placed>(&value(input));
  if (placed == nullptr) {
    refuse("its input {} ({}) is a constant, which is not supported there", input,
           node_->inputs[static_cast<std::size_t>(input)]);
  }
  if (placed->condition) {
    refuse("its input {} ({}) is a condition, numbers are needed", input,
           node_->inputs[static_cast<std::size_t>(input)]);
  }
  return *placed;
}

const Placed& Call::placed(int input) const {
  const Placed& placed = anywhere(input);
  if (placed.samples != 0 || placed.merged()) {
    refuse(
        "its input {} ({}) has not the samples along its first axis, one entry for each: what "
        "mixes samples is not supported",
        input, node_->inputs[static_cast<std::size_t>(input)]);
  }
  return placed;
}

const ConstantPointer& Call::constant(int input) const {
  const auto* const constant = std::get_if<ConstantPointer>(&value(input));
  if (constant == nullptr) {
    refuse("its input {} ({}) depends on the samples, only constants are supported there", input,
           node_->inputs[static_cast<std::size_t>(input)]);
  }
  return *constant;
}

const ConstantPointer& Call::reals(int input) const {
  const ConstantPointer& found = constant(input);
  if (!found->real) {
    refuse("its input {} ({}) holds integers", input,
           node_->inputs[static_cast<std::size_t>(input)]);
  }
  return found;
}

std::vector<std::int64_t> Call::integers(int input, bool samples_too) const {
  const ConstantPointer& found = constant(input);
  if (found->real || found->rank() > 1) {
    refuse("its input {} ({}) {} must be a list of integers", input,
           node_->inputs[static_cast<std::size_t>(input)], text_of(found->dims));
  }
  if (!samples_too && std::find(found->integers.begin(), found->integers.end(), kSamples) !=
                          found->integers.end()) {
    refuse("its input {} ({}) depends on the number of samples", input,
           node_->inputs[static_cast<std::size_t>(input)]);
  }
  return found->integers;
}

double Call::number(int input) const {
  const ConstantPointer& found = constant(input);
  if (found->size() != 1 || (!found->real && found->integers[0] == kSamples)) {
    refuse("its input {} ({}) {} must be one number", input,
           node_->inputs[static_cast<std::size_t>(input)], text_of(found->dims));
  }
  return found->real ? static_cast<double>(found->reals[0])
                     : static_cast<double>(found->integers[0]);
}

std::optional<std::vector<std::int64_t>> Call::list(std::string_view attribute, int input) {
  if (attributes_.has(attribute)) {
    return attributes_.integers(attribute);
  }
  return has(input) ? std::optional(integers(input)) : std::nullopt;
}

int Call::axis(std::int64_t axis, int rank) const {
  if (axis < -rank || axis >= rank) {
    refuse("axis {} is none of {}", axis, rank);
  }
  const int positive = static_cast<int>(axis < 0 ? axis + rank : axis);
  if (positive == 0) {
    refuse("it works along axis 0, the samples': what mixes samples is not supported");
  }
  return positive - 1;
}

void need_range(std::string_view attribute, std::span<const std::int64_t> values, std::int64_t low,
                std::int64_t high) {
  for (const std::int64_t value : values) {
    if (value < low || value > high) {
      refuse("its {} are {}: only {} to {} are supported", attribute, text_of(values), low, high);
    }
  }
}

}  // namespace gentrain::onnx
