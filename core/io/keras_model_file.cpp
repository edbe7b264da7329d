// HDF5 writes into a file in memory, which is copied under its name when it is whole.
#include "core/io/keras_model_file.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <hdf5.h>

#include "core/io/atomic_file.h"
#include "core/io/hdf5.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {

namespace {

/// An attribute has at most 64 KiB, 16 bytes for each text: Keras reads longer lists in parts.
constexpr std::size_t kMostTexts = 4000;

Hdf5Handle make_group(const Hdf5Handle& parent, const std::string& name) {
  return {H5Gcreate2(parent.get(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose,
          "group " + name};
}

Hdf5Handle text_type() {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "string type");
  check_hdf5(H5Tset_size(type.get(), H5T_VARIABLE), "string type");
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "string type");
  return type;
}

void set_text(const Hdf5Handle& object, const char* name, const std::string& text) {
  const Hdf5Handle type = text_type();
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, name);
  const Hdf5Handle attribute(
      H5Acreate2(object.get(), name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
      name);
  const char* const data = text.c_str();
  check_hdf5(H5Awrite(attribute.get(), type.get(), static_cast<const void*>(&data)), name);
}

/// An empty list is one of no numbers, as h5py writes it.
void set_texts(const Hdf5Handle& object, const std::string& name,
               std::span<const std::string> texts) {
  const hsize_t count = texts.size();
  const Hdf5Handle space(H5Screate_simple(1, &count, nullptr), H5Sclose, name);
  const Hdf5Handle type =
      texts.empty() ? Hdf5Handle(H5Tcopy(H5T_IEEE_F64LE), H5Tclose, name) : text_type();
  const Hdf5Handle attribute(
      H5Acreate2(object.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose, name);
  std::vector<const char*> data;
  for (const std::string& text : texts) {
    data.push_back(text.c_str());
  }
  if (!data.empty()) {
    check_hdf5(H5Awrite(attribute.get(), type.get(), static_cast<const void*>(data.data())), name);
  }
}

void set_list(const Hdf5Handle& object, const std::string& name,
              std::span<const std::string> texts) {
  if (texts.size() <= kMostTexts) {
    return set_texts(object, name, texts);
  }
  for (std::size_t part = 0; part * kMostTexts < texts.size(); ++part) {
    const std::size_t first = part * kMostTexts;
    set_texts(object, fmt::format("{}{}", name, part),
              texts.subspan(first, std::min(kMostTexts, texts.size() - first)));
  }
}

void write_array(const Hdf5Handle& group, const KerasModelArray& array) {
  const std::vector<float> values = array.values();
  if (static_cast<std::int64_t>(values.size()) != array.shape.elements()) {
    throw ShapeError(fmt::format("array {} has {} values but the shape {}", array.name,
                                 values.size(), array.shape.str()));
  }
  const std::vector<hsize_t> extents(array.shape.extents().begin(), array.shape.extents().end());
  const Hdf5Handle space(extents.empty()
                             ? H5Screate(H5S_SCALAR)
                             : H5Screate_simple(array.shape.rank(), extents.data(), nullptr),
                         H5Sclose, array.name);
  const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, array.name);
  check_hdf5(H5Pset_create_intermediate_group(links.get(), 1), array.name);
  const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, array.name);
  check_hdf5(H5Pset_obj_track_times(properties.get(), false), array.name);
  const Hdf5Handle set(H5Dcreate2(group.get(), array.name.c_str(), H5T_IEEE_F32LE, space.get(),
                                  links.get(), properties.get(), H5P_DEFAULT),
                       H5Dclose, array.name);
  check_hdf5(H5Dwrite(set.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
             array.name);
  progress::tick();
}

template <class Named>
std::vector<std::string> names_of(const std::vector<Named>& all) {
  std::vector<std::string> names;
  for (const Named& one : all) {
    names.push_back(one.name);
  }
  return names;
}

void write_to(const std::string& path, const KerasModelFile& model) {
  const Hdf5Lock lock;
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "access properties");
  // HDF5's usual driver wants the file's true path, and a file in memory has none.
  check_hdf5(H5Pset_fapl_stdio(access.get()), "stdio driver");
  const Hdf5Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose,
                        "create");
  const std::string version = model.keras_version;
  set_text(file, "keras_version", version);
  set_text(file, "backend", model.backend);
  set_text(file, "model_config", model.model_config);
  const Hdf5Handle weights = make_group(file, "model_weights");
  set_text(weights, "keras_version", version);
  set_text(weights, "backend", model.backend);
  set_list(weights, "layer_names", names_of(model.layers));
  for (const KerasModelLayer& layer : model.layers) {
    const Hdf5Handle group = make_group(weights, layer.name);
    set_list(group, "weight_names", names_of(layer.arrays));
    for (const KerasModelArray& array : layer.arrays) {
      write_array(group, array);
    }
  }
  check_hdf5(H5Fflush(file.get(), H5F_SCOPE_GLOBAL), "flush");
}

}  // namespace

void write_keras_model(const std::filesystem::path& path, const KerasModelFile& model) {
  const PosixFile memory = PosixFile::in_memory();
  try {
    write_to(memory.open_path(), model);
  } catch (const IoError& error) {
    throw IoError(fmt::format("{}: {}", path.string(), error.what()));
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{}: {}", path.string(), error.what()));
  }
  AtomicWriter out(path);
  constexpr std::size_t kPiece = std::size_t{1} << 24;
  const std::size_t size = memory.size();
  std::string piece(std::min(kPiece, size), '\0');
  for (std::size_t at = 0; at < size; at += piece.size()) {
    piece.resize(std::min(kPiece, size - at));
    memory.read_at(at, piece.data(), piece.size());
    out.write(piece);
    progress::tick();
  }
  out.commit();
}

}  // namespace gentrain::io
