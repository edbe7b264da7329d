// Which nodes are computed for some wanted ones, and which of them by one op.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/graph/graph.h"

namespace gentrain::graph {

/// One op, or what comes near it: a node with those behind it that it takes along.
struct Step {
  int node = -1;        // what is computed first
  int norm = -1;        // batch normalisation folded into the convolution `node`; -1: none
  int activation = -1;  // node of the kind Activate; -1: none
  int result = -1;      // the last of them: whose output the step gives
};

/// By node: whether it depends on constants and variables alone and so gives the same for every
/// sample. Dropouts, which draw for each sample, never do.
std::vector<bool> shared_by_samples(const Graph& graph);

/// Steps in an order in which they can run. Only what the wanted nodes need is among them, and a
/// node whose output is wanted, or read by more than the node behind it, is the result of a step.
///
/// folds(convolution, norm): whether a batch normalisation that alone reads a convolution without
/// an activation may be folded into it
std::vector<Step> plan_steps(const Graph& graph, std::span<const int> wanted,
                             const std::function<bool(int convolution, int norm)>& folds);

}  // namespace gentrain::graph
