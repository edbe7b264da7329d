// Exports in tests: a graph with random values out into a file and back, and what both compute.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/graph/executor.h"
#include "core/graph/exported.h"
#include "tests/core/graph_fixture.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain::graph {

using Values = std::map<std::string, std::vector<float>>;  // by parameter

/// A tensor of a node in the node's own order of axes.
inline ImportedTensor plain_tensor(const Graph& graph, int node) {
  ImportedTensor tensor{graph.node(node).name, node, {}};
  tensor.axes.resize(static_cast<std::size_t>(graph.node(node).shape.rank()));
  std::iota(tensor.axes.begin(), tensor.axes.end(), 0);
  return tensor;
}

/// Random values of all parameters; variances are above 0.5.
inline Values random_parameters(const Graph& graph) {
  ParameterSet parameters;
  register_parameters(graph, parameters, {Initializer::Kind::kUniformFanIn});
  Values values;
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    const bool variance = info.name.ends_with("running_var");
    const std::vector<double> drawn = test::random_values(
        info.shape.elements(), RngKey(static_cast<std::uint64_t>(i) + 1), variance ? 0.5 : -1, 1);
    values[info.name] = {drawn.begin(), drawn.end()};
  }
  return values;
}

inline Values values_of(const ImportedModel& model) {
  Values values;
  for (const ImportedArray& array : model.arrays) {
    values[array.parameter] = array.values;
  }
  return values;
}

/// All inputs and outputs of a graph, under the nodes' names. `graph` and `values` must outlive it.
inline ExportedModel exported(const Graph& graph, const Values& values) {
  ExportedModel model;
  model.graph = &graph;
  for (const int node : graph.inputs()) {
    model.inputs.push_back(plain_tensor(graph, node));
  }
  for (const int node : graph.outputs()) {
    model.outputs.push_back(plain_tensor(graph, node));
  }
  model.values = [&values](const std::string& name) { return values.at(name); };
  model.name = "model";
  model.version = "1.2.3";
  return model;
}

/// An imported model with the tensors of its file.
inline ExportedModel exported(const ImportedModel& imported, const Values& values) {
  ExportedModel model = exported(imported.graph, values);
  model.inputs = imported.inputs;
  model.outputs = imported.outputs;
  return model;
}

/// Axes of samples as axes of a batch.
inline std::vector<int> with_samples(const std::vector<int>& axes) {
  std::vector<int> all = {0};
  for (const int axis : axes) {
    all.push_back(axis + 1);
  }
  return all;
}

/// A random batch of two for an input, drawn in the order of the file's axes.
inline Tensor random_input(const test::Workbench& bench, const Graph& graph,
                           const ImportedTensor& tensor, std::uint64_t key) {
  const Shape& of = graph.node(tensor.node).shape;
  std::vector<std::int64_t> extents = {2};
  for (const int axis : inverse(tensor.axes)) {
    extents.push_back(of[axis]);
  }
  const Shape shape(extents);
  const std::vector<double> drawn = test::random_values(shape.elements(), RngKey(key), -1, 1);
  const std::vector<float> as_node =
      in_order({drawn.begin(), drawn.end()}, shape, with_samples(tensor.axes));
  std::vector<std::int64_t> node_extents = {2};
  node_extents.insert(node_extents.end(), of.extents().begin(), of.extents().end());
  const Tensor input = bench.empty(Shape(node_extents), DType::kF32);
  copy_from_host<float>(bench.device(), bench.queue(), as_node, input);
  return input;
}

/// The outputs of two samples that are random, in the order of the outputs of the file and of its
/// axes; inputs likewise.
inline std::vector<std::vector<float>> outputs_of(const ExportedModel& model,
                                                  const Values& values) {
  const test::Workbench bench(test::cpu_device());
  ParameterSet parameters;
  register_parameters(*model.graph, parameters, {});
  parameters.allocate(bench.device(), bench.queue());
  for (int i = 0; i < parameters.size(); ++i) {
    copy_from_host<float>(bench.device(), bench.queue(), values.at(parameters.info(i).name),
                          parameters[i]);
  }
  parameters.mark_changed();
  const Executor executor(*model.graph, parameters);
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < model.inputs.size(); ++i) {
    inputs.push_back(random_input(bench, *model.graph, model.inputs[i], 100 + i));
  }
  std::vector<int> wanted;
  for (const ImportedTensor& tensor : model.outputs) {
    wanted.push_back(tensor.node);
  }
  Context context{bench.device(), bench.queue(), nullptr, false, RngKey(2)};
  std::vector<std::vector<float>> results;
  const std::vector<Tensor> outputs = executor.compute(context, inputs, wanted);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    results.push_back(in_order(copy_to_host<float>(bench.device(), bench.queue(), outputs[i]),
                               outputs[i].shape(), with_samples(inverse(model.outputs[i].axes))));
  }
  return results;
}

/// Equal within 1e-5 of the largest value.
inline void expect_near(const std::vector<std::vector<float>>& came,
                        const std::vector<std::vector<float>>& wanted) {
  ASSERT_EQ(came.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_EQ(came[i].size(), wanted[i].size()) << "output " << i;
    float largest = 1e-3F;
    for (const float value : wanted[i]) {
      largest = std::max(largest, std::abs(value));
    }
    for (std::size_t k = 0; k < wanted[i].size(); ++k) {
      ASSERT_NEAR(came[i][k], wanted[i][k], 1e-5F * largest) << "output " << i << ", value " << k;
    }
  }
}

/// A folder for files that come and go.
class ExportFiles : public testing::Test {
 protected:
  ExportFiles() { std::filesystem::create_directories(folder_); }
  ~ExportFiles() override { std::filesystem::remove_all(folder_); }
  ExportFiles(const ExportFiles&) = delete;
  ExportFiles& operator=(const ExportFiles&) = delete;

  using Export = void (*)(const ExportedModel&, const std::filesystem::path&);
  using Import = ImportedModel (*)(const std::filesystem::path&);

  /// Out and back: the same outputs. Returns the arrays that came.
  Values expect_same_outputs(const ExportedModel& model, const Values& values, Export write,
                             Import read) const {
    write(model, path_);
    const ImportedModel back = read(path_);
    Values arrays = values_of(back);
    expect_near(outputs_of(exported(back, arrays), arrays), outputs_of(model, values));
    return arrays;
  }
  void expect_same_outputs(const Graph& graph, Export write, Import read) const {
    const Values values = random_parameters(graph);
    expect_same_outputs(exported(graph, values), values, write, read);
  }
  /// The same of a model out of a file, whose arrays are among those that come.
  Values expect_comes_back(const ImportedModel& model, Export write, Import read) const {
    const Values values = values_of(model);
    Values arrays = expect_same_outputs(exported(model, values), values, write, read);
    for (const auto& value : values) {
      const bool found = std::ranges::any_of(
          arrays, [&](const auto& other) { return other.second == value.second; });
      EXPECT_TRUE(found) << value.first;
    }
    return arrays;
  }
  /// One input and what `add` puts behind it.
  template <class Add>
  static Graph behind_input(const Shape& input, const Add& add) {
    Graph graph;
    const int x = graph.add("x", Input{input});
    const int y = add(graph, x);
    graph.set_outputs({y});
    return graph;
  }
  template <class Add>
  void expect_same(const Shape& input, const Add& add, Export write, Import read) const {
    expect_same_outputs(behind_input(input, add), write, read);
  }
  /// What is said of such a graph.
  template <class Add>
  std::string refusal(const Shape& input, const Add& add, Export write) const {
    const Graph graph = behind_input(input, add);
    const Values values = random_parameters(graph);
    const ExportedModel model = exported(graph, values);
    std::string message = test::message_of<JobError>([&] { write(model, path_); });
    EXPECT_FALSE(std::filesystem::exists(path_));
    return message;
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("gentrain-export-" + std::to_string(getpid()));
  std::filesystem::path path_ = folder_ / "model";
};

inline Pointwise function(PointwiseFunction which, double a = 1, double b = 0,
                          double c = std::numeric_limits<double>::infinity()) {
  return {{which, a, b, c}};
}

}  // namespace gentrain::graph
