// Groups, texts in attributes and arrays of an HDF5 file of another program that lies in memory.
// Does without the HDF5 library, which a damaged or crafted file can crash, and takes no memory
// that the file cannot fill. Knows what h5py writes by default: superblock 0, symbol tables,
// contiguous arrays.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/io/hdf5_walk.h"
#include "kernels/shape.h"

namespace gentrain::io {

/// Paths are names joined by '/', from the root, which is "". All that throws throws IoError with
/// the reason alone.
class Hdf5Objects {
 public:
  /// `file` must outlive the object. Throws for no HDF5 file, one of a newer format, damage.
  explicit Hdf5Objects(std::span<const std::byte> file);

  /// Throws if there is no object of this path, and says why if there is a link or a group of a
  /// newer format instead.
  void require(const std::string& path) const;
  /// Throws as require(), and if the object is no group.
  void require_group(const std::string& path) const;
  [[nodiscard]] bool is_group(const std::string& path) const { return walk_.is_group(path); }
  /// Paths of everything that is no group, in their order.
  [[nodiscard]] std::vector<std::string> leaves() const { return walk_.leaves(); }

  /// The texts of an attribute, of fixed or of variable length; nothing if the object has none of
  /// that name. An attribute without elements has no texts, whatever its type. Throws if its
  /// elements are no texts or too many.
  [[nodiscard]] std::optional<std::vector<std::string>> texts(const std::string& path,
                                                              const std::string& attribute) const;

  /// Throws if the object is no array, has more extents than Shape::kMaxRank or a product of them
  /// above Shape::kMaxElements.
  [[nodiscard]] Shape shape(const std::string& path) const;
  /// The elements of an array as f32, row-major. f16 is exact, f64 is rounded, to infinity beyond
  /// f32's range. Throws as shape(), and if the elements are no little-endian floating-point
  /// numbers, lie in chunks or in another file, were never written, or are not as many bytes as the
  /// extents say.
  [[nodiscard]] std::vector<float> floats(const std::string& path) const;

 private:
  void require_plain_group(const std::string& path) const;

  std::span<const std::byte> file_;
  Hdf5Walk walk_;
};

}  // namespace gentrain::io
