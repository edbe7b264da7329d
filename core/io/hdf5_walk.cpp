// The structures are those of the HDF5 File Format Specification 2.0, named by its sections:
// superblock (II.A, version 0), B-tree (III.A.1, version 1), symbol table node (III.B), local heap
// (III.D), object header (IV.A.1.a, version 1) with its messages (IV.A.2). Addresses count from the
// superblock.
#include "core/io/hdf5_walk.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "core/io/hdf5_structure.h"
#include "kernels/error.h"

namespace gentrain::io {
namespace {

using hdf5::Cursor;
using hdf5::cursor_at;
using hdf5::kNowhere;
using hdf5::Span;
using hdf5::visit_messages;
using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

constexpr std::size_t kEntryBytes = 40;  // of a symbol table
constexpr std::size_t kNodeBytes = 24;   // head of a B-tree node
constexpr int kMaxDepth = 32;            // of groups
constexpr std::size_t kPathBytes = 16;   // of all paths for a byte of the file
constexpr uint32_t kSoftLink = 2;        // cache type of a symbol table entry

// IV.A.2.d: class 0 (fixed point), 1 (floating point) or 3 (string) in version 1, with the bit
// fields of u8, i32, IEEE f32 or a null-padded UTF-8 text; behind them the size and what follows
// it.
constexpr std::array<uint8_t, 4> kFloatType = {0x11, 0x20, 0x1f, 0x00};
constexpr std::array<uint8_t, 16> kFloatTail = {4,  0, 0, 0,  0,   0, 32, 0,
                                                23, 8, 0, 23, 127, 0, 0,  0};
constexpr std::array<uint8_t, 4> kTextType = {0x13, 0x11, 0x00, 0x00};
constexpr std::array<uint8_t, 4> kByteType = {0x10, 0x00, 0x00, 0x00};
constexpr std::array<uint8_t, 8> kByteTail = {1, 0, 0, 0, 0, 0, 8, 0};
constexpr std::array<uint8_t, 4> kIntType = {0x10, 0x08, 0x00, 0x00};
constexpr std::array<uint8_t, 8> kIntTail = {4, 0, 0, 0, 0, 0, 32, 0};

// A name in the data of a local heap.
std::string name_at(Span file, uint64_t address) {
  const Cursor cursor = cursor_at(file, address);
  const Span rest = file.subspan(address);
  const auto end = std::ranges::find(rest, std::byte{0});
  std::string name(reinterpret_cast<const char*>(rest.data()),
                   static_cast<std::size_t>(end - rest.begin()));
  if (end == rest.end() || name.empty() || name.find('/') != std::string::npos) {
    cursor.fail("no name");
  }
  return name;
}

// IV.A.2.b: extents and, unless it is a scalar, the greatest that they may become: the same.
std::vector<uint64_t> parse_own_extents(Cursor cursor) {
  cursor.expect<uint8_t>(1, "version of a dataspace");
  const int rank = cursor.number<uint8_t>();
  cursor.expect<uint8_t>(rank == 0 ? 0 : 1, "flags of a dataspace");
  cursor.take(5);
  std::vector<uint64_t> extents(static_cast<std::size_t>(rank));
  for (uint64_t& extent : extents) {
    extent = cursor.number<uint64_t>();
  }
  for (const uint64_t extent : extents) {
    cursor.expect(extent, "greatest extent");
  }
  return extents;
}

struct OwnType {
  StoredDataset::Type type = StoredDataset::Type::kFloat;
  uint64_t bytes = 0;
};

OwnType parse_own_type(Cursor cursor) {
  const Span head = cursor.take(kFloatType.size());
  const auto begins_as = [head](const std::array<uint8_t, 4>& type) {
    return std::ranges::equal(head, std::as_bytes(std::span(type)));
  };
  if (begins_as(kTextType)) {
    return {StoredDataset::Type::kText, cursor.number<uint32_t>()};
  }
  if (begins_as(kByteType)) {
    cursor.expect_bytes(std::as_bytes(std::span(kByteTail)), "u8");
    return {StoredDataset::Type::kByte, sizeof(uint8_t)};
  }
  if (begins_as(kIntType)) {
    cursor.expect_bytes(std::as_bytes(std::span(kIntTail)), "i32");
    return {StoredDataset::Type::kInt, sizeof(std::int32_t)};
  }
  if (!begins_as(kFloatType)) {
    cursor.fail("none of f32, u8, i32 and a text of fixed length");
  }
  cursor.expect_bytes(std::as_bytes(std::span(kFloatTail)), "f32");
  return {StoredDataset::Type::kFloat, sizeof(float)};
}

// IV.A.2.m: the attribute `sha256`
std::string parse_hash(Cursor cursor) {
  constexpr std::string_view kHash{"sha256\0\0", 8};
  cursor.expect<uint8_t>(1, "version of an attribute");
  cursor.take(1);
  cursor.expect<uint16_t>(7, "length of an attribute's name");
  cursor.expect<uint16_t>(8, "size of an attribute's type");
  cursor.expect<uint16_t>(8, "size of an attribute's dataspace");
  cursor.expect_text(kHash, "attribute sha256");
  const OwnType type = parse_own_type(cursor.part(8));
  const std::vector<uint64_t> extents = parse_own_extents(cursor.part(8));
  if (type.type != StoredDataset::Type::kText || !extents.empty()) {
    cursor.fail("the attribute sha256 is no text");
  }
  const Span text = cursor.take(type.bytes);
  return std::string(reinterpret_cast<const char*>(text.data()), text.size());
}

// IV.A.2.i: where the data lie
Span parse_layout(Span file, Cursor cursor) {
  cursor.expect<uint8_t>(3, "version of a data layout");
  cursor.expect<uint8_t>(1, "class of a data layout");
  const auto address = cursor.number<uint64_t>();
  const auto bytes = cursor.number<uint64_t>();
  return address == kNowhere ? Span() : cursor_at(file, address).take(bytes);
}

// Product of the extents and the element's size, or nothing beyond 64 bits.
std::optional<uint64_t> bytes_of(const std::vector<uint64_t>& extents, uint64_t element) {
  uint64_t bytes = element;
  for (const uint64_t extent : extents) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) {
      return std::nullopt;
    }
  }
  return bytes;
}

}  // namespace

Hdf5Walk::Hdf5Walk(std::span<const std::byte> file, std::size_t max_path)
    : file_(file), max_path_(max_path) {
  Cursor cursor = cursor_at(file, 0);
  cursor.expect_text(std::string_view("\x89HDF\r\n\x1a\n\0", 9), "superblock of version 0");
  cursor.take(4);
  cursor.expect<uint8_t>(8, "size of addresses");
  cursor.expect<uint8_t>(8, "size of lengths");
  cursor.take(1 + 2 + 2 + 4);
  cursor.take(32);  // where the file begins and ends: the first block has told
  cursor.take(8);   // the root has no name
  walk_object("", cursor.number<uint64_t>(), 0);
}

StoredDataset Hdf5Walk::dataset(const std::string& path) const {
  const auto found = headers_.find(path);
  if (found == headers_.end()) {
    throw IoError(path + ": there is no such dataset");
  }
  StoredDataset set;
  try {
    std::optional<OwnType> type;
    std::optional<std::vector<uint64_t>> extents;
    std::optional<Span> content;
    visit_messages(file_, found->second, [&](uint16_t message, const Cursor& cursor) {
      if (message == hdf5::kDataspace) {
        extents = parse_own_extents(cursor);
      } else if (message == hdf5::kDatatype) {
        type = parse_own_type(cursor);
      } else if (message == hdf5::kLayout) {
        content = parse_layout(file_, cursor);
      } else if (message == hdf5::kAttribute) {
        set.sha256 = parse_hash(cursor);
      }
    });
    if (!type || !extents || !content) {
      throw IoError("type, extents or layout are missing");
    }
    set.type = type->type;
    set.extents = *extents;
    set.content = *content;
    if (bytes_of(set.extents, type->bytes) != set.content.size()) {
      throw IoError(fmt::format("its {} bytes do not fit its extents [{}]", set.content.size(),
                                fmt::join(set.extents, ", ")));
    }
  } catch (const IoError& error) {
    throw IoError(fmt::format("{}: {}", path, error.what()));
  }
  return set;
}

std::optional<std::uint64_t> Hdf5Walk::header(const std::string& path) const {
  for (const auto& headers : {&headers_, &groups_}) {
    if (const auto found = headers->find(path); found != headers->end()) {
      return found->second;
    }
  }
  return std::nullopt;
}

std::vector<std::string> Hdf5Walk::leaves() const {
  std::vector<std::string> paths;
  paths.reserve(headers_.size());
  for (const auto& [path, header] : headers_) {
    paths.push_back(path);
  }
  return paths;
}

// A file of so many bytes has no more nodes and entries than these fill; loops end here.
void Hdf5Walk::walk_object(const std::string& path, std::uint64_t header, int depth) {
  if (++steps_ > file_.size() / kNodeBytes || depth > kMaxDepth) {
    throw IoError(fmt::format(
        "HDF5 structure, byte {} behind the first block: groups without an end", header));
  }
  bool group = false;
  visit_messages(file_, header, [&](uint16_t message, Cursor cursor) {
    if (message == hdf5::kSymbolTable && !group) {
      group = true;
      const auto tree = cursor.number<uint64_t>();
      walk_group(path, tree, cursor.number<uint64_t>(), depth);
    }
  });
  (group ? groups_ : headers_)[path] = header;
}

void Hdf5Walk::walk_group(const std::string& path, std::uint64_t tree, std::uint64_t heap,
                          int depth) {
  Cursor cursor = cursor_at(file_, heap);
  cursor.expect_text(std::string_view("HEAP\0", 5), "heap of names");
  cursor.take(3 + 8 + 8);
  walk_tree(path, tree, cursor.number<uint64_t>(), depth);
}

void Hdf5Walk::walk_tree(const std::string& path, std::uint64_t node, std::uint64_t names,
                         int depth) {
  std::vector<uint64_t> waiting = {node};
  while (!waiting.empty()) {
    Cursor cursor = cursor_at(file_, waiting.back());
    waiting.pop_back();
    cursor.expect_text(std::string_view("TREE\0", 5), "B-tree of a group");
    const bool leaf = cursor.number<uint8_t>() == 0;
    const int children = cursor.number<uint16_t>();
    cursor.take(16);
    for (int i = 0; i < children; ++i) {
      cursor.take(8);  // key
      const auto child = cursor.number<uint64_t>();
      if (++steps_ > file_.size() / kNodeBytes) {
        cursor.fail("a B-tree without an end");
      }
      if (leaf) {
        walk_entries(path, child, names, depth);
      } else {
        waiting.push_back(child);
      }
    }
  }
}

void Hdf5Walk::walk_entries(const std::string& path, std::uint64_t node, std::uint64_t names,
                            int depth) {
  Cursor cursor = cursor_at(file_, node);
  cursor.expect_text(std::string_view("SNOD\1\0", 6), "symbols of a group");
  const int entries = cursor.number<uint16_t>();
  for (int i = 0; i < entries; ++i) {
    Cursor entry = cursor.part(kEntryBytes);
    const std::uint64_t name = names + entry.number<uint64_t>();
    const std::string child = (path.empty() ? "" : path + "/") + name_at(file_, name);
    path_bytes_ += child.size();
    if (child.size() > max_path_ || path_bytes_ > kPathBytes * file_.size()) {
      entry.fail(fmt::format("a name of {} bytes", child.size()));
    }
    const auto header = entry.number<uint64_t>();
    if (entry.number<uint32_t>() == kSoftLink) {
      if (++steps_ > file_.size() / kNodeBytes) {
        entry.fail("links without an end");
      }
      links_.insert(child);
    } else {
      walk_object(child, header, depth + 1);
    }
  }
}

}  // namespace gentrain::io
