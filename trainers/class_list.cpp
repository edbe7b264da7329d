// Class lists as JSON.
#include "trainers/class_list.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "trainers/data_source.h"

namespace gentrain::trainers {

namespace {

std::vector<std::string> names_of(const nlohmann::json& json) {
  if (json.is_array()) {
    return json.get<std::vector<std::string>>();
  }
  std::vector<std::string> names(json.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    names[i] = json.at(std::to_string(i)).at(1).get<std::string>();
  }
  return names;
}

}  // namespace

std::vector<std::string> read_class_list(const std::filesystem::path& path, int classes) {
  const io::Bytes bytes = io::read_file(path);
  std::vector<std::string> names;
  try {
    names = names_of(nlohmann::json::parse(bytes.data.get(), bytes.data.get() + bytes.size));
  } catch (const nlohmann::json::exception& error) {
    throw IoError(
        fmt::format("{}: is no list of classes: a class index as Keras has it, or a list of names, "
                    "was expected: {}",
                    path.string(), error.what()));
  }
  if (std::ssize(names) != classes) {
    throw IoError(fmt::format("{}: names {} classes, the model has {}", path.string(), names.size(),
                              classes));
  }
  return names;
}

std::filesystem::path find_class_list() {
  for (const std::filesystem::path& folder : data_folders({}, "weights")) {
    const std::filesystem::path file = folder / "imagenet_class_index.json";
    if (io::is_there(file)) {
      return file;
    }
  }
  return {};
}

}  // namespace gentrain::trainers
