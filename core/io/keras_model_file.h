// Writing a whole model as Keras 2 writes it in HDF5: its configuration, and the arrays of its
// layers below /model_weights.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kernels/shape.h"

namespace gentrain::io {

/// An array of a layer. Its values, row-major, are asked for when it is written.
struct KerasModelArray {
  std::string name;  // below the layer's group: "conv1/kernel:0"
  Shape shape;
  std::function<std::vector<float>()> values;
};

struct KerasModelLayer {
  std::string name;
  std::vector<KerasModelArray> arrays;  // in Keras's order; none: a layer without weights
};

struct KerasModelFile {
  std::string keras_version;  // that such files are of: "2.15.0"
  std::string backend;        // "tensorflow"
  std::string model_config;   // JSON
  std::vector<KerasModelLayer> layers;
};

/// Writes it, in memory first; the same content gives the same bytes. A file that is there is
/// replaced.
///
/// Throws IoError naming the file, and HDF5's reason; ShapeError for an array whose values are not
/// as many as its shape says. Then what stood under the name is untouched.
void write_keras_model(const std::filesystem::path& path, const KerasModelFile& model);

}  // namespace gentrain::io
