// Golden files through HDF5's C interface.
#include "tests/support/hdf5_reader.h"

#include <cstdint>
#include <utility>

#include <fmt/format.h>
#include <hdf5.h>

namespace gentrain::test {

namespace {

Shape shape_of(hid_t space) {
  std::vector<hsize_t> extents(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  const std::vector<std::int64_t> signed_extents(extents.begin(), extents.end());
  return Shape(signed_extents);
}

}  // namespace

Hdf5Reader::Hdf5Reader(std::string path) : path_(std::move(path)) {
  const io::Hdf5Lock lock;
  file_ = {H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, path_};
}

Hdf5Array Hdf5Reader::read(const std::string& data_set) const {
  const std::string what = fmt::format("{}: data set {}", path_, data_set);
  const io::Hdf5Lock lock;
  const io::Hdf5Handle set(H5Dopen2(file_.get(), data_set.c_str(), H5P_DEFAULT), H5Dclose, what);
  const io::Hdf5Handle space(H5Dget_space(set.get()), H5Sclose, what);
  Hdf5Array array{shape_of(space.get()), {}};
  array.values.resize(static_cast<std::size_t>(array.shape.elements()));
  io::check_hdf5(
      H5Dread(set.get(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.values.data()),
      what);
  return array;
}

double Hdf5Reader::attribute(const std::string& data_set, const std::string& name) const {
  const std::string what = fmt::format("{}: attribute {} of {}", path_, name, data_set);
  const io::Hdf5Lock lock;
  const io::Hdf5Handle attribute(
      H5Aopen_by_name(file_.get(), data_set.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose, what);
  double value = 0;
  io::check_hdf5(H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &value), what);
  return value;
}

}  // namespace gentrain::test
