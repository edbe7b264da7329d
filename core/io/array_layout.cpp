// HDF5 writes into a file in memory that has holes where the arrays lie: it is told one value of
// each array, as it gives an array its place when the first is written.
#include "core/io/array_layout.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/format.h>
#include <hdf5.h>

#include "core/io/hdf5.h"
#include "core/io/sha256.h"
#include "kernels/error.h"

namespace gentrain::io {
namespace {

constexpr std::size_t kMaxName = 255;

// Where an array lies in the file.
struct Place {
  std::size_t begin = 0;
  std::string_view values;
};

Hdf5Handle fixed_string(std::size_t size) {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "string type");
  check_hdf5(H5Tset_size(type.get(), size), "string type");
  check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "string type");
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "string type");
  return type;
}

Hdf5Handle timeless_dataset() {
  Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "dataset properties");
  check_hdf5(H5Pset_obj_track_times(properties.get(), false), "dataset properties");
  return properties;
}

void write_text(const Hdf5Handle& file, const char* name, const std::string& text) {
  const Hdf5Handle type = fixed_string(text.size());
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, name);
  const Hdf5Handle properties = timeless_dataset();
  const Hdf5Handle set(H5Dcreate2(file.get(), name, type.get(), space.get(), H5P_DEFAULT,
                                  properties.get(), H5P_DEFAULT),
                       H5Dclose, name);
  check_hdf5(H5Dwrite(set.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()), name);
}

void write_hash(const Hdf5Handle& set, const std::string& name, const std::string& hash) {
  const Hdf5Handle type = fixed_string(hash.size());
  const Hdf5Handle scalar(H5Screate(H5S_SCALAR), H5Sclose, name);
  const Hdf5Handle attribute(
      H5Acreate2(set.get(), "sha256", type.get(), scalar.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
      name);
  check_hdf5(H5Awrite(attribute.get(), type.get(), hash.data()), name);
}

struct Hdf5Types {
  hid_t stored;
  hid_t native;
};

// Under the lock: naming a type calls HDF5.
Hdf5Types hdf5_types(ElementType type) {
  switch (type) {
    case ElementType::kU8:
      return {H5T_STD_U8LE, H5T_NATIVE_UINT8};
    case ElementType::kI32:
      return {H5T_STD_I32LE, H5T_NATIVE_INT32};
    case ElementType::kF32:
      break;
  }
  return {H5T_IEEE_F32LE, H5T_NATIVE_FLOAT};
}

// Writes the first value alone.
void write_first(const Hdf5Handle& set, const Hdf5Handle& space, const ArrayView& array) {
  if (array.shape.rank() > 0) {
    constexpr std::array<hsize_t, Shape::kMaxRank> kOrigin{};
    check_hdf5(H5Sselect_elements(space.get(), H5S_SELECT_SET, 1, kOrigin.data()), array.name);
  }
  const Hdf5Handle scalar(H5Screate(H5S_SCALAR), H5Sclose, array.name);
  check_hdf5(H5Dwrite(set.get(), hdf5_types(array.type).native, scalar.get(), space.get(),
                      H5P_DEFAULT, array.bytes.data()),
             array.name);
}

Place write_array(const Hdf5Handle& group, const ArrayView& array, const std::string& hash) {
  std::array<hsize_t, Shape::kMaxRank> extents{};
  std::copy_n(array.shape.extents().begin(), array.shape.rank(), extents.begin());
  const Hdf5Handle space(array.shape.rank() == 0
                             ? H5Screate(H5S_SCALAR)
                             : H5Screate_simple(array.shape.rank(), extents.data(), nullptr),
                         H5Sclose, array.name);
  const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, array.name);
  check_hdf5(H5Pset_create_intermediate_group(links.get(), 1), array.name);
  const Hdf5Handle properties = timeless_dataset();
  const Hdf5Handle set(H5Dcreate2(group.get(), array.name.c_str(), hdf5_types(array.type).stored,
                                  space.get(), links.get(), properties.get(), H5P_DEFAULT),
                       H5Dclose, array.name);
  Place place;
  if (!array.bytes.empty()) {
    write_first(set, space, array);
    place.begin = H5Dget_offset(set.get());
    place.values = {reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size()};
  }
  write_hash(set, array.name, hash);
  return place;
}

// HDF5 would take "a//b" and "a/./b" for "a/b".
void check_name(const std::string& name) {
  const std::string framed = "/" + name + "/";
  for (const char* wrong : {"//", "/./"}) {
    if (name.size() > kMaxName || framed.find(wrong) != std::string::npos) {
      throw ShapeError(
          fmt::format("array file: '{}' is no name for an array: up to {} bytes, words "
                      "between single slashes",
                      name, kMaxName));
    }
  }
}

void check_array(const ArrayView& array) {
  check_name(array.name);
  const std::size_t values = array.bytes.size() / bytes_of(array.type);
  if (array.shape.elements() != static_cast<std::int64_t>(values)) {
    throw ShapeError(fmt::format("array file: {} has {} values but shape {}", array.name, values,
                                 array.shape.str()));
  }
}

// Writes all but the values into the file that is open under this path.
std::vector<Place> write_structure(const std::string& path, const ArrayViews& content,
                                   const std::vector<std::string>& hashes) {
  const Hdf5Lock lock;
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "access properties");
  // HDF5's usual driver wants the file's true path, and a file in memory has none.
  check_hdf5(H5Pset_fapl_stdio(access.get()), "stdio driver");
  // A larger buffer would be read and written around each first value.
  check_hdf5(H5Pset_sieve_buf_size(access.get(), 1), "access properties");
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "creation properties");
  check_hdf5(H5Pset_userblock(creation.get(), kUserBlock), "user block");
  const Hdf5Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()),
                        H5Fclose, "create");
  // Text of a job, such as a path, need not be UTF-8.
  write_text(file, "header",
             content.header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  nlohmann::json order = nlohmann::json::array();
  std::vector<Place> places;
  {
    const char* const name = group_of(content.kind);
    const Hdf5Handle group(H5Gcreate2(file.get(), name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                           H5Gclose, name);
    for (std::size_t i = 0; i < content.arrays.size(); ++i) {
      places.push_back(write_array(group, content.arrays[i], hashes[i]));
      order.push_back(content.arrays[i].name);
    }
  }
  write_text(file, "order", order.dump());
  check_hdf5(H5Fflush(file.get(), H5F_SCOPE_GLOBAL), "flush");
  return places;
}

}  // namespace

const char* group_of(FileKind kind) {
  switch (kind) {
    case FileKind::kModel:
      return "weights";
    case FileKind::kCheckpoint:
      return "state";
    case FileKind::kPack:
      break;
  }
  return "data";
}

ArrayView view_of(const NamedArray& array) {
  return {array.name, array.shape, ElementType::kF32,
          std::as_bytes(std::span<const float>(array.values))};
}

ArrayLayout lay_out(const ArrayViews& file) {
  std::vector<std::string> hashes;
  for (const ArrayView& array : file.arrays) {
    check_array(array);
    hashes.push_back(sha256(array.bytes));
  }
  const PosixFile memory = PosixFile::in_memory();
  std::vector<Place> places = write_structure(memory.open_path(), file, hashes);
  std::erase_if(places, [](const Place& place) { return place.values.empty(); });
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.begin < b.begin; });
  std::size_t in_arrays = 0;
  for (const Place& place : places) {
    in_arrays += place.values.size();
  }
  const std::size_t size = memory.size();
  ArrayLayout layout;
  layout.between = make_bytes(size - kUserBlock - in_arrays);
  places.push_back({size, {}});
  std::size_t at = kUserBlock;
  std::uint8_t* gap = layout.between.data.get();
  for (const Place& place : places) {
    const std::size_t length = place.begin - at;
    memory.read_at(at, gap, length);
    layout.pieces.emplace_back(reinterpret_cast<const char*>(gap), length);
    layout.pieces.push_back(place.values);
    gap += length;
    at = place.begin + place.values.size();
  }
  return layout;
}

}  // namespace gentrain::io
