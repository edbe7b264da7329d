// export_onnx: names, initializers and Transposes, and the nodes one after the other.
#include <algorithm>
#include <cstring>
#include <numeric>

#include <fmt/format.h>

#include "core/io/atomic_file.h"
#include "core/onnx/export_graph.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::onnx {

namespace {

constexpr std::int64_t kOpset = 17;
constexpr std::int64_t kIrVersion = 8;  // the one of opset 17's first release
constexpr const char* kSamplesName = "N";

template <class T>
Tensor tensor_of(std::string name, ElementType type, std::vector<std::int64_t> dims,
                 const std::vector<T>& values) {
  Tensor tensor;
  tensor.name = std::move(name);
  tensor.type = type;
  tensor.dims = std::move(dims);
  tensor.bytes.resize(values.size() * sizeof(T));
  if (!values.empty()) {
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  }
  return tensor;
}

std::vector<std::int64_t> dims_of(const Shape& shape, const std::vector<int>& axes) {
  std::vector<std::int64_t> dims;
  for (const int axis : axes) {
    dims.push_back(shape[axis]);
  }
  return dims;
}

/// The order that a file's tensor has: its axis j is the node's axis order[j].
Order order_of(const graph::ImportedTensor& tensor) {
  return graph::inverse(tensor.axes);
}

ValueInfo info_of(const graph::Graph& graph, const graph::ImportedTensor& tensor) {
  ValueInfo info;
  info.name = tensor.name;
  info.dims.emplace();
  info.dims->push_back({-1, kSamplesName});
  for (const std::int64_t extent : dims_of(graph.node(tensor.node).shape, order_of(tensor))) {
    info.dims->push_back({extent, ""});
  }
  return info;
}

void write_nodes(GraphWriter& to) {
  const graph::ExportedModel& model = to.model();
  std::vector<int> wanted;
  for (const graph::ImportedTensor& tensor : model.outputs) {
    wanted.push_back(tensor.node);
  }
  const std::vector<bool> needed = graph::needed_for(to.graph(), wanted);
  for (int i = 0; i < to.graph().size(); ++i) {
    const graph::Node& node = to.graph().node(i);
    if (!needed[static_cast<std::size_t>(i)] || graph::is_given(node) ||
        std::holds_alternative<graph::Input>(node.kind)) {
      continue;
    }
    try {
      to.set(i, std::visit(NodeExport(to, i), node.kind));
    } catch (const JobError& error) {
      throw JobError(fmt::format("{} ({}) cannot be exported to ONNX: {}", node.name,
                                 graph::name_of(node.kind), error.what()));
    }
    progress::tick();
  }
}

Model model_of(const graph::ExportedModel& model) {
  std::set<std::string> taken;
  for (const auto* tensors : {&model.inputs, &model.outputs}) {
    for (const graph::ImportedTensor& tensor : *tensors) {
      taken.insert(tensor.name);
    }
  }
  GraphWriter to(model, std::move(taken));
  for (const graph::ImportedTensor& tensor : model.inputs) {
    to.set(tensor.node, {tensor.name, order_of(tensor)});
  }
  write_nodes(to);
  for (const graph::ImportedTensor& tensor : model.outputs) {
    if (to.of_no_sample(tensor.node)) {
      throw JobError(
          fmt::format("output {} cannot be exported to ONNX: it depends on no input", tensor.name));
    }
    to.add_named("Identity", {to.value(tensor.node, order_of(tensor))}, {}, tensor.name);
  }
  Model file = to.take();
  file.ir_version = kIrVersion;
  file.producer_name = "gentrain";
  file.producer_version = model.version;
  file.opsets.push_back({"", kOpset});
  file.name = model.name;
  for (const graph::ImportedTensor& tensor : model.inputs) {
    file.inputs.push_back(info_of(*model.graph, tensor));
  }
  for (const graph::ImportedTensor& tensor : model.outputs) {
    file.outputs.push_back(info_of(*model.graph, tensor));
  }
  return file;
}

}  // namespace

Order as_node(int rank) {
  Order order(static_cast<std::size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

Order channels_first(int rank) {
  Order order = as_node(rank);
  std::rotate(order.begin(), order.end() - 1, order.end());
  return order;
}

Attribute real_attribute(const char* name, double value) {
  Attribute attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::kFloat;
  attribute.real = static_cast<float>(value);
  return attribute;
}

Attribute integer_attribute(const char* name, std::int64_t value) {
  Attribute attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::kInt;
  attribute.integer = value;
  return attribute;
}

Attribute integers_attribute(const char* name, std::vector<std::int64_t> values) {
  Attribute attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::kInts;
  attribute.integers = std::move(values);
  return attribute;
}

GraphWriter::GraphWriter(const graph::ExportedModel& model, std::set<std::string> taken)
    : model_(model),
      dependent_(graph::dependent_on_inputs(*model.graph)),
      taken_(std::move(taken)) {}

std::string GraphWriter::unique(const std::string& name) {
  std::string candidate = name;
  for (int i = 1; !taken_.insert(candidate).second; ++i) {
    candidate = fmt::format("{}_{}", name, i);
  }
  return candidate;
}

std::string GraphWriter::add(const char* type, std::vector<std::string> inputs,
                             std::vector<Attribute> attributes, const std::string& name,
                             const std::string& node) {
  const std::string wanted = node.empty() ? name : node;
  std::string own = wanted;
  for (int i = 1; !taken_nodes_.insert(own).second; ++i) {
    own = fmt::format("{}_{}", wanted, i);
  }
  std::string output = unique(name);
  file_.nodes.push_back(
      {std::move(own), type, "", std::move(inputs), {output}, std::move(attributes)});
  return output;
}

void GraphWriter::add_named(const char* type, std::vector<std::string> inputs,
                            std::vector<Attribute> attributes, const std::string& output) {
  file_.nodes.push_back(
      {output + "/output", type, "", std::move(inputs), {output}, std::move(attributes)});
}

std::string GraphWriter::reals(const std::string& name, std::vector<std::int64_t> dims,
                               const std::vector<float>& values) {
  std::string own = unique(name);
  file_.initializers.push_back(tensor_of(own, ElementType::kFloat, std::move(dims), values));
  return own;
}

std::string GraphWriter::integers(const std::string& name,
                                  const std::vector<std::int64_t>& values) {
  std::string own = unique(name);
  file_.initializers.push_back(
      tensor_of(own, ElementType::kInt64, {static_cast<std::int64_t>(values.size())}, values));
  return own;
}

std::string GraphWriter::parameter(const std::string& parameters, const char* part,
                                   const Shape& shape, const std::vector<int>& axes) {
  const std::string name = fmt::format("{}/{}", parameters, part);
  std::string key = fmt::format("{} {}", name, fmt::join(axes, " "));
  if (const auto found = initializers_.find(key); found != initializers_.end()) {
    return found->second;
  }
  const std::vector<float> values = model_.values(name);
  std::string own = reals(name, dims_of(shape, axes),
                          graph::keeps_order(axes) ? values : graph::in_order(values, shape, axes));
  initializers_.emplace(std::move(key), own);
  return own;
}

std::string GraphWriter::given(int node, int rank, const Order& order) {
  const graph::Node& of = graph().node(node);
  std::string key = fmt::format("given {} {} {}", node, rank, fmt::join(order, " "));
  if (const auto found = initializers_.find(key); found != initializers_.end()) {
    return found->second;
  }
  std::vector<float> values = graph::given_values(model_, of);
  std::vector<std::int64_t> dims;
  if (values.size() > 1) {
    std::vector<std::int64_t> extents(static_cast<std::size_t>(rank), 1);
    std::ranges::copy_backward(of.shape.extents(), extents.end());
    const Shape aligned(extents);
    dims = dims_of(aligned, order);
    values = graph::in_order(values, aligned, order);
  }
  std::string own = reals(of.parameters, std::move(dims), values);
  initializers_.emplace(std::move(key), own);
  return own;
}

void GraphWriter::set(int node, Written written) {
  Values& values = values_[node];
  values.by_order.emplace(written.order, std::move(written.value));
  values.first = std::move(written.order);
}

GraphWriter::Values& GraphWriter::values_of(int node) {
  const graph::Node& of = graph().node(node);
  if (!values_.contains(node) && graph::is_given(of)) {
    std::vector<std::int64_t> dims = {1};
    dims.insert(dims.end(), of.shape.extents().begin(), of.shape.extents().end());
    set(node, {reals(of.parameters, std::move(dims), graph::given_values(model_, of)),
               as_node(of.shape.rank())});
  }
  return values_.at(node);
}

const Order& GraphWriter::order_of(int node) {
  return values_of(node).first;
}

std::string GraphWriter::value(int node, const Order& order) {
  Values& values = values_of(node);
  if (const auto found = values.by_order.find(order); found != values.by_order.end()) {
    return found->second;
  }
  const std::vector<int> places = graph::inverse(values.first);
  std::vector<std::int64_t> axes = {0};
  for (const int axis : order) {
    axes.push_back(places[static_cast<std::size_t>(axis)] + 1);
  }
  std::string turned =
      add("Transpose", {values.by_order.at(values.first)},
          {integers_attribute("perm", std::move(axes))}, graph().node(node).name + "/transposed");
  values.by_order.emplace(order, turned);
  return turned;
}

}  // namespace gentrain::onnx

namespace gentrain::graph {

void export_onnx(const ExportedModel& model, const std::filesystem::path& path) {
  need_own_samples(model);
  const onnx::Model file = onnx::model_of(model);
  std::string bytes;
  try {
    bytes = onnx::onnx_library().serialize(file);
  } catch (const IoError& error) {
    throw IoError(fmt::format("{}: {}", path.string(), error.what()));
  }
  io::write_file_atomically(path, bytes);
}

}  // namespace gentrain::graph
