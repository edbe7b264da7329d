// What an imported model computes on the CPU, with inputs and outputs in the order of axes that the
// file has them in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "core/graph/executor.h"
#include "core/graph/imported.h"
#include "tests/support/workbench.h"

namespace gentrain::graph {

/// An imported model with its parameters on the CPU.
class Computation {
 public:
  explicit Computation(const ImportedModel& model) : model_(&model) {
    register_parameters(model.graph, parameters_, {Initializer::Kind::kZeros});
    parameters_.allocate(bench_.device(), bench_.queue());
    EXPECT_EQ(static_cast<std::size_t>(parameters_.size()), model.arrays.size());
    for (const ImportedArray& array : model.arrays) {
      const int index = parameters_.find(array.parameter);
      if (index < 0 || parameters_.info(index).shape != array.shape) {
        ADD_FAILURE() << array.parameter << " " << array.shape.str();
        continue;
      }
      copy_from_host<float>(bench_.device(), bench_.queue(), array.values, parameters_[index]);
    }
    parameters_.mark_changed();
  }

  struct Result {
    Shape shape;
    std::vector<double> values;
  };

  /// The outputs, of inputs in the file's order [n, ...].
  [[nodiscard]] std::vector<Result> outputs(const std::vector<Result>& inputs) const {
    std::vector<Tensor> tensors;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      std::vector<int> axes{0};
      for (const int axis : model_->inputs[i].axes) {
        axes.push_back(axis + 1);
      }
      const Result placed = permuted(inputs[i], axes);
      tensors.push_back(bench_.tensor(placed.shape, placed.values, DType::kF32));
    }
    std::vector<int> wanted;
    for (const ImportedTensor& output : model_->outputs) {
      wanted.push_back(output.node);
    }
    const Executor executor(model_->graph, parameters_);
    Context context{bench_.device(), bench_.queue(), nullptr, false, RngKey(1)};
    const std::vector<Tensor> computed = executor.compute(context, tensors, wanted);
    std::vector<Result> results;
    for (std::size_t i = 0; i < computed.size(); ++i) {
      results.push_back(in_file_order({computed[i].shape(), bench_.values(computed[i])},
                                      model_->outputs[i].axes));
    }
    return results;
  }

 private:
  /// Axis i of the result is axis axes[i].
  static Result permuted(const Result& from, const std::vector<int>& axes) {
    std::vector<std::int64_t> extents;
    for (const int axis : axes) {
      extents.push_back(from.shape[axis]);
    }
    Result to{Shape(extents), std::vector<double>(from.values.size())};
    for (std::int64_t i = 0; i < to.shape.elements(); ++i) {
      std::vector<std::int64_t> place(axes.size());
      std::int64_t rest = i;
      for (std::size_t k = axes.size(); k-- > 0;) {
        place[static_cast<std::size_t>(axes[k])] = rest % extents[k];
        rest /= extents[k];
      }
      std::int64_t source = 0;
      for (std::size_t k = 0; k < place.size(); ++k) {
        source = source * from.shape[static_cast<int>(k)] + place[k];
      }
      to.values[static_cast<std::size_t>(i)] = from.values[static_cast<std::size_t>(source)];
    }
    return to;
  }

  static Result in_file_order(const Result& from, const std::vector<int>& axes) {
    const bool merged = !axes.empty() && axes[0] < 0;
    std::vector<int> order{0};
    if (merged) {
      order.push_back(1);
    }
    for (int axis = 0; axis < static_cast<int>(axes.size()) - (merged ? 1 : 0); ++axis) {
      order.push_back(static_cast<int>(std::find(axes.begin(), axes.end(), axis) - axes.begin()) +
                      1);
    }
    Result to = permuted(from, order);
    if (merged) {
      std::vector<std::int64_t> extents(to.shape.extents().begin() + 1, to.shape.extents().end());
      extents[0] *= to.shape[0];
      to.shape = Shape(extents);
    }
    return to;
  }

  const ImportedModel* model_;
  test::Workbench bench_{test::cpu_device()};
  ParameterSet parameters_;
};

}  // namespace gentrain::graph
