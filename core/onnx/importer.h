// The import of one model: header, inputs, constants, nodes, outputs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/graph/imported.h"
#include "core/onnx/operators.h"
#include "core/onnx/order.h"

namespace gentrain::onnx {

class Importer {
 public:
  /// `folder`: where external data are looked for; `bytes`: of the file.
  Importer(Model model, const std::filesystem::path& folder, std::int64_t bytes);
  /// All of it but the file's hash; may be called once. Throws Error naming node, tensor or input.
  graph::ImportedModel run();
  /// ExternalData::finish_hash() of what run() read.
  [[nodiscard]] std::string external_hash() { return external_.finish_hash(); }

 private:
  void read_opset();
  void read_initializers();
  void fold_constants();
  void add_inputs();
  void add_input(const ValueInfo& input);
  void import_node(std::size_t index);
  void import_known(std::size_t index);
  void keep_outputs(const Node& node, std::vector<Value> outputs);
  void add_outputs(graph::ImportedModel& imported);
  [[nodiscard]] std::vector<const Value*> inputs_of(const Node& node) const;
  [[nodiscard]] ConstantPointer bias_behind(const Node& node) const;
  [[nodiscard]] std::vector<int> order_of_input(const ValueInfo& input,
                                                const std::vector<std::int64_t>& extents) const;
  [[nodiscard]] bool is_known(const std::string& name) const { return values_.contains(name); }
  void list_layers(graph::ImportedModel& imported) const;

  Model model_;
  Budget budget_;
  ExternalData external_;
  Builder build_;
  NodeOrder order_;
  std::int64_t opset_ = 0;
  std::int64_t samples_ = -1;  // if the inputs have a fixed number
  std::unordered_map<std::string, Value> values_;
  std::vector<std::string> names_;  // of values, in the order in which they came
  std::vector<bool> done_;          // by node
};

/// The nodes that outputs and layers of a model are of, and what these need; no others.
void drop_unread_nodes(graph::ImportedModel& model);

}  // namespace gentrain::onnx
