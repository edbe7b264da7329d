// Names of classes out of a file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace gentrain::trainers {

/// Keras's imagenet_class_index.json, {"0": ["n01440764", "tench"], ...}, or a list of names,
/// ["tench", ...].
///
/// Throws IoError naming the file: it cannot be read, is neither, or has not `classes` names.
std::vector<std::string> read_class_list(const std::filesystem::path& path, int classes);

/// imagenet_class_index.json of the first folder of weights that has it; empty if none does.
std::filesystem::path find_class_list();

}  // namespace gentrain::trainers
