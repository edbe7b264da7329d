// The shape rules of the kinds of nodes, and what the arithmetic of a node is.
#pragma once

#include <cstdint>
#include <span>

#include "core/graph/kinds.h"

namespace gentrain::graph {

/// Shape of what a node gives for one sample, from those of its inputs.
///
/// Throws ShapeError, which names neither node nor kind: another number of inputs, inputs or
/// attributes that do not fit, a window that does not fit into its image, or more values, weights
/// or products than can be counted (1e11, 1e11, 1e14).
Shape infer_shape(const NodeKind& kind, std::span<const Shape> inputs);

/// What a kernel covers whose weights stand `dilation` pixels apart.
ops::Window covered(const ops::Window& kernel, const ops::Dilation& dilation);

/// Padding of a window over an image [h, w, c] as ops take it; of a dilated one: of what it covers.
ops::Padding padding_of(const PaddingRule& rule, const Shape& image, const ops::Window& window,
                        const ops::Stride& stride);

/// Multiply-adds of a convolution, transposed or not, or dense node for one sample; 0 of any other.
/// `input`, `output`: as infer_shape accepted and gave them.
std::int64_t products_of(const NodeKind& kind, const Shape& input, const Shape& output);

}  // namespace gentrain::graph
