// Attributes and arrays by the HDF5 File Format Specification 2.0: dataspaces (IV.A.2.b), datatypes
// (IV.A.2.d), data layouts (IV.A.2.i), attributes (IV.A.2.m), global heaps (III.E).
#include "core/io/hdf5_objects.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/io/hdf5_structure.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {
namespace {

using hdf5::Cursor;
using hdf5::cursor_at;
using hdf5::Span;
using hdf5::visit_messages;
using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

constexpr std::size_t kMaxPath = 16384;                       // Keras lets names have any length
constexpr uint64_t kMaxTexts = 65536;                         // of an attribute
constexpr std::size_t kMaxTextBytes = std::size_t{16} << 20;  // of an attribute
constexpr std::size_t kTickElements = std::size_t{1} << 22;
constexpr std::string_view kSignature{"\x89HDF\r\n\x1a\n", 8};

enum class Elements : uint8_t { kF16, kF32, kF64, kFixedText, kVariableText, kOther };

struct ElementType {
  Elements kind = Elements::kOther;
  uint64_t bytes = 0;   // of an element
  bool spaces = false;  // texts are filled up with spaces
};

/// Bit fields and properties of the IEEE types, little-endian: where the sign is; offset,
/// precision, places and sizes of exponent and fraction, bias.
struct FloatFormat {
  Elements kind;
  uint32_t bytes;
  std::array<uint8_t, 3> bits;
  std::array<uint8_t, 12> properties;
};
constexpr std::array<FloatFormat, 3> kFloats = {{
    {Elements::kF16, 2, {0x20, 15, 0}, {0, 0, 16, 0, 10, 5, 0, 10, 15, 0, 0, 0}},
    {Elements::kF32, 4, {0x20, 31, 0}, {0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0}},
    {Elements::kF64, 8, {0x20, 63, 0}, {0, 0, 64, 0, 52, 11, 0, 52, 0xff, 0x03, 0, 0}},
}};

bool same_bytes(Span bytes, std::span<const uint8_t> wanted) {
  return std::ranges::equal(bytes, std::as_bytes(wanted));
}

ElementType parse_type(Cursor cursor) {
  constexpr int kFloatClass = 1;
  constexpr int kTextClass = 3;
  constexpr int kVariableClass = 9;
  constexpr uint64_t kHeapReference = 16;
  const int type = cursor.number<uint8_t>() & 0x0f;
  const Span bits = cursor.take(3);
  const auto low = std::to_integer<int>(bits[0]) & 0x0f;
  ElementType result{Elements::kOther, cursor.number<uint32_t>(), false};
  if (type == kTextClass) {
    result.kind = Elements::kFixedText;
    result.spaces = low == 2;
  } else if (type == kVariableClass && low == 1 && result.bytes == kHeapReference) {
    result.kind = Elements::kVariableText;
  } else if (type == kFloatClass) {
    const Span properties = cursor.take(12);
    for (const FloatFormat& format : kFloats) {
      if (result.bytes == format.bytes && same_bytes(bits, format.bits) &&
          same_bytes(properties, format.properties)) {
        result.kind = format.kind;
      }
    }
  }
  return result;
}

std::vector<uint64_t> parse_extents(Cursor cursor) {
  const int version = cursor.number<uint8_t>();
  const int rank = cursor.number<uint8_t>();
  cursor.take(1);
  if (version == 1) {
    cursor.take(5);
  } else if (version != 2) {
    cursor.fail(fmt::format("version of a dataspace is {}, not 1 or 2", version));
  } else if (constexpr int kNull = 2; cursor.number<uint8_t>() == kNull) {
    return {0};
  }
  std::vector<uint64_t> extents(static_cast<std::size_t>(rank));
  for (uint64_t& extent : extents) {
    extent = cursor.number<uint64_t>();
  }
  return extents;
}

Shape to_shape(const std::vector<uint64_t>& extents) {
  if (extents.size() > Shape::kMaxRank) {
    throw IoError(
        fmt::format("it has {} extents, at most {} can be read", extents.size(), Shape::kMaxRank));
  }
  uint64_t elements = 1;
  for (const uint64_t extent : extents) {
    if (extent > 0 && elements > static_cast<uint64_t>(Shape::kMaxElements) / extent) {
      throw IoError(fmt::format("its extents {} are more than can be", fmt::join(extents, " x ")));
    }
    elements *= std::max<uint64_t>(extent, 1);
  }
  return Shape(std::vector<std::int64_t>(extents.begin(), extents.end()));
}

// ---- attributes -------------------------------------------------------------------------------

struct Attribute {
  ElementType type;
  std::vector<uint64_t> extents;
  Cursor content;
};

/// The attribute of this name in a message, or nothing.
std::optional<Attribute> parse_attribute(Cursor cursor, std::string_view wanted) {
  const int version = cursor.number<uint8_t>();
  if (version < 1 || version > 3) {
    cursor.fail(fmt::format("version of an attribute is {}, not 1, 2 or 3", version));
  }
  const auto shared = cursor.number<uint8_t>();
  const uint64_t name_bytes = cursor.number<uint16_t>();
  const uint64_t type_bytes = cursor.number<uint16_t>();
  const uint64_t space_bytes = cursor.number<uint16_t>();
  if (version == 3) {
    cursor.take(1);  // encoding of the name
  }
  const auto filled = [&](uint64_t bytes) { return version == 1 ? (bytes + 7) / 8 * 8 : bytes; };
  const Span name = cursor.take(filled(name_bytes));
  std::string_view text(reinterpret_cast<const char*>(name.data()), name.size());
  if (text.substr(0, text.find('\0')) != wanted) {
    return std::nullopt;
  }
  if (version > 1 && shared != 0) {
    cursor.fail("an attribute whose type is shared");
  }
  const ElementType type = parse_type(cursor.part(filled(type_bytes)));
  std::vector<uint64_t> extents = parse_extents(cursor.part(filled(space_bytes)));
  return Attribute{type, std::move(extents), cursor};
}

/// Objects of global heaps; each heap is parsed once.
class GlobalHeaps {
 public:
  explicit GlobalHeaps(Span file) : file_(file) {}

  Span object(uint64_t heap, uint32_t index) {
    const auto [place, is_new] = heaps_.try_emplace(heap);
    if (is_new) {
      place->second = parse(heap);
    }
    const auto found = place->second.find(index);
    if (found == place->second.end()) {
      cursor_at(file_, heap).fail(fmt::format("no object {} in this global heap", index));
    }
    return found->second;
  }

 private:
  using Heap = std::map<uint32_t, Span>;
  [[nodiscard]] Heap parse(uint64_t address) const {
    constexpr uint64_t kHead = 16;  // of the heap and of each object
    Cursor head = cursor_at(file_, address);
    head.expect_text(std::string_view("GCOL\1", 5), "global heap");
    head.take(3);
    const auto bytes = head.number<uint64_t>();
    Cursor cursor = head.part(bytes < kHead ? 0 : bytes - kHead);
    Heap heap;
    while (cursor.left() >= kHead) {
      const auto index = cursor.number<uint16_t>();
      cursor.take(6);
      const auto size = cursor.number<uint64_t>();
      if (index == 0) {  // free space
        break;
      }
      heap[index] = cursor.take(size);
      cursor.take(std::min<uint64_t>((8 - size % 8) % 8, cursor.left()));
      if (heap.size() > kMaxTexts) {
        break;
      }
    }
    return heap;
  }

  Span file_;
  std::map<uint64_t, Heap> heaps_;
};

std::string text_of(Span bytes, bool spaces) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  text = text.substr(0, text.find('\0'));
  if (spaces) {
    text = text.substr(0, text.find_last_not_of(' ') + 1);
  }
  return std::string(text);
}

std::vector<std::string> read_texts(Span file, Attribute attribute, uint64_t count) {
  GlobalHeaps heaps(file);
  std::vector<std::string> texts;
  std::size_t bytes = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Span text = attribute.content.take(attribute.type.bytes);
    if (attribute.type.kind == Elements::kVariableText) {
      Cursor reference(text, 0);
      const uint64_t length = reference.number<uint32_t>();
      const auto heap = reference.number<uint64_t>();
      const auto index = reference.number<uint32_t>();
      text = length == 0 ? Span() : heaps.object(heap, index);
      text = text.first(std::min<std::size_t>(text.size(), length));
    }
    texts.push_back(text_of(text, attribute.type.spaces));
    bytes += texts.back().size();
    if (bytes > kMaxTextBytes) {
      throw IoError(fmt::format("its texts are longer than {} bytes", kMaxTextBytes));
    }
  }
  return texts;
}

// ---- arrays -----------------------------------------------------------------------------------

struct Array {
  std::optional<ElementType> type;
  std::optional<std::vector<uint64_t>> extents;
  std::optional<Cursor> layout;
  bool elsewhere = false;
};

/// Extents and type must be there.
Array parse_array(Span file, uint64_t header) {
  Array array;
  visit_messages(file, header, [&](uint16_t message, const Cursor& cursor) {
    if (message == hdf5::kDataspace) {
      array.extents = parse_extents(cursor);
    } else if (message == hdf5::kDatatype) {
      array.type = parse_type(cursor);
    } else if (message == hdf5::kLayout) {
      array.layout = cursor;
    } else if (message == hdf5::kExternalFiles) {
      array.elsewhere = true;
    }
  });
  if (!array.type || !array.extents || !array.layout) {
    throw IoError("it is no array");
  }
  return array;
}

Span content_of(Span file, Cursor layout) {
  enum Class : uint8_t { kCompact, kContiguous, kChunked, kVirtual };
  const int version = layout.number<uint8_t>();
  if (version != 3 && version != 4) {
    layout.fail(fmt::format("version of a data layout is {}, not 3 or 4", version));
  }
  switch (layout.number<uint8_t>()) {
    case kCompact:
      return layout.take(layout.number<uint16_t>());
    case kContiguous: {
      const auto address = layout.number<uint64_t>();
      const auto bytes = layout.number<uint64_t>();
      if (address == hdf5::kNowhere) {
        throw IoError("its elements were never written");
      }
      return cursor_at(file, address).take(bytes);
    }
    case kChunked:
      throw IoError(
          "its elements lie in chunks, perhaps packed; only arrays in one piece can be "
          "read, as Keras writes them");
    case kVirtual:
      throw IoError("its elements lie in another file, which is not opened");
    default:
      layout.fail("no class of a data layout");
  }
}

/// IEEE 754 binary16.
float from_half(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const int fraction = bits & 0x3ff;
  const float magnitude = exponent == 0x1f ? (fraction == 0 ? HUGE_VALF : NAN)
                          : exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

template <class Stored, class Convert>
std::vector<float> convert(Span content, const Convert& one) {
  std::vector<float> values(content.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, content.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = one(stored);
    if (i % kTickElements == 0) {
      progress::tick();
    }
  }
  return values;
}

}  // namespace

Hdf5Objects::Hdf5Objects(std::span<const std::byte> file)
    : file_(file), walk_([&]() -> Hdf5Walk {
        if (file.size() <= kSignature.size() ||
            !same_bytes(file.first(kSignature.size()),
                        {reinterpret_cast<const uint8_t*>(kSignature.data()), kSignature.size()})) {
          throw IoError("it is no HDF5 file");
        }
        if (const int version = std::to_integer<int>(file[kSignature.size()]); version != 0) {
          throw IoError(
              fmt::format("it is an HDF5 file of a newer format (superblock {}); what "
                          "h5py writes by default (superblock 0) is needed",
                          version));
        }
        return Hdf5Walk(file, kMaxPath);
      }()) {}

void Hdf5Objects::require_plain_group(const std::string& path) const {
  const auto header = walk_.header(path);
  if (!header || walk_.is_group(path)) {
    return;
  }
  visit_messages(file_, *header, [&](uint16_t message, const Cursor&) {
    if (message == hdf5::kLinkInfo || message == hdf5::kLink) {
      throw IoError(
          fmt::format("'/{}' is a group of HDF5's newer format or with external links, "
                      "which is not read",
                      path));
    }
  });
}

void Hdf5Objects::require(const std::string& path) const {
  if (walk_.header(path)) {
    return;
  }
  require_plain_group("");
  for (std::size_t end = 0; end < path.size();) {
    end = std::min(path.find('/', end + 1), path.size());
    const std::string part = path.substr(0, end);
    if (walk_.is_link(part)) {
      throw IoError(fmt::format("'{}' is a soft link; links are not followed", part));
    }
    require_plain_group(part);
  }
  throw IoError(fmt::format("there is no '{}'", path));
}

void Hdf5Objects::require_group(const std::string& path) const {
  require(path);
  require_plain_group(path);
  if (!is_group(path)) {
    throw IoError("it is no group");
  }
}

std::optional<std::vector<std::string>> Hdf5Objects::texts(const std::string& path,
                                                           const std::string& name) const {
  require(path);
  std::optional<Attribute> attribute;
  visit_messages(file_, *walk_.header(path), [&](uint16_t message, const Cursor& cursor) {
    if (message == hdf5::kAttribute && !attribute) {
      attribute = parse_attribute(cursor, name);
    }
  });
  if (!attribute) {
    return std::nullopt;
  }
  try {
    const auto count = static_cast<uint64_t>(to_shape(attribute->extents).elements());
    if (count == 0) {
      return std::vector<std::string>{};
    }
    if (attribute->type.kind != Elements::kFixedText &&
        attribute->type.kind != Elements::kVariableText) {
      throw IoError("its elements are no texts");
    }
    if (count > kMaxTexts) {
      throw IoError(fmt::format("{} texts, at most {} can be read", count, kMaxTexts));
    }
    return read_texts(file_, *attribute, count);
  } catch (const IoError& error) {
    throw IoError(fmt::format("attribute {}: {}", name, error.what()));
  }
}

Shape Hdf5Objects::shape(const std::string& path) const {
  require(path);
  return to_shape(*parse_array(file_, *walk_.header(path)).extents);
}

std::vector<float> Hdf5Objects::floats(const std::string& path) const {
  require(path);
  const Array array = parse_array(file_, *walk_.header(path));
  const Shape shape = to_shape(*array.extents);
  const Elements kind = array.type->kind;
  if (kind != Elements::kF16 && kind != Elements::kF32 && kind != Elements::kF64) {
    throw IoError("its elements are no floating-point numbers (f16, f32 or f64, little-endian)");
  }
  if (array.elsewhere) {
    throw IoError("its elements lie in another file, which is not opened");
  }
  if (shape.elements() == 0) {
    return {};
  }
  const Span content = content_of(file_, *array.layout);
  if (content.size() / array.type->bytes != static_cast<uint64_t>(shape.elements()) ||
      content.size() % array.type->bytes != 0) {
    throw IoError(fmt::format("its {} bytes do not fit {} elements of {} bytes", content.size(),
                              shape.str(), array.type->bytes));
  }
  if (kind == Elements::kF16) {
    return convert<uint16_t>(content, from_half);
  }
  if (kind == Elements::kF64) {
    return convert<double>(content, [](double value) { return static_cast<float>(value); });
  }
  return convert<float>(content, [](float value) { return value; });
}

}  // namespace gentrain::io
