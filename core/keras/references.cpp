// Calls of layers: tensors are taken in the order in which they stand, everything else is refused
// unless it is the default.
#include "core/keras/references.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::keras {

namespace {

bool is_reference(const json& value) {
  return value.is_array() && !value.empty() && value[0].is_string();
}

/// Arguments beside the tensors: none of them may change what a layer predicts.
void check_arguments(const json& arguments) {
  if (!arguments.is_object()) {
    throw IoError(
        fmt::format("a call has the arguments {}: an object is needed", shown(arguments)));
  }
  for (const auto& [name, value] : arguments.items()) {
    const bool not_training = name == "training" && value.is_boolean() && !value.get<bool>();
    if (!value.is_null() && !not_training) {
      throw IoError(fmt::format("a call has the argument {} = {}, which is not supported", name,
                                shown(value)));
    }
  }
}

Reference read_reference(const json& value) {
  constexpr std::size_t kLeast = 3;
  if (!is_reference(value) || value.size() < kLeast || value.size() > kLeast + 1) {
    throw IoError(
        fmt::format("{} is no output of a layer: [name, node, tensor] is needed", shown(value)));
  }
  if (value.size() > kLeast) {
    check_arguments(value[kLeast]);
  }
  return {value[0].get<std::string>(), to_integer(value[1], "node", 0),
          to_integer(value[2], "tensor", 0)};
}

/// The tensors in an argument of Keras 3: itself, or in lists.
void collect(const json& value, std::vector<Reference>& references) {
  if (value.is_null()) {
    return;
  }
  if (value.is_array()) {
    for (const json& element : value) {
      collect(element, references);
    }
    return;
  }
  const bool tensor = value.is_object() && value.value("class_name", json()) == "__keras_tensor__";
  if (!tensor || !value.contains("config") || !value["config"].is_object() ||
      !value["config"].contains("keras_history")) {
    throw IoError(fmt::format("a call has the argument {}: only outputs of layers are supported",
                              shown(value)));
  }
  references.push_back(read_reference(value["config"]["keras_history"]));
}

std::vector<Reference> read_call(const json& node) {
  std::vector<Reference> references;
  if (node.is_object() && node.contains("args")) {
    collect(node["args"], references);
    if (node.contains("kwargs")) {
      check_arguments(node["kwargs"]);
    }
  } else {
    references = read_references(node);
  }
  if (references.empty()) {
    throw IoError("a call takes no output of a layer");
  }
  return references;
}

}  // namespace

std::vector<std::vector<Reference>> read_calls(const json& nodes) {
  if (!nodes.is_array()) {
    throw IoError(fmt::format("inbound_nodes is {}: a list is needed", shown(nodes)));
  }
  std::vector<std::vector<Reference>> calls;
  for (const json& node : nodes) {
    calls.push_back(read_call(node));
  }
  return calls;
}

std::vector<Reference> read_references(const json& list) {
  if (is_reference(list)) {
    return {read_reference(list)};
  }
  if (!list.is_array()) {
    throw IoError(fmt::format("{} is no list of outputs of layers", shown(list)));
  }
  std::vector<Reference> references;
  for (const json& value : list) {
    references.push_back(read_reference(value));
  }
  return references;
}

}  // namespace gentrain::keras
