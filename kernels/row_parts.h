// How the rows of one image's convolution or pooling are cut into parts that are computed apart:
// each part is the same operation on a slice of rows, with the rows of its neighbours that its
// windows reach into, and with zero padding at the true borders alone. No product is made twice.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/conv.h"
#include "kernels/pool.h"

namespace gentrain {

/// Rows [first, last).
struct Rows {
  std::int64_t first = 0;
  std::int64_t last = 0;
  [[nodiscard]] std::int64_t size() const { return last - first; }
  friend bool operator==(const Rows&, const Rows&) = default;
};

/// One part: what it writes, what it reads, and the geometry of the operation between the two.
template <class Geometry>
struct RowPart {
  Rows writes;
  Rows reads;
  Geometry geometry;
};
using ConvPart = RowPart<ConvGeometry>;
using PoolPart = RowPart<PoolGeometry>;

/// Part `part` of `parts` of so many rows: as even as can be, on multiples of four rows, which
/// Winograd's tiles have, where there are at least 16 rows for each.
Rows part_of_rows(std::int64_t rows, int parts, int part);

/// The parts of a forward pass, by rows of its result; none (an empty list) if it is not to be cut:
/// several images, fewer rows than parts, a part whose windows would lie in the padding alone.
std::vector<ConvPart> forward_parts(const ConvGeometry& geometry, int parts);
std::vector<PoolPart> forward_parts(const PoolGeometry& geometry, int parts);

/// The parts of a convolution's gradient of its image, by rows of the image: each reads the rows of
/// dy whose windows hold a row of it. None as above, and if no window holds a row of some part.
std::vector<ConvPart> backward_parts(const ConvGeometry& geometry, int parts);

/// The same of a pooling, by rows of dy. None as above, and where windows overlap along the rows or
/// begin in the padding: a part would have windows of which it has not all pixels.
std::vector<PoolPart> backward_parts(const PoolGeometry& geometry, int parts);

}  // namespace gentrain
