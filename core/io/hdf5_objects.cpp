// Objects, attributes and arrays through the HDF5 library, within what a file of its size can hold.
#include "core/io/hdf5_objects.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hdf5.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {
namespace {

constexpr std::size_t kMaxPath = 1024;
constexpr std::uint64_t kMaxTexts = 65536;                         // of an attribute
constexpr std::uint64_t kMaxTextBytes = std::uint64_t{16} << 20;   // of an attribute
constexpr std::uint64_t kMaxSpareChunk = std::uint64_t{16} << 20;  // bytes of a chunk unused
constexpr std::uint64_t kDeflate = 1032;                           // its largest ratio
constexpr std::int64_t kBlockElements = std::int64_t{4} << 20;     // of an array, read at a time

/// Memory that HDF5 allocated for texts of variable length.
class Texts {
 public:
  Texts(const Hdf5Handle& type, const Hdf5Handle& space, std::size_t count)
      : type_(type), space_(space), texts_(count) {}
  ~Texts() { H5Dvlen_reclaim(type_.get(), space_.get(), H5P_DEFAULT, static_cast<void*>(data())); }
  Texts(const Texts&) = delete;
  Texts& operator=(const Texts&) = delete;
  char** data() { return texts_.data(); }
  [[nodiscard]] std::vector<std::string> strings() const {
    std::vector<std::string> result;
    for (const char* text : texts_) {
      result.emplace_back(text == nullptr ? "" : text);
    }
    return result;
  }

 private:
  const Hdf5Handle& type_;
  const Hdf5Handle& space_;
  std::vector<char*> texts_;
};

std::vector<std::string> variable_texts(const Hdf5Handle& attribute, const Hdf5Handle& type,
                                        const Hdf5Handle& space, std::size_t count,
                                        const std::string& where) {
  const Hdf5Handle memory(H5Tcopy(H5T_C_S1), H5Tclose, where);
  check_hdf5(H5Tset_size(memory.get(), H5T_VARIABLE), where);
  check_hdf5(H5Tset_cset(memory.get(), H5Tget_cset(type.get())), where);
  Texts texts(memory, space, count);
  check_hdf5(H5Aread(attribute.get(), memory.get(), static_cast<void*>(texts.data())), where);
  return texts.strings();
}

std::vector<std::string> fixed_texts(const Hdf5Handle& attribute, const Hdf5Handle& type,
                                     std::size_t count, const std::string& where) {
  const std::size_t size = H5Tget_size(type.get());
  if (size == 0 || size > kMaxTextBytes / count) {
    throw IoError(fmt::format("{}: {} texts of {} bytes are more than {} bytes", where, count, size,
                              kMaxTextBytes));
  }
  std::vector<char> bytes(count * size);
  check_hdf5(H5Aread(attribute.get(), type.get(), bytes.data()), where);
  const bool spaces = H5Tget_strpad(type.get()) == H5T_STR_SPACEPAD;
  std::vector<std::string> result;
  for (std::size_t i = 0; i < count; ++i) {
    std::string_view text(bytes.data() + i * size, size);
    text = text.substr(0, text.find('\0'));
    if (spaces) {
      text = text.substr(0, text.find_last_not_of(' ') + 1);
    }
    result.emplace_back(text);
  }
  return result;
}

/// Whether the link of this path may be followed.
void require_hard_link(const Hdf5Handle& group, const std::string& path, const std::string& where) {
  if (H5Lexists(group.get(), path.c_str(), H5P_DEFAULT) <= 0) {
    throw IoError(fmt::format("{}: there is no '{}'", where, path));
  }
  H5L_info_t info;
  check_hdf5(H5Lget_info(group.get(), path.c_str(), &info, H5P_DEFAULT), where);
  if (info.type != H5L_TYPE_HARD) {
    throw IoError(fmt::format("{}: '{}' is {} link; links are not followed", where, path,
                              info.type == H5L_TYPE_EXTERNAL ? "an external" : "a soft"));
  }
}

std::vector<hsize_t> extents_of(const Hdf5Handle& space, const std::string& where) {
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0 || rank > Shape::kMaxRank) {
    throw IoError(
        fmt::format("{}: it has {} extents, at most {} can be read", where, rank, Shape::kMaxRank));
  }
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  check_hdf5(H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr), where);
  return extents;
}

Shape shape_of(const Hdf5Handle& space, const std::string& where) {
  const std::vector<hsize_t> extents = extents_of(space, where);
  hsize_t elements = 1;
  for (const hsize_t extent : extents) {
    if (extent > 0 && elements > static_cast<hsize_t>(Shape::kMaxElements) / extent) {
      throw IoError(
          fmt::format("{}: its extents {} are more than can be", where, fmt::join(extents, " x ")));
    }
    elements *= std::max<hsize_t>(extent, 1);
  }
  return Shape(std::vector<std::int64_t>(extents.begin(), extents.end()));
}

}  // namespace

Hdf5Handle open_hdf5_object(const Hdf5Handle& group, const std::string& path,
                            const std::string& where) {
  if (path.size() > kMaxPath) {
    throw IoError(fmt::format("{}: a path of {} bytes", where, path.size()));
  }
  for (std::size_t begin = 0; begin <= path.size() && !path.empty();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    if (name.empty() || name == ".") {
      throw IoError(fmt::format("{}: '{}' is no path of names joined by '/'", where, path));
    }
    require_hard_link(group, path.substr(0, end), where);
    begin = end + 1;
  }
  return {H5Oopen(group.get(), path.empty() ? "." : path.c_str(), H5P_DEFAULT), H5Oclose, where};
}

bool is_hdf5_group(const Hdf5Handle& object) {
  return H5Iget_type(object.get()) == H5I_GROUP;
}

std::optional<std::vector<std::string>> read_hdf5_texts(const Hdf5Handle& object,
                                                        const std::string& name,
                                                        const std::string& of) {
  const std::string where = fmt::format("{}: attribute {}", of, name);
  const int exists = H5Aexists(object.get(), name.c_str());
  check_hdf5(exists, where);
  if (exists == 0) {
    return std::nullopt;
  }
  const Hdf5Handle attribute(H5Aopen(object.get(), name.c_str(), H5P_DEFAULT), H5Aclose, where);
  const Hdf5Handle space(H5Aget_space(attribute.get()), H5Sclose, where);
  const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose, where);
  const hssize_t points = H5Sget_simple_extent_npoints(space.get());
  check_hdf5(points, where);
  const auto count = static_cast<std::size_t>(points);
  if (count == 0) {
    return std::vector<std::string>{};
  }
  if (H5Tget_class(type.get()) != H5T_STRING) {
    throw IoError(where + ": its elements are no texts");
  }
  if (count > kMaxTexts) {
    throw IoError(fmt::format("{}: {} texts, at most {} can be read", where, count, kMaxTexts));
  }
  return H5Tis_variable_str(type.get()) > 0 ? variable_texts(attribute, type, space, count, where)
                                            : fixed_texts(attribute, type, count, where);
}

Hdf5Array::Hdf5Array(Hdf5Handle object, std::string where, std::uint64_t file_bytes)
    : where_(std::move(where)), file_bytes_(file_bytes), object_(std::move(object)) {
  if (H5Iget_type(object_.get()) != H5I_DATASET) {
    throw IoError(where_ + ": it is no array");
  }
  space_ = Hdf5Handle(H5Dget_space(object_.get()), H5Sclose, where_);
  type_ = Hdf5Handle(H5Dget_type(object_.get()), H5Tclose, where_);
  shape_ = shape_of(space_, where_);
}

// What is read is bounded by what lies in the file: as it is, or packed by deflate at its best.
void Hdf5Array::check_storage() const {
  const Hdf5Handle properties(H5Dget_create_plist(object_.get()), H5Pclose, where_);
  const H5D_layout_t layout = H5Pget_layout(properties.get());
  if (layout == H5D_VIRTUAL || H5Pget_external_count(properties.get()) != 0) {
    throw IoError(where_ + ": its elements lie in another file, which is not opened");
  }
  const std::uint64_t bytes =
      static_cast<std::uint64_t>(shape_.elements()) * H5Tget_size(type_.get());
  const std::uint64_t stored = H5Dget_storage_size(object_.get());
  if (stored == 0 && bytes > 0) {
    throw IoError(where_ + ": its elements were never written");
  }
  const std::uint64_t held = std::min(stored, file_bytes_);
  const bool chunked = layout == H5D_CHUNKED;
  if (bytes / (chunked ? kDeflate : 1) > held) {
    throw IoError(
        fmt::format("{}: {} of {} bytes each are more than the {} bytes that the file "
                    "holds of it",
                    where_, shape_.str(), H5Tget_size(type_.get()), held));
  }
  if (chunked) {
    check_chunks(properties.get(), bytes);
  }
}

void Hdf5Array::check_chunks(std::int64_t properties, std::uint64_t bytes) const {
  const int filters = H5Pget_nfilters(properties);
  check_hdf5(filters, where_);
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    unsigned config = 0;
    const H5Z_filter_t filter = H5Pget_filter2(properties, static_cast<unsigned>(i), &flags,
                                               &values, nullptr, 0, nullptr, &config);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
        filter != H5Z_FILTER_FLETCHER32) {
      throw IoError(
          fmt::format("{}: it is packed by filter {}; deflate, shuffle and fletcher32 "
                      "can be read",
                      where_, filter));
    }
  }
  std::array<hsize_t, Shape::kMaxRank> extents{};
  check_hdf5(H5Pget_chunk(properties, Shape::kMaxRank, extents.data()), where_);
  std::uint64_t chunk = H5Tget_size(type_.get());
  for (int axis = 0; axis < shape_.rank(); ++axis) {
    if (__builtin_mul_overflow(chunk, extents[static_cast<std::size_t>(axis)], &chunk) ||
        chunk > bytes + kMaxSpareChunk) {
      throw IoError(fmt::format("{}: chunks far larger than its {}", where_, shape_.str()));
    }
  }
}

std::vector<float> Hdf5Array::read() const {
  if (H5Tget_class(type_.get()) != H5T_FLOAT || H5Tget_size(type_.get()) > sizeof(double)) {
    throw IoError(where_ + ": its elements are no floating-point numbers (f16, f32 or f64)");
  }
  check_storage();
  std::vector<float> values(static_cast<std::size_t>(shape_.elements()));
  if (values.empty()) {
    return values;
  }
  if (shape_.rank() == 0) {
    check_hdf5(
        H5Dread(object_.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
        where_);
    return values;
  }
  const std::int64_t row = shape_.elements() / shape_[0];
  const std::int64_t rows_at_once = std::max<std::int64_t>(kBlockElements / row, 1);
  std::array<hsize_t, Shape::kMaxRank> start{};
  std::array<hsize_t, Shape::kMaxRank> block{};
  std::ranges::copy(shape_.extents(), block.begin());
  for (std::int64_t first = 0; first < shape_[0]; first += rows_at_once) {
    start[0] = static_cast<hsize_t>(first);
    block[0] = static_cast<hsize_t>(std::min(rows_at_once, shape_[0] - first));
    check_hdf5(H5Sselect_hyperslab(space_.get(), H5S_SELECT_SET, start.data(), nullptr,
                                   block.data(), nullptr),
               where_);
    const Hdf5Handle memory(H5Screate_simple(shape_.rank(), block.data(), nullptr), H5Sclose,
                            where_);
    check_hdf5(H5Dread(object_.get(), H5T_NATIVE_FLOAT, memory.get(), space_.get(), H5P_DEFAULT,
                       values.data() + first * row),
               where_);
    progress::tick();
  }
  return values;
}

}  // namespace gentrain::io
