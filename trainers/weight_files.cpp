// Listing files of weights.
#include "trainers/weight_files.h"

#include <algorithm>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "trainers/data_source.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

std::vector<fs::path> weight_files(const fs::path& folder, std::string_view begin) {
  std::vector<fs::path> found;
  if (!io::is_there(folder)) {
    return found;
  }
  std::error_code error;
  for (const fs::directory_entry& file : io::entries_of(folder, error)) {
    const std::string name = file.path().filename();
    if (name.starts_with(begin) && name.ends_with(".h5")) {
      found.push_back(file.path());
    }
  }
  if (error) {
    throw IoError(
        fmt::format("{}: the folder cannot be read: {}", folder.string(), error.message()));
  }
  std::sort(found.begin(), found.end());
  return found;
}

fs::path find_weights_file(const std::string& model) {
  const std::vector<fs::path> folders = data_folders({}, "weights");
  for (const fs::path& folder : folders) {
    const std::vector<fs::path> files = weight_files(folder, model);
    if (!files.empty()) {
      return files.front();
    }
  }
  throw IoError(fmt::format(
      "the weights of {0} are not there: {0}*.h5 was looked for in {1}. Put the file of Keras "
      "Applications into one of them, set GENTRAIN_DATA or weights.file, or take weights: random, "
      "which have learned nothing",
      model, joined(folders)));
}

}  // namespace gentrain::trainers
