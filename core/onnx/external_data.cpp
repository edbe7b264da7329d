// External data of tensors: files beside the model. Nothing outside of its folder is opened.
#include <algorithm>
#include <charconv>
#include <system_error>

#include <fcntl.h>

#include "core/io/posix_file.h"
#include "core/onnx/constant.h"

namespace gentrain::onnx {
namespace {

namespace fs = std::filesystem;

/// Where a tensor's external data are, as the file says it.
struct Place {
  std::string location;
  std::int64_t offset = 0;
  std::int64_t length = -1;  // -1: not given
};

std::int64_t number_of(const Tensor& tensor, const std::string& key, const std::string& text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || last != end || number < 0) {
    refuse("tensor {}: the {} of its external data is '{}', a number of bytes is needed",
           tensor.name, key, text);
  }
  return number;
}

Place place_of(const Tensor& tensor) {
  Place place;
  for (const auto& [key, value] : tensor.external_data) {
    if (key == "location") {
      place.location = value;
    } else if (key == "offset") {
      place.offset = number_of(tensor, key, value);
    } else if (key == "length") {
      place.length = number_of(tensor, key, value);
    } else if (key != "checksum") {
      refuse("tensor {}: its external data have the unknown key '{}'", tensor.name, key);
    }
  }
  if (place.location.empty()) {
    refuse("tensor {}: its external data have no location", tensor.name);
  }
  return place;
}

/// The file, links followed. Throws IoError unless it lies in the folder or below.
fs::path inside(const fs::path& folder, const Tensor& tensor, const std::string& location) {
  const fs::path relative(location);
  bool leaves = relative.is_absolute() || location.find('\0') != std::string::npos;
  for (const fs::path& part : relative) {
    leaves = leaves || part == "..";
  }
  if (leaves) {
    refuse("tensor {}: its external data lie in '{}', a path inside the model's folder is needed",
           tensor.name, location);
  }
  std::error_code error;
  const fs::path root = fs::canonical(folder.empty() ? fs::path(".") : folder, error);
  fs::path file = error ? fs::path() : fs::canonical(root / relative, error);
  if (error) {
    refuse("tensor {}: its external data {} cannot be opened: {}", tensor.name,
           (folder / relative).string(), error.message());
  }
  const auto [end, ignored] = std::mismatch(root.begin(), root.end(), file.begin(), file.end());
  if (end != root.end()) {
    refuse("tensor {}: its external data '{}' lead out of the model's folder", tensor.name,
           location);
  }
  return file;
}

}  // namespace

std::string ExternalData::read(const Tensor& tensor, std::int64_t bytes, Budget& budget) {
  const Place place = place_of(tensor);
  const fs::path path = inside(folder_, tensor, place.location);
  const io::PosixFile file(path, O_RDONLY | O_NONBLOCK);
  file.require_regular();
  const auto size = static_cast<std::int64_t>(file.size());
  if (place.length >= 0 && place.length != bytes) {
    refuse("tensor {} {}: {} bytes are needed but its external data have {}", tensor.name,
           text_of(tensor.dims), bytes, place.length);
  }
  if (place.offset > size || bytes > size - place.offset) {
    refuse("tensor {}: its external data are {} bytes from {} on of {}, which has {}", tensor.name,
           bytes, place.offset, path.string(), size);
  }
  if (granted_.emplace(path.string(), true).second) {
    budget.grant(2 * size);
  }
  budget.charge(bytes);
  std::string data(static_cast<std::size_t>(bytes), '\0');
  file.read_at(static_cast<std::size_t>(place.offset), data.data(), data.size());
  if (!hash_) {
    hash_.emplace();
  }
  hash_->update(data.data(), data.size());
  return data;
}

}  // namespace gentrain::onnx
