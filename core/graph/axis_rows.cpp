// Rows with one term of weight 1, or none.
#include "core/graph/axis_rows.h"

namespace gentrain::graph {

ops::AxisRows copied_rows(std::int64_t from, std::span<const std::int64_t> sources, float fill) {
  ops::AxisRows rows;
  rows.from = from;
  rows.fill = fill;
  rows.begins.reserve(sources.size() + 1);
  rows.begins.push_back(0);
  for (const std::int64_t source : sources) {
    if (source >= 0) {
      rows.sources.push_back(static_cast<std::int32_t>(source));
    }
    rows.begins.push_back(static_cast<std::int32_t>(rows.sources.size()));
  }
  rows.weights.assign(rows.sources.size(), 1);
  return rows;
}

}  // namespace gentrain::graph
