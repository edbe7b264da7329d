// From a parsed model to a graph: constants are computed first, so that an operator finds its
// weights and shapes whatever nodes they come through; then node by node.
#include "core/onnx/importer.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/ranges.h>

#include "core/onnx/names.h"

namespace gentrain::onnx {
namespace {

constexpr std::int64_t kFirstOpset = 9;
constexpr std::int64_t kLastOpset = 21;
constexpr std::size_t kMostInputs = 256;
constexpr std::int64_t kFewChannels = 4;
const std::vector<int> kPixelsFirst{1, 2, 0};                // [h, w, c] of a file's [c, h, w]
constexpr std::int64_t kFreeValues = std::int64_t{1} << 24;  // of any file's budget

bool is_default(const std::string& domain) {
  return domain.empty() || domain == "ai.onnx";
}

const OperatorEntry* find_in(std::span<const OperatorEntry> entries, std::string_view op_type) {
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const OperatorEntry& entry) {
    return entry.op_type == op_type;
  });
  return found == entries.end() ? nullptr : &*found;
}

const OperatorEntry* find_constant_operator(std::string_view op_type) {
  const OperatorEntry* const entry = find_in(constant_arithmetic(), op_type);
  return entry != nullptr ? entry : find_in(constant_moves(), op_type);
}

const OperatorEntry* find_operator(std::string_view op_type) {
  for (const auto family :
       {convolution_operators, pooling_operators, normalization_operators, product_operators,
        pointwise_operators, binary_operators, shape_operators, slice_operators, resize_operators,
        reduction_operators}) {
    if (const OperatorEntry* const entry = find_in(family(), op_type)) {
      return entry;
    }
  }
  return nullptr;
}

/// Calls `work`, and puts the node before the message of what it throws.
template <class Work>
void for_node(const Node& node, Work work) {
  try {
    work();
  } catch (const DeviceError&) {
    throw;
  } catch (const Error& error) {
    throw IoError(fmt::format("{}: {}", text_of(node), error.what()));
  }
}

bool is_real(ElementType type) {
  return type == ElementType::kFloat || type == ElementType::kDouble ||
         type == ElementType::kFloat16 || type == ElementType::kBfloat16;
}

/// Operators that work on elements or along axes and so say nothing about which axes are pixels.
bool keeps_axes(std::string_view op_type) {
  return find_in(pointwise_operators(), op_type) != nullptr ||
         find_in(binary_operators(), op_type) != nullptr || op_type == "Pad" ||
         op_type == "Dropout" || op_type == "Resize";
}

/// Operators for which a file's [c, h, w] is an image.
bool sees_pixels(std::string_view op_type) {
  return find_in(convolution_operators(), op_type) != nullptr ||
         find_in(pooling_operators(), op_type) != nullptr || op_type == "BatchNormalization" ||
         op_type == "DepthToSpace" || op_type == "SpaceToDepth";
}

bool transposes_pixels(const Node& node) {
  const auto perm =
      std::find_if(node.attributes.begin(), node.attributes.end(),
                   [](const Attribute& attribute) { return attribute.name == "perm"; });
  return perm != node.attributes.end() && perm->integers == std::vector<std::int64_t>{0, 3, 1, 2};
}

}  // namespace

Importer::Importer(Model model, const std::filesystem::path& folder, std::int64_t bytes)
    : model_(std::move(model)),
      budget_(kFreeValues + 8 * bytes),
      external_(folder),
      build_(budget_) {}

void Importer::read_opset() {
  if (!model_.has_graph) {
    refuse("it holds no graph, so it is no ONNX model");
  }
  if (model_.sparse_initializers != 0) {
    refuse("it has sparse initializers, which are not supported");
  }
  for (const OpsetImport& import : model_.opsets) {
    if (is_default(import.domain)) {
      if (opset_ != 0 && opset_ != import.version) {
        refuse("it uses the opsets {} and {} of ONNX's own operators", opset_, import.version);
      }
      opset_ = import.version;
    }
  }
  if (opset_ < kFirstOpset || opset_ > kLastOpset) {
    refuse("it uses {} of ONNX's own operators, opsets {} to {} are supported",
           opset_ == 0 ? "no opset" : fmt::format("opset {}", opset_), kFirstOpset, kLastOpset);
  }
}

/// Only those that are read: the others need not even be sound.
void Importer::read_initializers() {
  for (Tensor& tensor : model_.initializers) {
    if (order_.readers.contains(tensor.name)) {
      const std::string name = tensor.name;
      values_.emplace(name, to_constant(tensor, external_, budget_));
    }
  }
}

std::vector<const Value*> Importer::inputs_of(const Node& node) const {
  std::vector<const Value*> inputs;
  inputs.reserve(node.inputs.size());
  for (const std::string& input : node.inputs) {
    inputs.push_back(input.empty() ? nullptr : &values_.at(input));
  }
  return inputs;
}

void Importer::keep_outputs(const Node& node, std::vector<Value> outputs) {
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const std::string& name = node.outputs[i];
    if (i < outputs.size() && !name.empty()) {
      values_.emplace(name, std::move(outputs[i]));
      names_.push_back(name);
    } else if (i >= outputs.size() && order_.readers.contains(name)) {
      refuse("its output {} ({}) is not supported", i, name);
    }
  }
}

void Importer::fold_constants() {
  done_.assign(model_.nodes.size(), false);
  for (const std::size_t index : order_.nodes) {
    const Node& node = model_.nodes[index];
    const OperatorEntry* const entry =
        is_default(node.domain) ? find_constant_operator(node.op_type) : nullptr;
    const bool known = std::all_of(node.inputs.begin(), node.inputs.end(), [&](const auto& name) {
      return name.empty() || is_known(name);
    });
    if (entry == nullptr || !known) {
      continue;
    }
    for_node(node, [&] { import_known(index); });
  }
}

/// A node all of whose inputs are constants.
void Importer::import_known(std::size_t index) {
  const Node& node = model_.nodes[index];
  const OperatorEntry* const entry = find_constant_operator(node.op_type);
  if (entry == nullptr && node.inputs.empty()) {
    refuse("it has no inputs");
  }
  if (entry == nullptr) {
    refuse("all of its inputs are constants, which is not supported of this operator");
  }
  Call call(node, opset_, inputs_of(node), build_);
  entry->import(call);
  call.attributes().need_all_read();
  keep_outputs(node, std::move(call.outputs()));
  done_[index] = true;
}

ConstantPointer Importer::bias_behind(const Node& node) const {
  const auto readers = order_.readers.find(node.outputs[0]);
  const auto reader = order_.reader.find(node.outputs[0]);
  if (readers == order_.readers.end() || readers->second != 1 || reader == order_.reader.end()) {
    return nullptr;
  }
  const Node& add = model_.nodes[reader->second];
  if (add.op_type != "Add" || !is_default(add.domain) || add.inputs.size() != 2 ||
      add.outputs.size() != 1) {
    return nullptr;
  }
  const auto other = values_.find(add.inputs[add.inputs[0] == node.outputs[0] ? 1 : 0]);
  const auto* const constant =
      other == values_.end() ? nullptr : std::get_if<ConstantPointer>(&other->second);
  return constant == nullptr ? nullptr : *constant;
}

void Importer::import_node(std::size_t index) {
  const Node& node = model_.nodes[index];
  if (!is_default(node.domain)) {
    refuse("its operator is of the domain {}: only ONNX's own are supported", node.domain);
  }
  const OperatorEntry* const entry = find_operator(node.op_type);
  if (entry == nullptr && find_constant_operator(node.op_type) == nullptr) {
    refuse("the operator {} is not supported", node.op_type);
  }
  const std::vector<const Value*> inputs = inputs_of(node);
  const bool known = std::all_of(inputs.begin(), inputs.end(), [](const Value* value) {
    return value == nullptr || std::holds_alternative<ConstantPointer>(*value);
  });
  if (known) {
    return import_known(index);
  }
  if (entry == nullptr) {
    refuse("the operator {} is supported of constants alone", node.op_type);
  }
  Call call(node, opset_, inputs, build_);
  call.samples = samples_;
  if (node.op_type == "MatMul" && node.outputs.size() == 1) {
    call.bias_behind = bias_behind(node);
  }
  build_.begin(name_of(node));
  entry->import(call);
  call.attributes().need_all_read();
  if (call.bias_taken) {
    const std::size_t add = order_.reader.at(node.outputs[0]);
    done_[add] = true;
    return keep_outputs(model_.nodes[add], std::move(call.outputs()));
  }
  keep_outputs(node, std::move(call.outputs()));
}

std::vector<int> Importer::order_of_input(const ValueInfo& input,
                                          const std::vector<std::int64_t>& extents) const {
  if (extents.size() != 3) {
    return file_order(static_cast<int>(extents.size()));
  }
  std::set<std::string_view> of_input{input.name};
  for (const std::size_t index : order_.nodes) {
    const Node& node = model_.nodes[index];
    const bool reads = std::any_of(node.inputs.begin(), node.inputs.end(),
                                   [&](const auto& name) { return of_input.contains(name); });
    if (!reads) {
      continue;
    }
    if (keeps_axes(node.op_type)) {
      of_input.insert(node.outputs.begin(), node.outputs.end());
      continue;
    }
    if (node.op_type == "Transpose") {  // of images [h, w, c], to [c, h, w]
      return transposes_pixels(node) ? file_order(3) : kPixelsFirst;
    }
    if (sees_pixels(node.op_type)) {
      return kPixelsFirst;
    }
    break;
  }
  // Nothing says which axis the channels are: the short one. It decides what a picture is for, no
  // value.
  return extents[2] <= kFewChannels && extents[0] > kFewChannels ? file_order(3) : kPixelsFirst;
}

void Importer::add_input(const ValueInfo& input) {
  if (!input.is_tensor || !is_real(input.type)) {
    refuse("input {} has the element type {}: tensors of numbers with a fraction are needed",
           input.name, static_cast<int>(input.type));
  }
  if (!input.dims || input.dims->size() < 2) {
    refuse("input {} has no shape of two or more axes, samples first", input.name);
  }
  std::vector<std::string> free;
  std::vector<std::int64_t> extents;
  for (std::size_t i = 1; i < input.dims->size(); ++i) {
    const Dimension& dimension = (*input.dims)[i];
    extents.push_back(dimension.extent);
    if (dimension.extent < 1) {
      free.push_back(fmt::format("axis {} ({})", i,
                                 dimension.symbol.empty() ? "without a name" : dimension.symbol));
    }
  }
  if (!free.empty()) {
    refuse(
        "input {} has no fixed extent along {}: the size of a sample must stand in the file, so "
        "export the model for one size",
        input.name, fmt::join(free, ", "));
  }
  const std::int64_t samples = input.dims->front().extent;
  if (samples == 0 || (samples > 0 && samples_ > 0 && samples != samples_)) {
    refuse("input {} has {} samples{}", input.name, samples,
           samples_ > 0 ? fmt::format(", another one {}", samples_) : "");
  }
  samples_ = std::max(samples, samples_);
  Placed placed;
  placed.axes = order_of_input(input, extents);
  std::vector<std::int64_t> ordered;
  ordered.reserve(placed.axes.size());
  for (const int axis : placed.axes) {
    ordered.push_back(extents[static_cast<std::size_t>(axis)]);
  }
  build_.begin(input.name);
  placed.node = build_.add(graph::Input{Shape(ordered)}, {});
  values_.emplace(input.name, placed);
  names_.push_back(input.name);
}

void Importer::add_inputs() {
  std::set<std::string_view> weights;
  for (const Tensor& tensor : model_.initializers) {
    weights.insert(tensor.name);
  }
  for (const ValueInfo& input : model_.inputs) {
    if (!weights.contains(input.name)) {
      add_input(input);
    }
  }
  const std::size_t count = build_.graph().inputs().size();
  if (count == 0 || count > kMostInputs) {
    refuse("the model has {} inputs, 1 to {} are supported", count, kMostInputs);
  }
}

void Importer::add_outputs(graph::ImportedModel& imported) {
  if (model_.outputs.empty()) {
    refuse("the model has no outputs");
  }
  std::set<int> nodes;
  for (const ValueInfo& output : model_.outputs) {
    const auto* const value = std::get_if<Placed>(&values_.at(output.name));
    if (value == nullptr || value->samples != 0 || value->condition) {
      refuse("output {} has not the samples along its first axis or is no number", output.name);
    }
    Placed placed = *value;
    if (nodes.contains(placed.node) ||
        std::holds_alternative<graph::Input>(build_.graph().node(placed.node).kind)) {
      build_.begin(output.name);
      placed.node = build_.add(graph::Identity{}, {placed.node});
    }
    nodes.insert(placed.node);
    imported.outputs.push_back({output.name, placed.node, placed.axes});
  }
}

void Importer::list_layers(graph::ImportedModel& imported) const {
  for (const std::string& name : names_) {
    const auto* const placed = std::get_if<Placed>(&values_.at(name));
    if (placed != nullptr && placed->samples == 0 && !placed->condition) {
      imported.layers.push_back({name, placed->node, placed->axes});
    }
  }
}

graph::ImportedModel Importer::run() {
  need_printable(model_);
  read_opset();
  order_ = order_nodes(model_);
  read_initializers();
  fold_constants();
  add_inputs();
  for (const std::size_t index : order_.nodes) {
    if (!done_[index]) {
      for_node(model_.nodes[index], [&] { import_node(index); });
    }
  }
  graph::ImportedModel imported;
  for (const ValueInfo& input : model_.inputs) {
    const auto value = values_.find(input.name);
    const auto* const placed =
        value == values_.end() ? nullptr : std::get_if<Placed>(&value->second);
    if (placed != nullptr) {
      imported.inputs.push_back({input.name, placed->node, placed->axes});
    }
  }
  add_outputs(imported);
  list_layers(imported);
  imported.writer = fmt::format("ONNX opset {}", opset_);
  if (!model_.producer_name.empty()) {
    imported.writer +=
        fmt::format(", {}{}{}", model_.producer_name, model_.producer_version.empty() ? "" : " ",
                    model_.producer_version);
  }
  imported.graph = build_.take_graph();
  imported.arrays = build_.take_arrays();
  drop_unread_nodes(imported);
  return imported;
}

void drop_unread_nodes(graph::ImportedModel& model) {
  std::vector<int> read = model.graph.inputs();
  for (const auto* const list : {&model.outputs, &model.layers}) {
    for (const graph::ImportedTensor& tensor : *list) {
      read.push_back(tensor.node);
    }
  }
  const std::vector<bool> needed = graph::needed_for(model.graph, read);
  graph::Graph kept;
  std::vector<int> to(needed.size(), -1);
  for (int i = 0; i < model.graph.size(); ++i) {
    if (needed[static_cast<std::size_t>(i)]) {
      const graph::Node& node = model.graph.node(i);
      std::vector<int> inputs;
      inputs.reserve(node.inputs.size());
      for (const int input : node.inputs) {
        inputs.push_back(to[static_cast<std::size_t>(input)]);
      }
      to[static_cast<std::size_t>(i)] =
          kept.add(node.name, node.kind, std::move(inputs), node.parameters);
    }
  }
  std::vector<int> outputs;
  for (auto* const list : {&model.inputs, &model.outputs, &model.layers}) {
    for (graph::ImportedTensor& tensor : *list) {
      tensor.node = to[static_cast<std::size_t>(tensor.node)];
    }
  }
  for (const graph::ImportedTensor& output : model.outputs) {
    outputs.push_back(output.node);
  }
  kept.set_outputs(std::move(outputs));
  model.graph = std::move(kept);
}

}  // namespace gentrain::onnx
