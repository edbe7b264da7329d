// Nodes of a graph as operators of ONNX: the file under construction, in which values have the
// samples along their first axis and keep the axes of a sample in any order, and for each kind of
// node what it adds. An operator on images has channels first; functions of elements take the
// order that they find, so that few Transposes are made.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/graph/exported.h"
#include "core/onnx/model.h"

namespace gentrain::onnx {

/// Axis i + 1 of a value is axis order[i] of the node's samples.
using Order = std::vector<int>;

/// 0, 1, ..., rank - 1: as the node has them.
Order as_node(int rank);
/// rank - 1, 0, 1, ...
Order channels_first(int rank);

Attribute real_attribute(const char* name, double value);
Attribute integer_attribute(const char* name, std::int64_t value);
Attribute integers_attribute(const char* name, std::vector<std::int64_t> values);

/// What a node gives.
struct Written {
  std::string value;
  Order order;
};

/// The file, and the values of the nodes that are in it.
class GraphWriter {
 public:
  /// `taken`: names that no value may have but those that are asked for by name.
  GraphWriter(const graph::ExportedModel& model, std::set<std::string> taken);

  [[nodiscard]] const graph::ExportedModel& model() const { return model_; }
  [[nodiscard]] const graph::Graph& graph() const { return *model_.graph; }
  /// Whether a node gives the same for every sample, in values with one sample.
  [[nodiscard]] bool of_no_sample(int node) const {
    return !dependent_[static_cast<std::size_t>(node)];
  }

  /// An operator with one output, which is named like `name`; returns the output. `node`: the
  /// operator's own name, empty: the output's.
  std::string add(const char* type, std::vector<std::string> inputs,
                  std::vector<Attribute> attributes, const std::string& name,
                  const std::string& node = "");
  /// The same with an output of exactly that name.
  void add_named(const char* type, std::vector<std::string> inputs,
                 std::vector<Attribute> attributes, const std::string& output);
  /// Initializers; return their names.
  std::string reals(const std::string& name, std::vector<std::int64_t> dims,
                    const std::vector<float>& values);
  std::string integers(const std::string& name, const std::vector<std::int64_t>& values);
  /// The parameter PARAMETERS/PART [shape], axis i of the file's is axis axes[i]; once for all who
  /// ask for it.
  std::string parameter(const std::string& parameters, const char* part, const Shape& shape,
                        const std::vector<int>& axes);
  /// A constant or variable without an axis for samples, aligned at the last of `rank` axes, in
  /// some order.
  std::string given(int node, int rank, const Order& order);

  void set(int node, Written written);
  [[nodiscard]] const Order& order_of(int node);
  /// A node's value in some order; a Transpose is made once for all who ask.
  std::string value(int node, const Order& order);

  /// The operators and initializers.
  Model take() { return std::move(file_); }

 private:
  struct Values {
    Order first;
    std::map<Order, std::string> by_order;
  };
  std::string unique(const std::string& name);
  Values& values_of(int node);

  const graph::ExportedModel& model_;
  std::vector<bool> dependent_;  // on inputs, by node
  Model file_;
  std::set<std::string> taken_;        // names of values and initializers
  std::set<std::string> taken_nodes_;  // names of operators
  std::map<int, Values> values_;
  std::map<std::string, std::string> initializers_;
};

/// Adds the operators of one node. Throws JobError for what cannot be expressed, without the node's
/// name.
class NodeExport {
 public:
  NodeExport(GraphWriter& to, int node) : to_(to), index_(node), node_(to.graph().node(node)) {}

  Written operator()(const graph::Input& node);
  Written operator()(const graph::Constant& node);
  Written operator()(const graph::Variable& node);
  Written operator()(const graph::Convolution& node);
  Written operator()(const graph::TransposedConvolution& node);
  Written operator()(const graph::BatchNormalization& node);
  Written operator()(const graph::Activate& node);
  Written operator()(const graph::Pointwise& node);
  Written operator()(const graph::Prelu& node);
  Written operator()(const graph::Binary& node);
  Written operator()(const graph::Pooling& node);
  Written operator()(const graph::GlobalPooling& node);
  Written operator()(const graph::Dense& node);
  Written operator()(const graph::Flatten& node);
  Written operator()(const graph::Reshape& node);
  Written operator()(const graph::Permute& node);
  Written operator()(const graph::AxisMap& node);
  Written operator()(const graph::LargestAlong& node);
  Written operator()(const graph::Dropout& node);
  Written operator()(const graph::Concatenation& node);
  Written operator()(const graph::Addition& node);
  Written operator()(const graph::Softmax& node);
  Written operator()(const graph::Identity& node);

 private:
  using Names = std::vector<std::string>;

  [[nodiscard]] const Shape& shape(std::size_t input = 0) const;
  [[nodiscard]] const Order& order(std::size_t input = 0) const;
  std::string input(const Order& order, std::size_t input = 0);
  /// The first input in the order that it has.
  std::string as_it_is() { return input(order()); }
  /// The value's axis that is an axis of the node's samples.
  static std::int64_t place(const Order& order, int axis);

  /// An operator whose output is NODE/PART, or NODE if the part is "".
  std::string add(std::string_view part, const char* type, Names inputs,
                  std::vector<Attribute> attributes = {});
  /// One with weights: it is named as the parameters are.
  std::string add_weighted(std::string_view part, const char* type, Names inputs,
                           std::vector<Attribute> attributes = {});
  std::string activated(const std::string& x, Activation activation);
  std::string number(std::string_view part, double value);
  std::string parameter(const char* part, const Shape& shape, const std::vector<int>& axes);
  std::string parameter(const char* part, const Shape& shape);
  [[nodiscard]] std::string name_of(std::string_view part) const;

  std::string binary(std::string_view part, const char* type, const std::string& a, double b);
  std::string pointwise(const PointwiseRule& rule, const std::string& x);
  std::string gated(const PointwiseRule& rule, const std::string& x);
  std::string plain(const PointwiseRule& rule, const std::string& x);
  std::string relu(const PointwiseRule& rule, const std::string& x);
  std::string clipped(std::string_view part, const std::string& x, double low, double high);
  std::string operand(std::size_t input, const Order& order);
  std::string multiplied(const ops::AxisRows& rows, const std::string& x);

  GraphWriter& to_;
  int index_;
  const graph::Node& node_;
};

}  // namespace gentrain::onnx
