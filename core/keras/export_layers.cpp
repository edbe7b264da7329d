// What the kinds of nodes have in common on their way to layers of Keras, and those that are a
// layer each.
#include "core/keras/export_layers.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::keras {

namespace {

json to_json(const Shape& shape) {
  return std::vector<std::int64_t>(shape.extents().begin(), shape.extents().end());
}

std::vector<int> counted(int rank) {
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

}  // namespace

NodeExport::NodeExport(const graph::ExportedModel& model, LayerList& layers,
                       const std::vector<std::optional<LayerOutput>>& outputs, int node)
    : model_(model), layers_(layers), outputs_(outputs), node_(model.graph->node(node)) {}

const graph::Node& NodeExport::source(std::size_t input) const {
  return model_.graph->node(node_.inputs[input]);
}

const Shape& NodeExport::shape(std::size_t input) const {
  return source(input).shape;
}

LayerOutput NodeExport::input(std::size_t input) const {
  const auto& output = outputs_[static_cast<std::size_t>(node_.inputs[input])];
  if (!output) {
    throw JobError(
        fmt::format("it reads {} ({}), which is the same for every sample: Keras has no "
                    "layer that gives such values",
                    source(input).name, graph::name_of(source(input).kind)));
  }
  return *output;
}

std::vector<LayerOutput> NodeExport::inputs() const {
  std::vector<LayerOutput> result;
  for (std::size_t i = 0; i < node_.inputs.size(); ++i) {
    result.push_back(input(i));
  }
  return result;
}

LayerOutput NodeExport::add(std::string_view part, const char* type, json config,
                            const std::vector<LayerOutput>& inputs) {
  return layers_.add(part.empty() ? node_.name : fmt::format("{}_{}", node_.name, part), type,
                     std::move(config), inputs);
}

LayerOutput NodeExport::add_weighted(const char* type, json config, LayerOutput x,
                                     std::vector<io::KerasModelArray> arrays) {
  return layers_.add_shared(node_.parameters, type, std::move(config), {x}, std::move(arrays));
}

io::KerasModelArray NodeExport::array(const char* name, const char* part, const Shape& of,
                                      std::vector<int> axes, const Shape& stored) const {
  return {name, stored,
          [values = model_.values, parameter = fmt::format("{}/{}", node_.parameters, part), of,
           axes = std::move(axes)] { return graph::in_order(values(parameter), of, axes); }};
}

io::KerasModelArray NodeExport::array(const char* name, const char* part, const Shape& of) const {
  return array(name, part, of, counted(of.rank()), of);
}

LayerOutput NodeExport::activation(std::string_view part, const char* name, LayerOutput x) {
  return add(part, "Activation", {{"activation", name}}, {x});
}

LayerOutput NodeExport::relu(std::string_view part, LayerOutput x, double slope, double threshold,
                             std::optional<double> most) {
  json config = {{"negative_slope", slope}, {"threshold", threshold}, {"max_value", nullptr}};
  if (most) {
    config["max_value"] = *most;
  }
  return add(part, "ReLU", std::move(config), {x});
}

LayerOutput NodeExport::rescaled(std::string_view part, LayerOutput x, double scale,
                                 double offset) {
  return scale == 1 && offset == 0
             ? x
             : add(part, "Rescaling", {{"scale", scale}, {"offset", offset}}, {x});
}

LayerOutput NodeExport::reshaped(std::string_view part, LayerOutput x, const Shape& to) {
  return add(part, "Reshape", {{"target_shape", to_json(to)}}, {x});
}

LayerOutput NodeExport::permuted(std::string_view part, LayerOutput x,
                                 const std::vector<int>& axes) {
  std::vector<int> dims = axes;
  for (int& dim : dims) {
    ++dim;
  }
  return add(part, "Permute", {{"dims", dims}}, {x});
}

LayerOutput NodeExport::border(std::string_view part, const char* type, LayerOutput x,
                               const ops::Padding& padding) {
  const bool cuts = std::string_view(type) == "Cropping2D";
  return add(part, type,
             {{cuts ? "cropping" : "padding",
               json::array({{padding.top, padding.bottom}, {padding.left, padding.right}})},
              {"data_format", "channels_last"}},
             {x});
}

LayerOutput NodeExport::operator()(const graph::Input& /*node*/) {
  throw JobError("it is none of the model's inputs");
}

LayerOutput NodeExport::operator()(const graph::Constant& /*node*/) {
  throw JobError("it depends on no input");
}

LayerOutput NodeExport::operator()(const graph::Variable& /*node*/) {
  throw JobError("it depends on no input");
}

LayerOutput NodeExport::operator()(const graph::BatchNormalization& node) {
  const Shape channels{shape()[shape().rank() - 1]};
  std::vector<io::KerasModelArray> arrays;
  if (node.gamma) {
    arrays.push_back(array("gamma", "gamma", channels));
  }
  if (node.beta) {
    arrays.push_back(array("beta", "beta", channels));
  }
  arrays.push_back(array("moving_mean", "running_mean", channels));
  arrays.push_back(array("moving_variance", "running_var", channels));
  return add_weighted("BatchNormalization",
                      {{"axis", -1},
                       {"momentum", node.decay},
                       {"epsilon", node.epsilon},
                       {"center", node.beta},
                       {"scale", node.gamma}},
                      input(), std::move(arrays));
}

LayerOutput NodeExport::operator()(const graph::Prelu& node) {
  json shared = json::array();
  for (int axis = 0; axis < node.alpha.rank(); ++axis) {
    if (node.alpha[axis] != shape()[axis]) {
      shared.push_back(axis + 1);
    }
  }
  return add_weighted("PReLU", {{"shared_axes", shared.empty() ? json() : shared}}, input(),
                      {array("alpha", "alpha", node.alpha)});
}

LayerOutput NodeExport::operator()(const graph::Flatten& /*node*/) {
  return add("", "Flatten", {{"data_format", "channels_last"}}, {input()});
}

LayerOutput NodeExport::operator()(const graph::Reshape& node) {
  return reshaped("", input(), node.shape);
}

LayerOutput NodeExport::operator()(const graph::Permute& node) {
  return permuted("", input(), node.axes);
}

LayerOutput NodeExport::operator()(const graph::Dropout& node) {
  return add("", "Dropout", {{"rate", node.rate}, {"noise_shape", nullptr}, {"seed", nullptr}},
             {input()});
}

LayerOutput NodeExport::operator()(const graph::Concatenation& node) {
  return add("", "Concatenate", {{"axis", node.axis == -1 ? -1 : node.axis + 1}}, inputs());
}

LayerOutput NodeExport::operator()(const graph::Addition& /*node*/) {
  return add("", "Add", json::object(), inputs());
}

/// The logarithm is known to Keras 3 alone.
LayerOutput NodeExport::operator()(const graph::Softmax& node) {
  const int rank = shape().rank();
  if (!node.log) {
    return add("", "Softmax", {{"axis", node.axis == -1 ? -1 : node.axis + 1}}, {input()});
  }
  const int axis = node.axis == -1 ? rank - 1 : node.axis;
  if (axis == rank - 1) {
    return activation("", "log_softmax", input());
  }
  std::vector<int> axes = counted(rank);
  std::swap(axes[static_cast<std::size_t>(axis)], axes.back());
  const LayerOutput y = activation("log", "log_softmax", permuted("last", input(), axes));
  return permuted("", y, axes);
}

LayerOutput NodeExport::operator()(const graph::Identity& /*node*/) {
  return activation("", "linear", input());
}

}  // namespace gentrain::keras
