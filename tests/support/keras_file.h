// Small HDF5 files as Keras writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/shape.h"

namespace gentrain::test {

struct KerasFileArray {
  std::string name;  // in weight_names; a path below the layer's group
  Shape shape;
  std::vector<double> values;
};

struct KerasFileLayer {
  std::string name;
  std::vector<KerasFileArray> arrays;
};

/// What differs from file to file.
struct KerasFileLayout {
  const char* group = "";         // "" (weights alone) or "model_weights" (a whole model)
  bool variable_texts = false;    // names of variable length
  std::size_t names_at_once = 0;  // names are cut into NAME0, NAME1 ... of so many; 0: never
  int bits = 32;                  // of an element: 16, 32, 64
  bool packed = false;            // arrays in chunks, with shuffle and deflate
  const char* backend = "";       // "": no such attribute
  std::string model_config = {};  // JSON, at the root; "": no such attribute
};

/// Writes layers in their order. Throws IoError if HDF5 fails.
void write_keras_file(const std::filesystem::path& path, const std::vector<KerasFileLayer>& layers,
                      const KerasFileLayout& layout = {});

}  // namespace gentrain::test
