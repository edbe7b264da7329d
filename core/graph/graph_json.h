// A graph as JSON: what model files hold of networks that are not built in.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "core/graph/graph.h"

namespace gentrain::graph {

/// A graph without its parameters' values:
///
///   {"version": 1, "outputs": [2], "nodes": [
///     {"name": "x", "kind": "input", "inputs": [], "parameters": "x",
///      "attributes": {"shape": [8, 8, 3]}}, ...]}
///
/// Nodes stand in their order, inputs and outputs are their indices, attributes those of the
/// structs in kinds.h. Extents of windows are [h, w], of padding [top, bottom, left, right];
/// numbers that are not finite are "inf", "-inf" and "nan".
nlohmann::json to_json(const Graph& graph);

/// The graph that to_json made JSON of. Memory is bounded by that of the JSON.
///
/// Throws IoError naming the node and the attribute: a newer version, a kind, key or attribute that
/// is missing or not known, a value of another type or out of range, more than 65,536 nodes, and
/// what Graph::add and Graph::set_outputs refuse.
Graph graph_from_json(const nlohmann::json& json);

}  // namespace gentrain::graph
