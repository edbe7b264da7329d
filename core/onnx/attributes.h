// A node's attributes, each read by name and type; those that nobody asked for are not known.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/onnx/model.h"

namespace gentrain::onnx {

/// All that read throw IoError naming the attribute for another type than theirs. What is not there
/// is the given value, or nothing.
class Attributes {
 public:
  /// Throws IoError for an attribute that is there twice or has no type. `node` must outlive it.
  explicit Attributes(const Node& node);

  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  std::int64_t integer(std::string_view name, std::int64_t otherwise);
  /// 0 or 1. Throws IoError for another number.
  bool flag(std::string_view name, bool otherwise);
  double real(std::string_view name, double otherwise);
  std::string text(std::string_view name, std::string_view otherwise);
  std::optional<std::vector<std::int64_t>> integers(std::string_view name);
  std::optional<std::vector<float>> reals(std::string_view name);
  /// nullptr if it is not there; lives as long as the node.
  const Tensor* tensor(std::string_view name);

  /// Throws IoError naming an attribute that was not read.
  void need_all_read() const;

 private:
  [[nodiscard]] const Attribute* find(std::string_view name) const;
  const Attribute* read(std::string_view name, AttributeKind kind);

  const Node* node_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace gentrain::onnx
