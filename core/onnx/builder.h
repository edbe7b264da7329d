// The graph that an import makes, and the layout of its values: each is a node and the order in
// which that node keeps the file's axes. So a Transpose of the file costs nothing, functions of
// elements carry the order along, and only an operator that needs one makes a Permute node.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/graph/imported.h"
#include "core/onnx/constant.h"

namespace gentrain::onnx {

/// A value that differs from sample to sample. "Axis a" is the file's, without the samples' axis.
struct Placed {
  int node = -1;
  /// Axis i of the node is axis axes[i]. axes[0] may be -1: the file has that axis of the node
  /// within its samples' axis, behind the sample, [n, 3, 20] as [n 3, 20].
  std::vector<int> axes;
  int samples = 0;         // which axis of the file is the samples'; not 0 behind some Transpose
  bool condition = false;  // 1 where something holds and 0 elsewhere

  [[nodiscard]] bool merged() const { return !axes.empty() && axes[0] < 0; }
};

/// 0, 1, ..., rank - 1
std::vector<int> file_order(int rank);

/// An array of a parameter, and the constants of the file that it was made from: those who use the
/// same ones share the parameters.
struct LayerArray {
  const char* leaf;  // "weight"
  Shape shape;
  std::vector<float> values;
  ConstantPointer source;
  std::string how = {};  // tells apart what was made from one source in several ways
};

/// Adds nodes and keeps the arrays of their parameters. Everything throws ShapeError as Graph::add,
/// and IoError as stated.
class Builder {
 public:
  explicit Builder(Budget& budget) : budget_(&budget) {}

  [[nodiscard]] const graph::Graph& graph() const { return graph_; }
  [[nodiscard]] Budget& budget() { return *budget_; }
  /// Hands out what was built; afterwards the builder is empty.
  graph::Graph take_graph() { return std::move(graph_); }
  std::vector<graph::ImportedArray> take_arrays() { return std::move(arrays_); }

  /// What nodes are named by from here on, until the next call: UTF-8, of which 512 bytes are kept.
  void begin(std::string name) { name_ = std::move(name); }
  /// A node NAME, or NAME/part, made unique; returns its index.
  int add(graph::NodeKind kind, std::vector<int> inputs, std::string_view part = "");
  /// One with parameters. Throws IoError naming the tensor for a value that is not finite.
  int add_layer(graph::NodeKind kind, int input, std::vector<LayerArray> arrays);

  /// Extents by the file's axes, those within the samples' axis left out.
  [[nodiscard]] std::vector<std::int64_t> dims(const Placed& value) const;
  /// The node's axis that is the file's axis `axis`.
  [[nodiscard]] static int position(const Placed& value, int axis);

  /// The same value in another order of axes. Makes nothing where only axes of extent 1 move but a
  /// Reshape, and one Permute for all that ask for it.
  Placed arranged(const Placed& value, const std::vector<int>& axes);
  /// [h, w, c] of a file's [c, h, w]. Throws IoError for another rank.
  Placed image(const Placed& value);
  /// `axis` last, the others as they are.
  Placed with_last(const Placed& value, int axis);
  /// The node's elements, row-major, under another shape. No Reshape of a Reshape is made.
  int reshaped(int node, const Shape& shape, std::string_view part = "reshape");

  Placed pointwise(const Placed& value, const PointwiseRule& rule, std::string_view part = "");
  Placed mapped(const Placed& value, int axis, ops::AxisRows rows, std::string_view part);
  /// Shapes as NumPy fits them, by the file's axes. Throws IoError for values that have another
  /// number of axes, since one's samples would meet the other's axis.
  Placed binary(BinaryFunction function, const Placed& a, const Placed& b,
                std::string_view part = "");
  /// A node that gives a constant as a sample of `like` has it, for Binary: a Variable, or of one
  /// element a Constant. Throws IoError if it is empty, would differ from sample to sample, has
  /// more axes than `like` or does not fit, and for a value that is not finite.
  int constant_node(const ConstantPointer& constant, const Placed& like);

 private:
  std::string unique(std::string name);
  int permuted(int node, std::vector<int> from);

  Budget* budget_;
  graph::Graph graph_;
  std::vector<graph::ImportedArray> arrays_;
  std::string name_ = "node";
  std::vector<ConstantPointer> sources_;        // kept, so that their addresses stay theirs
  std::unordered_map<std::string, int> taken_;  // names and how often they were asked for
  std::unordered_map<std::string, std::string> shared_;  // parameters by their sources
  std::map<std::pair<int, std::vector<int>>, int> permuted_;
  std::map<std::pair<const Constant*, std::string>, int> constants_;
};

/// A constant's extents and values as a sample of a value of `rank` axes has them, in the order of
/// its axes: what is missing has extent 1. Throws IoError if it is empty, has more axes, or differs
/// from sample to sample.
LayerArray in_order_of(const Placed& like, const ConstantPointer& constant, const char* leaf);

/// Throws IoError naming the tensor if a value is not finite.
void need_finite(const std::string& tensor, const std::vector<float>& values);

/// Elements in another order of axes: axis i of the result is axis axes[i] of dims.
std::vector<float> transposed(const std::vector<float>& values,
                              const std::vector<std::int64_t>& dims, const std::vector<int>& axes);

}  // namespace gentrain::onnx
