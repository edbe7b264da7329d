// Graphs in tests: parameters for a graph, its outputs as numbers, and its gradients against
// central differences.
#pragma once

#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "core/graph/executor.h"
#include "core/graph/shapes.h"
#include "core/ops/ops.h"
#include "tests/support/compare.h"
#include "tests/support/gradients.h"
#include "tests/support/workbench.h"

namespace gentrain::graph {

inline Constant constant(const Shape& shape, std::vector<float> values) {
  return {shape, std::make_shared<const std::vector<float>>(std::move(values))};
}

/// A square convolution with bias.
inline Convolution conv(std::int64_t out, std::int64_t kernel) {
  Convolution node;
  node.out = out;
  node.kernel_h = node.kernel_w = kernel;
  return node;
}

inline AxisMap axis_map(int axis, ops::AxisRows rows) {
  return {axis, std::make_shared<const ops::AxisRows>(std::move(rows))};
}

inline Shape shape_of(const NodeKind& kind, const std::vector<Shape>& inputs) {
  return infer_shape(kind, inputs);
}
/// The message of inputs that do not fit.
inline std::string error_of(const NodeKind& kind, const std::vector<Shape>& inputs) {
  return test::message_of<ShapeError>([&] { infer_shape(kind, inputs); });
}

/// A graph of f64 on the reference device with random parameters, running variances above 0.5.
class GraphBench {
 public:
  explicit GraphBench(Graph graph, ExecutorOptions options = {}) : graph_(std::move(graph)) {
    register_parameters(graph_, parameters_, {Initializer::Kind::kUniformFanIn});
    parameters_.allocate(bench_.device(), bench_.queue(), DType::kF64);
    for (int i = 0; i < parameters_.size(); ++i) {
      const bool variance = parameters_.info(i).name.ends_with("running_var");
      const Shape& shape = parameters_.info(i).shape;
      set(i, test::random_values(shape.elements(), RngKey(static_cast<std::uint64_t>(i) + 1),
                                 variance ? 0.5 : -1, 1));
    }
    executor_ = std::make_unique<Executor>(graph_, parameters_, options);
  }

  [[nodiscard]] const test::Workbench& bench() const { return bench_; }
  [[nodiscard]] const Executor& executor() const { return *executor_; }
  [[nodiscard]] const ParameterSet& parameters() const { return parameters_; }
  [[nodiscard]] Context context(Tape* tape = nullptr, bool training = false) const {
    return {bench_.device(), bench_.queue(), tape, training, RngKey(2)};
  }
  [[nodiscard]] Tensor random(const Shape& shape, std::uint64_t key = 7) const {
    return bench_.random(shape, RngKey(key), DType::kF64);
  }
  [[nodiscard]] Tensor tensor(const Shape& shape, const std::vector<double>& values) const {
    return bench_.tensor(shape, values, DType::kF64);
  }
  [[nodiscard]] int index_of(const std::string& parameter) const {
    return parameters_.find(parameter);
  }
  void set(int parameter, const std::vector<double>& values) {
    copy_from_host<double>(bench_.device(), bench_.queue(), values, parameters_[parameter]);
    parameters_.mark_changed();
  }

  /// The graph's outputs for some inputs.
  [[nodiscard]] std::vector<Tensor> outputs(Context& context,
                                            const std::vector<Tensor>& inputs) const {
    return executor_->compute(context, inputs, graph_.outputs());
  }
  [[nodiscard]] std::vector<double> values(const std::vector<Tensor>& inputs) const {
    Context plain = context();
    return bench_.values(outputs(plain, inputs)[0]);
  }

  /// Gradients of the sum of squares of the first output at the parameters that are no statistics,
  /// in training those too.
  [[nodiscard]] test::GradientStore gradients(const std::vector<Tensor>& inputs,
                                              bool training = false) const {
    std::set<int> frozen;
    for (int i = 0; i < parameters_.size() && !training; ++i) {
      if (parameters_.info(i).role == ParameterRole::kStatistic) {
        frozen.insert(i);
      }
    }
    test::GradientStore store(bench_, parameters_, frozen);
    Tape tape(bench_.device(), bench_.queue());
    ParameterGradients* const sets[] = {&store};
    tape.begin(sets);
    Context recording = context(&tape, training);
    tape.backward(loss(recording, inputs));
    return store;
  }

  /// Holds all gradients, of the inputs and of the parameters, against central differences.
  void expect_gradients(const std::vector<Tensor>& inputs) {
    EXPECT_TRUE(
        test::gradients_agree(bench_, inputs, [&](Context& context, std::span<const Tensor> in) {
          return executor_->compute(context, in, graph_.outputs())[0];
        }));
    if (parameters_.count() == 0) {
      return;  // the loss has no history
    }
    const test::GradientStore store = gradients(inputs);
    EXPECT_FALSE(store.completed().empty());
    for (const int p : store.completed()) {
      const std::vector<double> gradient = bench_.values(store.gradient(p));
      const std::vector<double> expected = differences(inputs, p);
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        EXPECT_NEAR(gradient[i], expected[i], 1e-6 * (1 + std::abs(expected[i])))
            << parameters_.info(p).name << " element " << i;
      }
    }
  }

 private:
  Tensor loss(Context& context, const std::vector<Tensor>& inputs) const {
    return ops::squared_error(context, outputs(context, inputs)[0], 0.0, 1).loss;
  }

  std::vector<double> differences(const std::vector<Tensor>& inputs, int parameter) {
    constexpr double kDifference = 1e-5;
    const std::vector<double> at = bench_.values(parameters_[parameter]);
    Context plain = context();
    std::vector<double> gradient;
    for (std::size_t i = 0; i < at.size(); ++i) {
      std::vector<double> moved = at;
      moved[i] += kDifference;
      set(parameter, moved);
      const double above = bench_.value(loss(plain, inputs));
      moved[i] = at[i] - kDifference;
      set(parameter, moved);
      gradient.push_back((above - bench_.value(loss(plain, inputs))) / (2 * kDifference));
    }
    set(parameter, at);
    return gradient;
  }

  test::Workbench bench_{test::reference_device()};
  Graph graph_;
  ParameterSet parameters_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace gentrain::graph
