// A .keras archive: a zip with the configuration, what it was written by, and the weights.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace gentrain::keras {

struct Archive {
  std::string config;              // config.json
  std::string metadata;            // metadata.json
  std::vector<std::byte> weights;  // model.weights.h5
};

/// Whether a file begins as a zip does.
bool is_archive(std::span<const std::byte> file);

/// Reads the three of them; memory stays in proportion to the file. Throws IoError: a damaged zip,
/// one of them missing or much larger than the file.
Archive read_archive(std::span<const std::byte> file);

}  // namespace gentrain::keras
