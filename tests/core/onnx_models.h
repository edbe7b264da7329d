// Small ONNX models made of the structs of core/onnx/model.h, and written by the module.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/graph/imported.h"
#include "core/onnx/model.h"
#include "tests/support/compare.h"

namespace gentrain::onnx {

using graph::ImportedModel;
using Extents = std::vector<std::int64_t>;
using Values = std::vector<double>;

inline Attribute integer(const std::string& name, std::int64_t value) {
  Attribute attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::kInt;
  attribute.integer = value;
  return attribute;
}
inline Attribute integers(const std::string& name, Extents values) {
  Attribute attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::kInts;
  attribute.integers = std::move(values);
  return attribute;
}
inline Attribute number(const std::string& name, float value) {
  Attribute attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::kFloat;
  attribute.real = value;
  return attribute;
}
inline Attribute text(const std::string& name, const std::string& value) {
  Attribute attribute;
  attribute.name = name;
  attribute.kind = AttributeKind::kString;
  attribute.text = value;
  return attribute;
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }
  return bytes;
}

inline Tensor reals(const std::string& name, Extents dims, const std::vector<float>& values) {
  return {name, ElementType::kFloat, std::move(dims), bytes_of(values), false, {}};
}
/// 0.5, 1, 1.5, ...
inline Tensor ramp(const std::string& name, const Extents& dims) {
  std::vector<float> values(static_cast<std::size_t>(
      std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<>())));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 0.5F * static_cast<float>(i + 1);
  }
  return reals(name, dims, values);
}
inline Tensor list(const std::string& name, const Extents& values) {
  return {name,
          ElementType::kInt64,
          {static_cast<std::int64_t>(values.size())},
          bytes_of(values),
          false,
          {}};
}

/// Extents of -1 are free: "N".
inline ValueInfo value(const std::string& name, const Extents& dims) {
  ValueInfo info;
  info.name = name;
  info.dims.emplace();
  for (const std::int64_t extent : dims) {
    info.dims->push_back({extent, extent < 0 ? "N" : ""});
  }
  return info;
}

inline Node node(const std::string& op_type, std::vector<std::string> inputs,
                 std::vector<std::string> outputs, std::vector<Attribute> attributes = {}) {
  return {"", op_type, "", std::move(inputs), std::move(outputs), std::move(attributes)};
}

/// From x [N, sample...] to y.
inline Model model(Extents sample, std::vector<Node> nodes, std::vector<Tensor> initializers = {},
                   std::int64_t opset = 17) {
  sample.insert(sample.begin(), -1);
  Model made;
  made.ir_version = 8;
  made.producer_name = "test";
  made.producer_version = "1.0";
  made.opsets = {{"", opset}};
  made.name = "graph";
  made.nodes = std::move(nodes);
  made.initializers = std::move(initializers);
  made.inputs = {value("x", sample)};
  made.outputs = {value("y", {-1})};
  return made;
}

class OnnxFiles : public testing::Test {
 protected:
  OnnxFiles()
      : folder_(std::filesystem::temp_directory_path() / fmt::format("gentrain-onnx-{}", getpid())),
        path_(folder_ / "model.onnx") {
    std::filesystem::create_directories(folder_);
  }
  ~OnnxFiles() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& bytes, const std::string& name = "model.onnx") const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  [[nodiscard]] ImportedModel import(const Model& made) const {
    write(onnx_library().serialize(made));
    return graph::import_onnx(path_);
  }
  /// What is said of a model, behind the path; it must begin with that.
  [[nodiscard]] std::string refusal(const Model& made) const {
    return behind_path(test::message_of<IoError>([&] { static_cast<void>(import(made)); }));
  }
  [[nodiscard]] std::string behind_path(const std::string& message) const {
    const std::string before = path_.string() + ": ";
    EXPECT_THAT(message, testing::StartsWith(before));
    return message.substr(std::min(message.size(), before.size()));
  }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

/// The names of a graph's kinds, in order.
inline std::vector<std::string> kinds_of(const graph::Graph& graph) {
  std::vector<std::string> kinds;
  for (int i = 0; i < graph.size(); ++i) {
    kinds.emplace_back(name_of(graph.node(i).kind));
  }
  return kinds;
}

}  // namespace gentrain::onnx
