// Model files: named arrays and a JSON header in one HDF5 file whose user block holds the SHA-256
// of everything behind it. Written under a temporary name, synced, renamed; verified before HDF5
// opens it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/dtype.h"
#include "kernels/shape.h"

namespace gentrain::io {

/// Format version written and the newest one read.
inline constexpr int kModelFormat = 1;

struct NamedArray {
  std::string name;  // HDF5 path below /weights: "conv1/weight"
  Shape shape;
  std::vector<float> values;
};

// NOLINTNEXTLINE(bugprone-exception-escape): json's move cannot throw, its assertions look as if.
struct ModelFile {
  nlohmann::json header;           // network, classes, normalisation, hashes: what predict needs
  std::vector<NamedArray> arrays;  // in order of registration
};

/// Throws IoError naming the file and the failed step; what stood under the name is untouched then,
/// as write_file_atomically() says. Bytes of the header's texts that are not UTF-8 become U+FFFD.
void write_model(const std::filesystem::path& path, const ModelFile& model);

/// Throws IoError: missing, no gentrain model, truncated, damaged (hash differs), a newer format.
ModelFile read_model(const std::filesystem::path& path);

/// What is wrong with a file and where, one line each; empty if it is whole. Never throws for a
/// damaged file: the array whose hash differs is named.
std::vector<std::string> verify_model(const std::filesystem::path& path);

/// "HDF5 1.10.8"
std::string hdf5_version();

}  // namespace gentrain::io
