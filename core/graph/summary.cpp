// Rows and their sums.
#include "core/graph/summary.h"

#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "core/graph/node_parameters.h"
#include "core/graph/shapes.h"

namespace gentrain::graph {

namespace {

bool is_statistic(ParameterPart part) {
  return part == ParameterPart::kRunningMean || part == ParameterPart::kRunningVar;
}

void count_parameters(const Graph& graph, int index, SummaryRow& row) {
  const Node& node = graph.node(index);
  for (const auto& [part, shape] : parameters_of(graph, node)) {
    row.names.push_back(fmt::format("{}/{}", node.parameters, name_of(part)));
    if (graph.registers(index)) {
      row.parameters += shape.elements();
      row.statistics += is_statistic(part) ? shape.elements() : 0;
    }
  }
}

}  // namespace

GraphSummary summary_of(const Graph& graph) {
  GraphSummary summary;
  std::unordered_map<std::string, std::string> first_with;
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    SummaryRow row;
    row.name = node.name;
    row.kind = name_of(node.kind);
    row.shape = node.shape;
    count_parameters(graph, i, row);
    if (!row.names.empty()) {
      const auto [first, is_new] = first_with.emplace(node.parameters, node.name);
      row.shared_with = is_new ? "" : first->second;
    }
    if (!node.inputs.empty()) {
      row.products = products_of(node.kind, graph.node(node.inputs[0]).shape, node.shape);
    }
    summary.parameters += row.parameters;
    summary.statistics += row.statistics;
    summary.products += row.products;
    summary.rows.push_back(std::move(row));
  }
  return summary;
}

}  // namespace gentrain::graph
