// What layers are made with: the graph under construction, the arrays that its parameters need of
// the file, and a row of nodes of which the last has the layer's name.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/keras/attributes.h"

namespace gentrain::keras {

/// What an array of a layer is.
enum class Role : std::uint8_t {
  kKernel,
  kDepthwiseKernel,
  kPointwiseKernel,
  kBias,
  kGamma,
  kBeta,
  kMean,
  kVariance,
  kAlpha,
  kCount,  // of samples that statistics are of; nobody needs it
};

/// "kernel", "depthwise_kernel", "mean"
std::string_view name_of(Role role);

/// An array that a layer has in the file, and what becomes of it.
struct WeightNeed {
  Role role = Role::kKernel;
  Shape stored;           // in the file
  std::string parameter;  // "conv1/weight", or "": of a constant, or not taken
  std::vector<int> axes;  // axis i of the parameter is axis axes[i] of the file; empty: as it is
  Shape shape;            // the axes put together
  std::shared_ptr<std::vector<float>> constant;  // takes the values in place of a parameter
};

/// A layer with arrays.
struct LayerNeeds {
  std::string layer;              // OUTER/INNER
  std::vector<WeightNeed> needs;  // in the order in which Keras makes them
};

class Builder {
 public:
  explicit Builder(Version of) : version(std::move(of)) {}

  /// Throws as Graph::add, and IoError for more nodes than a model can have.
  int add(const std::string& name, graph::NodeKind kind, std::vector<int> inputs,
          const std::string& parameters = "");
  /// Says what a layer needs, once for all its calls, and gives what its first call said. Throws
  /// IoError if that one needed other extents.
  const std::vector<WeightNeed>& need(const std::string& layer, std::vector<WeightNeed> needs);
  [[nodiscard]] const LayerNeeds* needs_of(const std::string& layer) const;
  /// Before each call of a layer or of a nested model, which need not add a node. Throws IoError
  /// for more than a model can have.
  void count_call();
  /// The rows of a map that becomes part of the graph. Throws IoError where all of them together
  /// have more values than a model can have.
  std::shared_ptr<const ops::AxisRows> charged(std::shared_ptr<const ops::AxisRows> rows);

  Version version;
  graph::Graph graph;
  std::vector<LayerNeeds> needs;  // in the order of the nodes
  std::vector<std::string> training_only;

 private:
  std::map<std::string, std::size_t, std::less<>> index_;  // of needs
  std::int64_t calls_ = 0;
  std::int64_t values_ = 0;  // of rows of maps
};

/// One call of a layer.
struct LayerCall {
  Builder& builder;
  std::string type;        // "Conv2D"
  std::string node;        // "backbone:1/conv1"
  std::string parameters;  // "backbone/conv1"
  Attributes& attributes;
  std::span<const int> inputs;

  /// The only input. Throws IoError if there are several.
  [[nodiscard]] int input() const;
  [[nodiscard]] const Shape& shape(int input) const { return builder.graph.node(input).shape; }
  /// A node of the layer's, NAME/SUFFIX, or NAME if the suffix is "".
  int add(const std::string& suffix, graph::NodeKind kind, std::vector<int> nodes) const;
};

/// Nodes one behind another: NAME/SUFFIX but for the last one, which is NAME.
class Chain {
 public:
  explicit Chain(const LayerCall& call) : call_(call), at_(call.input()), shape_(call.shape(at_)) {}

  /// `parameters`: "" for a node without. Throws ShapeError if it does not fit.
  Chain& then(std::string suffix, graph::NodeKind kind, std::string parameters = "");
  /// [c, h, w] to [h, w, c]: before and behind what works on channels that come last.
  Chain& channels_last(bool first);
  Chain& channels_first(bool first);
  [[nodiscard]] const Shape& shape() const { return shape_; }
  /// The node NAME; the input itself under that name if there was nothing to do.
  int finish();

 private:
  struct Pending {
    std::string suffix;
    graph::NodeKind kind;
    std::string parameters;
  };
  void flush(const std::string& name);

  const LayerCall& call_;
  int at_;
  Shape shape_;
  std::optional<Pending> pending_;
};

/// Axis of a sample that an axis of a batch means: 1 is the first, -1 the last. Throws IoError.
int sample_axis(std::int64_t axis, int rank);

/// Axes 0 to rank - 1 with one of them moved to the end, and back.
std::vector<int> axis_to_end(int axis, int rank);
std::vector<int> axis_from_end(int axis, int rank);

}  // namespace gentrain::keras
