// Finds datasets in an HDF5 file that lies in memory, without the HDF5 library: a damaged or
// crafted file can make that run for ever, ask for any amount of memory, or worse. Knows the
// structures that the library gives array files (superblock 0, symbol tables, contiguous data), and
// no others. hdf5_objects.h reads more kinds of objects in files of the same structure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace gentrain::io {

struct StoredDataset {
  // Little-endian f32; one text of fixed length, UTF-8; u8; little-endian i32.
  enum class Type { kFloat, kText, kByte, kInt };
  Type type = Type::kFloat;
  std::vector<std::uint64_t> extents;  // none: a scalar
  std::span<const std::byte> content;  // in the file: as many bytes as type and extents say
  std::string sha256;                  // the attribute of that name, or ""
};

class Hdf5Walk {
 public:
  /// `file` begins with HDF5's signature and must outlive the object. Throws IoError that says what
  /// is wrong at which byte, also for a path longer than `max_path`; time and memory are bounded by
  /// the size of the file.
  explicit Hdf5Walk(std::span<const std::byte> file, std::size_t max_path = 1024);

  /// The dataset of this path: "weights/conv1/bias". Throws IoError that begins with the path:
  /// there is none, or it is damaged.
  [[nodiscard]] StoredDataset dataset(const std::string& path) const;

  /// Where the object header of a group or dataset stands; "" is the root. Nothing if there is
  /// none.
  [[nodiscard]] std::optional<std::uint64_t> header(const std::string& path) const;
  [[nodiscard]] bool is_group(const std::string& path) const { return groups_.contains(path); }
  /// Paths of everything that is neither a group nor a link, in their order.
  [[nodiscard]] std::vector<std::string> leaves() const;
  /// Whether it is a soft link, which is not followed.
  [[nodiscard]] bool is_link(const std::string& path) const { return links_.contains(path); }

 private:
  void walk_group(const std::string& path, std::uint64_t tree, std::uint64_t heap, int depth);
  void walk_tree(const std::string& path, std::uint64_t node, std::uint64_t names, int depth);
  void walk_entries(const std::string& path, std::uint64_t node, std::uint64_t names, int depth);
  void walk_object(const std::string& path, std::uint64_t header, int depth);

  std::span<const std::byte> file_;
  std::size_t max_path_;
  std::map<std::string, std::uint64_t> headers_;  // path -> address of a dataset's object header
  std::map<std::string, std::uint64_t> groups_;   // likewise of groups
  std::set<std::string> links_;
  std::size_t path_bytes_ = 0;  // of all
  std::size_t steps_ = 0;       // nodes and entries seen
};

}  // namespace gentrain::io
