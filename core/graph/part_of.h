// Part of a graph for images of another size: what dreams and features of some layer need.
#pragma once

#include <span>
#include <string>

#include "core/graph/graph.h"

namespace gentrain::graph {

/// The nodes that the named ones depend on, in their order and under their names, with an input of
/// another shape; its outputs are the named ones. Parameters keep their names.
///
/// An AxisMap of an axis whose extent changes is made for the new one if it pads or crops by fixed
/// numbers of positions, or gives each position a whole number of times. One that leaves no more
/// than half of the positions is no cropping: what it takes is chosen by place.
///
/// graph  has one input
/// image  [h, w, c]
///
/// Throws JobError for a name that is not there (names near it), ShapeError naming the node that
/// does not take what such an image gives, another AxisMap among them, or for a graph with other
/// inputs.
Graph part_of(const Graph& graph, std::span<const std::string> names, const Shape& image);

}  // namespace gentrain::graph
