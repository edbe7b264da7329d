// The bytes of an array file behind its user block, without a copy of the arrays: HDF5 lays the
// file out and writes all but the arrays' values.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/array_file.h"

namespace gentrain::io {

/// Bytes before the HDF5 file: text, padded with zeros.
inline constexpr std::size_t kUserBlock = 512;

/// The group below which the arrays of a kind lie: "weights", "state", "data".
const char* group_of(FileKind kind);

struct ArrayLayout {
  Bytes between;  // all but the arrays' values, in order
  std::vector<std::string_view>
      pieces;  // of `between` and of the arrays: the file behind the block
};

/// The same arrays and header give the same bytes. The arrays' bytes must outlive the result.
/// Throws ShapeError (an array without a name, values that do not fit the shape), IoError (HDF5's
/// reason: a name that is there twice).
ArrayLayout lay_out(const ArrayViews& file);

}  // namespace gentrain::io
