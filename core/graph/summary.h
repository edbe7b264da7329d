// What a graph consists of, node by node: shapes, parameters and arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/graph/graph.h"

namespace gentrain::graph {

struct SummaryRow {
  std::string name;
  std::string kind;                // name_of: "convolution"
  Shape shape;                     // of the result for one sample
  std::int64_t parameters = 0;     // values; 0 if an earlier node has them too
  std::int64_t statistics = 0;     // of them, running means and variances
  std::int64_t products = 0;       // multiply-adds for one sample
  std::string shared_with;         // the earlier node that has the same parameters; or empty
  std::vector<std::string> names;  // of the parameters, shared or not: "conv1/weight"
};

struct GraphSummary {
  std::vector<SummaryRow> rows;  // one for each node, in order
  std::int64_t parameters = 0;   // sums of the rows'
  std::int64_t statistics = 0;
  std::int64_t products = 0;
};

GraphSummary summary_of(const Graph& graph);

}  // namespace gentrain::graph
