// Where a graph can be cut in two at one node: what comes before it, and what begins with its
// output.
#pragma once

#include <functional>

#include "core/graph/graph.h"

namespace gentrain::graph {

/// The last node that separates `node` from the graph's inputs, so that all that it depends on of
/// a sample leads through that one, and of which, as of all that it depends on, `fixed` holds. -1:
/// there is none but an input.
///
/// Only results of steps count (plan_steps() with every batch normalisation folded), so that the
/// parts before and behind the node compute as the whole does, to the bit.
int last_fixed(const Graph& graph, int node, const std::function<bool(int)>& fixed);

/// What is computed behind a node: the graph with that node's output in place of its own input.
/// Nodes keep index and name, as dropouts draw by index; the node, and all else that is not needed
/// any more, pass the input on. Its outputs are the graph's.
///
/// graph  has one input
///
/// Throws ShapeError naming the node if it is none of the graph's or the outputs depend on the
/// input by another way too, and for a graph with other inputs.
Graph behind(const Graph& graph, int node);

}  // namespace gentrain::graph
