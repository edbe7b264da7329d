// Keras's layout through HDF5's C interface.
#include "tests/support/keras_file.h"

#include <algorithm>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <hdf5.h>

#include "core/io/hdf5.h"

namespace gentrain::test {

namespace {

using io::check_hdf5;
using io::Hdf5Handle;

class Writer {
 public:
  Writer(std::string path, const KerasFileLayout& layout)
      : path_(std::move(path)), layout_(layout) {
    file_ = {H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose, path_};
    groups_ = {H5Pcreate(H5P_LINK_CREATE), H5Pclose, path_};
    check_hdf5(H5Pset_create_intermediate_group(groups_.get(), 1), path_);
    base_ = *layout.group == '\0'
                ? Hdf5Handle(H5Gopen2(file_.get(), "/", H5P_DEFAULT), H5Gclose, path_)
                : make_group(file_, layout.group);
    if (!layout.model_config.empty()) {
      const std::string version = "2.13.1";
      write_texts(file_, "model_config", {&layout.model_config, 1});
      write_texts(file_, "keras_version", {&version, 1});
    }
    if (const std::string backend = layout.backend; !backend.empty()) {
      write_texts(base_, "backend", {&backend, 1});
    }
  }

  void write_names(std::span<const KerasFileLayer> layers) const {
    write_list(base_, "layer_names", layers);
  }
  void write(const KerasFileLayer& layer) const {
    const Hdf5Handle group = make_group(base_, layer.name);
    write_list(group, "weight_names", std::span<const KerasFileArray>(layer.arrays));
    for (const KerasFileArray& array : layer.arrays) {
      write(group, array);
    }
  }

 private:
  [[nodiscard]] Hdf5Handle make_group(const Hdf5Handle& parent, const std::string& name) const {
    return {H5Lexists(parent.get(), name.c_str(), H5P_DEFAULT) > 0
                ? H5Gopen2(parent.get(), name.c_str(), H5P_DEFAULT)
                : H5Gcreate2(parent.get(), name.c_str(), groups_.get(), H5P_DEFAULT, H5P_DEFAULT),
            H5Gclose, name};
  }

  template <class Named>
  void write_list(const Hdf5Handle& group, const std::string& attribute,
                  std::span<const Named> named) const {
    std::vector<std::string> names;
    for (const Named& one : named) {
      names.push_back(one.name);
    }
    if (layout_.names_at_once == 0 || names.empty()) {
      return write_texts(group, attribute, names);
    }
    for (std::size_t i = 0; i * layout_.names_at_once < names.size(); ++i) {
      const auto first = i * layout_.names_at_once;
      const auto count = std::min(layout_.names_at_once, names.size() - first);
      write_texts(group, fmt::format("{}{}", attribute, i), std::span(names).subspan(first, count));
    }
  }

  void write_texts(const Hdf5Handle& object, const std::string& name,
                   std::span<const std::string> texts) const {
    const hsize_t count = texts.size();
    const Hdf5Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose, path_);
    const Hdf5Handle type(H5Tcopy(texts.empty() ? H5T_IEEE_F64LE : H5T_C_S1), H5Tclose, path_);
    std::size_t size = 0;
    for (const std::string& text : texts) {
      size = std::max(size, text.size());
    }
    if (!texts.empty()) {
      check_hdf5(H5Tset_size(type.get(), layout_.variable_texts ? H5T_VARIABLE : size), path_);
      check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), path_);
    }
    const Hdf5Handle attribute(
        H5Acreate2(object.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
        H5Aclose, path_);
    std::string fixed;
    std::vector<const char*> variable;
    for (const std::string& text : texts) {
      fixed += text + std::string(size - text.size(), '\0');
      variable.push_back(text.c_str());
    }
    if (!texts.empty()) {
      const void* const data =
          layout_.variable_texts ? static_cast<const void*>(variable.data()) : fixed.data();
      check_hdf5(H5Awrite(attribute.get(), type.get(), data), path_);
    }
  }

  [[nodiscard]] Hdf5Handle element_type() const {
    Hdf5Handle type(H5Tcopy(layout_.bits == 64 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE), H5Tclose, path_);
    if (layout_.bits == 16) {  // 1 bit of sign, 5 of the exponent, 10 of the fraction
      check_hdf5(H5Tset_fields(type.get(), 15, 10, 5, 0, 10), path_);
      check_hdf5(H5Tset_size(type.get(), 2), path_);
      check_hdf5(H5Tset_ebias(type.get(), 15), path_);
    }
    return type;
  }

  void write(const Hdf5Handle& group, const KerasFileArray& array) const {
    const std::vector<hsize_t> extents(array.shape.extents().begin(), array.shape.extents().end());
    const auto rank = static_cast<int>(extents.size());
    const Hdf5Handle space(H5Screate_simple(rank, extents.data(), nullptr), H5Sclose, path_);
    const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, path_);
    if (layout_.packed && rank > 0) {
      std::vector<hsize_t> chunk = extents;
      chunk[0] = (chunk[0] + 1) / 2;
      check_hdf5(H5Pset_chunk(properties.get(), rank, chunk.data()), path_);
      check_hdf5(H5Pset_shuffle(properties.get()), path_);
      check_hdf5(H5Pset_deflate(properties.get(), 6), path_);
    }
    const Hdf5Handle type = element_type();
    const Hdf5Handle set(H5Dcreate2(group.get(), array.name.c_str(), type.get(), space.get(),
                                    groups_.get(), properties.get(), H5P_DEFAULT),
                         H5Dclose, path_);
    check_hdf5(
        H5Dwrite(set.get(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.values.data()),
        path_);
  }

  std::string path_;
  const KerasFileLayout& layout_;
  Hdf5Handle file_;
  Hdf5Handle groups_;  // properties: groups on the way are made
  Hdf5Handle base_;
};

}  // namespace

void write_keras_file(const std::filesystem::path& path, const std::vector<KerasFileLayer>& layers,
                      const KerasFileLayout& layout) {
  const io::Hdf5Lock lock;
  const Writer writer(path.string(), layout);
  writer.write_names(layers);
  for (const KerasFileLayer& layer : layers) {
    writer.write(layer);
  }
}

}  // namespace gentrain::test
