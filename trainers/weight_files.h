// Where files of pretrained weights are looked for, and which there are.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace gentrain::trainers {

/// BEGIN*.h5 of a folder, by name; none where there is no such folder. Throws IoError naming a
/// folder that cannot be read.
std::vector<std::filesystem::path> weight_files(const std::filesystem::path& folder,
                                                std::string_view begin);

/// The first MODEL*.h5, by name, of $GENTRAIN_DATA/weights, else of data/weights. Throws IoError
/// that says where it was looked for and how to get it, and as weight_files().
std::filesystem::path find_weights_file(const std::string& model);

}  // namespace gentrain::trainers
