// HDF5's C interface, with a handle that closes itself.
#include "tests/support/hdf5_reader.h"

#include <utility>

#include <fmt/format.h>
#include <hdf5.h>

#include "kernels/error.h"

namespace gentrain::test {

namespace {

class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  /// Throws IoError with `what` if the library gave no handle.
  Handle(hid_t id, Close close, const std::string& what) : id_(id), close_(close) {
    if (id < 0) {
      throw IoError(what);
    }
  }
  ~Handle() { close_(id_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  [[nodiscard]] hid_t id() const { return id_; }

 private:
  hid_t id_;
  Close close_;
};

Shape shape_of(hid_t space) {
  std::vector<hsize_t> extents(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  const std::vector<std::int64_t> signed_extents(extents.begin(), extents.end());
  return Shape(signed_extents);
}

}  // namespace

Hdf5Reader::Hdf5Reader(const std::string& path) : path_(path), file_(-1) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file_ < 0) {
    throw IoError(fmt::format("{}: cannot be opened as HDF5", path));
  }
}

Hdf5Reader::~Hdf5Reader() {
  H5Fclose(file_);
}

Hdf5Array Hdf5Reader::read(const std::string& data_set) const {
  const Handle set(H5Dopen2(file_, data_set.c_str(), H5P_DEFAULT), H5Dclose,
                   fmt::format("{}: no data set {}", path_, data_set));
  const Handle space(H5Dget_space(set.id()), H5Sclose,
                     fmt::format("{}: {} has no data space", path_, data_set));
  Hdf5Array array{shape_of(space.id()), {}};
  array.values.resize(static_cast<std::size_t>(array.shape.elements()));
  if (H5Dread(set.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.values.data()) <
      0) {
    throw IoError(fmt::format("{}: {} cannot be read as numbers", path_, data_set));
  }
  return array;
}

double Hdf5Reader::attribute(const std::string& data_set, const std::string& name) const {
  const std::string missing = fmt::format("{}: {} has no number {}", path_, data_set, name);
  const Handle attribute(
      H5Aopen_by_name(file_, data_set.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
      missing);
  double value = 0;
  if (H5Aread(attribute.id(), H5T_NATIVE_DOUBLE, &value) < 0) {
    throw IoError(missing);
  }
  return value;
}

}  // namespace gentrain::test
