// The part of a graph network behind a layer.
#include "trainers/models/graph_tail.h"

#include "core/graph/cut.h"

namespace gentrain::trainers {

GraphTail::GraphTail(const GraphNetwork& whole, int node, const ParameterSet& parameters)
    : executor_(graph::behind(whole.executor().graph(), node), parameters, whole.options()),
      logits_(whole.logits()) {
  const std::vector<bool> before = graph::needed_for(whole.executor().graph(), {&node, 1});
  for (std::size_t i = 0; i < whole.layers().size(); ++i) {
    if (!before[i]) {
      layers_.push_back(whole.layers()[i]);
    }
  }
}

Tensor GraphTail::forward(Context& context, const Tensor& x) const {
  return executor_.compute(context, {&x, 1}, {&logits_, 1})[0];
}

}  // namespace gentrain::trainers
