// What an operator of an ONNX file is to an import: a function that reads a node's inputs and
// attributes and gives its outputs. One table for each family of operators.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/onnx/attributes.h"
#include "core/onnx/builder.h"
#include "core/onnx/constant.h"

namespace gentrain::onnx {

using Value = std::variant<ConstantPointer, Placed>;

inline constexpr std::int64_t kMostPixels = 255;  // of a window of graph::Pooling and GlobalPooling

/// A node of the file while it is imported. Everything throws IoError.
class Call {
 public:
  /// `node` and what `values` points to must outlive it; a value is nullptr where an input is left
  /// out.
  Call(const Node& node, std::int64_t opset, std::vector<const Value*> values, Builder& build);

  [[nodiscard]] const Node& node() const { return *node_; }
  [[nodiscard]] std::int64_t opset() const { return opset_; }
  [[nodiscard]] Builder& build() { return *build_; }
  [[nodiscard]] Attributes& attributes() { return attributes_; }

  /// Of the inputs, those left out at the end not counted.
  [[nodiscard]] int inputs() const { return static_cast<int>(values_.size()); }
  [[nodiscard]] bool has(int input) const;
  /// Throws for an input that is left out.
  [[nodiscard]] const Value& value(int input) const;
  [[nodiscard]] bool is_constant(int input) const;
  /// A value that differs from sample to sample and has the samples along its first axis, one entry
  /// for each; numbers, no condition.
  [[nodiscard]] const Placed& placed(int input) const;
  /// The same, wherever the samples stand.
  [[nodiscard]] const Placed& anywhere(int input) const;
  [[nodiscard]] const ConstantPointer& constant(int input) const;
  /// A constant of numbers that are no integers.
  [[nodiscard]] const ConstantPointer& reals(int input) const;
  /// A list of integers, none of which is the number of samples, unless `samples`.
  [[nodiscard]] std::vector<std::int64_t> integers(int input, bool samples = false) const;
  /// The only element of a constant, whatever its type.
  [[nodiscard]] double number(int input) const;
  /// An integer list that is an attribute up to some opset and an input behind: the attribute if it
  /// is there, else input `input`, else nothing.
  std::optional<std::vector<std::int64_t>> list(std::string_view attribute, int input);

  /// The next output.
  void give(Value value) { outputs_.push_back(std::move(value)); }
  [[nodiscard]] std::vector<Value>& outputs() { return outputs_; }

  /// The axis of the file's extents without the samples' that a number stands for, which may count
  /// from the end. `rank`: with the samples' axis. Throws for the samples' axis and beyond.
  [[nodiscard]] int axis(std::int64_t axis, int rank) const;
  /// The number of a value's axes with the samples'.
  [[nodiscard]] static int rank(const Placed& value) {
    return static_cast<int>(value.axes.size()) + (value.merged() ? 0 : 1);
  }

  /// What a MatMul's only reader adds to it; the MatMul may do that itself and say so.
  ConstantPointer bias_behind;
  bool bias_taken = false;
  /// Of a fixed number of samples, else -1: shapes of the file may hold it.
  std::int64_t samples = -1;

 private:
  const Node* node_;
  std::int64_t opset_;
  std::vector<const Value*> values_;
  Builder* build_;
  Attributes attributes_;
  std::vector<Value> outputs_;
};

struct OperatorEntry {
  std::string_view op_type;
  void (*import)(Call& call);
};

/// Operators whose inputs are all constants: the arithmetic of shapes, changes of weights.
std::span<const OperatorEntry> constant_arithmetic();
std::span<const OperatorEntry> constant_moves();

/// Operators of values that differ from sample to sample.
std::span<const OperatorEntry> convolution_operators();
std::span<const OperatorEntry> pooling_operators();
std::span<const OperatorEntry> normalization_operators();
std::span<const OperatorEntry> product_operators();
std::span<const OperatorEntry> pointwise_operators();
std::span<const OperatorEntry> binary_operators();
std::span<const OperatorEntry> shape_operators();
std::span<const OperatorEntry> slice_operators();
std::span<const OperatorEntry> resize_operators();
std::span<const OperatorEntry> reduction_operators();

/// begin, begin + step, ... as Slice counts them: `extent` positions, ends that count from the end
/// and beyond it. Their number is charged before they are made. Throws IoError for a step of 0.
std::vector<std::int64_t> sliced_positions(std::int64_t extent, std::int64_t begin,
                                           std::int64_t end, std::int64_t step, Budget& budget);

/// The mean over an axis, which stays with extent 1.
Placed mean_along(Call& call, const Placed& value, int axis);

/// Without some of its axes, which have extent 1.
Placed without_axes(Call& call, const Placed& x, const std::vector<int>& gone);

/// Throws IoError naming the attribute unless every number is in [low, high].
void need_range(std::string_view attribute, std::span<const std::int64_t> values, std::int64_t low,
                std::int64_t high);

}  // namespace gentrain::onnx
