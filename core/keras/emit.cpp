// From outside in: scopes hold the beginnings of names.
#include "core/keras/emit.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "core/keras/layers.h"
#include "core/keras/place.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

/// What names begin with.
struct Scope {
  std::string nodes;       // "backbone:1/"
  std::string parameters;  // "backbone/"
};

graph::ImportedTensor tensor_of(const std::string& name, int node, const graph::Graph& graph) {
  graph::ImportedTensor tensor{name, node, {}};
  tensor.axes.resize(static_cast<std::size_t>(graph.node(node).shape.rank()));
  std::iota(tensor.axes.begin(), tensor.axes.end(), 0);
  return tensor;
}

class Emitter {
 public:
  Emitter(Builder& builder, graph::ImportedModel& imported)
      : builder_(builder), imported_(imported) {}

  /// Nodes of the outputs. `inputs`: nodes that the inputs are; of the outermost model null.
  std::vector<int> model(const Model& model, const Scope& scope, const std::vector<int>* inputs) {
    Values values(model.layers.size());
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
      values[i].resize(model.layers[i].calls.size());
    }
    if (inputs == nullptr) {  // in the model's order, not in that of the list
      for (const int input : model.inputs) {
        values[static_cast<std::size_t>(input)][0] = {outer_input(model, input)};
      }
    }
    for (const CallOfLayer& of : order_of(model)) {
      builder_.count_call();
      const Layer& layer = model.layers[static_cast<std::size_t>(of.layer)];
      std::vector<int>& result =
          values[static_cast<std::size_t>(of.layer)][static_cast<std::size_t>(of.call)];
      const std::string place =
          fmt::format("layer {}{} ({})", scope.parameters, layer.name, layer.type);
      if (layer.model) {
        result = nested(model, of, scope, values);
      } else if (layer.is_input()) {
        at(place, [&] { inner_input(model, of.layer, inputs, result); });
      } else {
        result = {at(place, [&] { return plain(model, of, scope, values); })};
      }
      note(layer, of.call, scope, result);
    }
    std::vector<int> outputs;
    for (const Source& source : model.outputs) {
      outputs.push_back(value(values, source));
    }
    return outputs;
  }

 private:
  /// Nodes of the outputs by layer, call and output.
  using Values = std::vector<std::vector<std::vector<int>>>;

  static int value(const Values& values, const Source& source) {
    return values[static_cast<std::size_t>(source.layer)][static_cast<std::size_t>(source.call)]
                 [static_cast<std::size_t>(source.output)];
  }

  static std::vector<int> inputs_of(const Model& model, const CallOfLayer& of,
                                    const Values& values) {
    std::vector<int> inputs;
    const Layer& layer = model.layers[static_cast<std::size_t>(of.layer)];
    for (const Source& source : layer.calls[static_cast<std::size_t>(of.call)]) {
      inputs.push_back(value(values, source));
    }
    return inputs;
  }

  /// NAME or NAME:1.
  static std::string called(const std::string& name, int call) {
    return call == 0 ? name : fmt::format("{}:{}", name, call);
  }

  std::vector<int> nested(const Model& outer, const CallOfLayer& of, const Scope& scope,
                          const Values& values) {
    const Layer& layer = outer.layers[static_cast<std::size_t>(of.layer)];
    const std::vector<int> inputs = inputs_of(outer, of, values);
    if (inputs.size() != layer.model->inputs.size()) {
      throw IoError(fmt::format("layer {}{} ({}): it takes {} inputs but is given {}",
                                scope.parameters, layer.name, layer.type,
                                layer.model->inputs.size(), inputs.size()));
    }
    const Scope inner{scope.nodes + called(layer.name, of.call) + "/",
                      scope.parameters + layer.name + "/"};
    return model(*layer.model, inner, &inputs);
  }

  int plain(const Model& model, const CallOfLayer& of, const Scope& scope, const Values& values) {
    const Layer& layer = model.layers[static_cast<std::size_t>(of.layer)];
    const std::vector<int> inputs = inputs_of(model, of, values);
    Attributes attributes(layer.config);
    LayerCall call{.builder = builder_,
                   .type = layer.type,
                   .node = scope.nodes + called(layer.name, of.call),
                   .parameters = scope.parameters + layer.name,
                   .attributes = attributes,
                   .inputs = inputs};
    return add_layer(call);
  }

  /// The extents that an InputLayer says, -1 for those that it does not.
  static std::vector<std::int64_t> read_input(const Layer& layer) {
    Attributes attributes(layer.config);
    attributes.expect("sparse", {false});
    attributes.expect("ragged", {false});
    attributes.expect("optional", {false});
    attributes.expect("input_tensor", {});
    const json* shape = attributes.take({"batch_input_shape", "batch_shape"});
    attributes.finish();
    return shape == nullptr ? std::vector<std::int64_t>() : sample_extents(*shape);
  }

  int outer_input(const Model& model, int index) {
    const Layer& layer = model.layers[static_cast<std::size_t>(index)];
    return at(fmt::format("layer {} (InputLayer)", layer.name), [&] {
      const std::vector<std::int64_t> extents = read_input(layer);
      if (extents.empty() || std::ranges::find(extents, -1) != extents.end()) {
        throw IoError(
            extents.empty()
                ? "the shape of the model's input is not said in the file"
                : "an extent of the model's input is free; models of one size are supported");
      }
      const int node = builder_.add(layer.name, graph::Input{Shape(extents)}, {});
      imported_.inputs.push_back(tensor_of(layer.name, node, builder_.graph));
      return node;
    });
  }

  /// The input of a nested model is what it is given.
  void inner_input(const Model& model, int index, const std::vector<int>* inputs,
                   std::vector<int>& result) const {
    if (inputs == nullptr) {
      return;
    }
    const auto place = std::ranges::find(model.inputs, index) - model.inputs.begin();
    const int node = (*inputs)[static_cast<std::size_t>(place)];
    const Shape& shape = builder_.graph.node(node).shape;
    const std::vector<std::int64_t> said =
        read_input(model.layers[static_cast<std::size_t>(index)]);
    const bool fits =
        said.empty() || std::ranges::equal(said, shape.extents(), [](auto wanted, auto came) {
          return wanted == -1 || wanted == came;
        });
    if (!fits) {
      throw IoError(fmt::format("it is given {} of a sample, but takes [{}]", shape.str(),
                                fmt::join(said, ", ")));
    }
    result = {node};
  }

  /// Layers can be asked for by name: the output of the first call.
  void note(const Layer& layer, int call, const Scope& scope, const std::vector<int>& result) {
    if (call == 0 && scope.nodes == scope.parameters && result.size() == 1) {
      imported_.layers.push_back(
          tensor_of(scope.parameters + layer.name, result[0], builder_.graph));
    }
  }

  Builder& builder_;
  graph::ImportedModel& imported_;
};

}  // namespace

void emit_model(const Model& model, Builder& builder, graph::ImportedModel& imported) {
  const std::vector<int> outputs = Emitter(builder, imported).model(model, {}, nullptr);
  std::vector<int> distinct;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Source& source = model.outputs[i];
    const std::string& name = model.layers[static_cast<std::size_t>(source.layer)].name;
    int node = outputs[i];
    if (std::ranges::find(distinct, node) != distinct.end()) {
      node = at("output " + name, [&] {
        return builder.add(fmt::format("{}:output_{}", name, i), graph::Identity{}, {node});
      });
    }
    distinct.push_back(node);
    imported.outputs.push_back(tensor_of(name, node, builder.graph));
  }
  builder.graph.set_outputs(distinct);
}

}  // namespace gentrain::keras
