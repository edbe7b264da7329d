// Records as JSON; states as a line with the SHA-256 of what follows: a line of JSON, and the
// image's doubles.
#include "trainers/dream_folder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/io/array_file.h"
#include "core/io/atomic_file.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "trainers/json_members.h"
#include "trainers/run_lock.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

std::string read_text(const fs::path& path) {
  const io::Bytes bytes = io::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data.get()), bytes.size};
}

/// A JSON file; none if it is not there or is no JSON.
std::optional<nlohmann::json> read_json(const fs::path& path) {
  if (!io::is_there(path)) {
    return std::nullopt;
  }
  nlohmann::json json = nlohmann::json::parse(read_text(path), nullptr, false);
  return json.is_object() ? std::optional(std::move(json)) : std::nullopt;
}

/// 0 if it is not there or no count.
std::int64_t count_in(const nlohmann::json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number_unsigned() ? found->get<std::int64_t>() : 0;
}

/// Whether a record or state is that of this dream of this run.
bool is_of(const nlohmann::json& json, const std::string& identity, const DreamKey& key) {
  return text_in(json, "identity") == identity && text_in(json, "sha256") == key.sha256 &&
         json.contains("steps") && json["steps"].is_array();
}

std::string_view bytes_of(const std::vector<double>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)};
}

/// The SHA-256 of the rest of a state, its header and its bytes.
std::string hash_of(std::string_view header, std::string_view values) {
  io::Sha256 hash;
  hash.update(header.data(), header.size());
  hash.update(values.data(), values.size());
  return hash.finish();
}

/// Whether a file is a record or state that some run left for an image.
bool is_of_a_run(const fs::path& file) {
  std::optional<nlohmann::json> json;
  if (file.extension() == ".json") {
    json = read_json(file);
  } else if (file.extension() == ".state") {
    std::ifstream stream(file, std::ios::binary);
    std::string header;
    if (std::getline(stream, header) && std::getline(stream, header)) {
      json = nlohmann::json::parse(header, nullptr, false);
    }
  }
  return json && json->is_object() && !text_in(*json, "identity").empty() &&
         !text_in(*json, "sha256").empty();
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) {
    throw IoError(fmt::format("output: {} cannot be removed: {}", path.string(), error.message()));
  }
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : io::entries_of(folder, error)) {
    if (std::error_code ignored; entry.is_regular_file(ignored)) {
      files.push_back(entry.path());
    }
  }
  if (error) {
    throw IoError(fmt::format("output: {} cannot be read: {}", folder.string(), error.message()));
  }
  return files;
}

/// The pictures behind iterations, and their folder if nothing else is in it.
void remove_pictures(const fs::path& folder) {
  if (std::error_code ignored; !fs::is_directory(folder, ignored)) {
    return;
  }
  for (const fs::path& file : files_in(folder)) {
    const std::string name = file.filename().string();
    if (name.ends_with(".png") && (name.starts_with("iteration_") || name.starts_with("octave_"))) {
      remove_file(file);
    }
  }
  std::error_code ignored;  // it holds other files
  fs::remove(folder, ignored);
}

/// Removes what runs left for each image, records and states last, as they tell of the rest:
/// "001_cat/iteration_01.png", "001_cat.png", "001_cat.state", "001_cat.json".
void remove_dreams(const fs::path& folder) {
  remove_file(folder / "metrics.jsonl");
  for (const fs::path& file : files_in(folder)) {
    if (!is_of_a_run(file)) {
      continue;
    }
    const fs::path stem = fs::path(file).replace_extension();
    remove_pictures(stem);
    if (file.extension() == ".json") {
      remove_file(fs::path(file).replace_extension(".png"));
    }
    remove_file(file);
  }
}

}  // namespace

nlohmann::json to_json(const DreamStep& step, const std::vector<DreamLayer>& layers) {
  nlohmann::json terms = nlohmann::json::object();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    terms[layers[i].name] = step.after.layers.at(i);
  }
  return {{"octave", step.octave + 1},
          {"iteration", step.iteration + 1},
          {"h", step.h},
          {"w", step.w},
          {"before", step.before},
          {"loss", step.after.total()},
          {"layers", std::move(terms)},
          {"continuity", step.after.continuity},
          {"l2", step.after.l2},
          {"evaluations", step.evaluations},
          {"ending", step.ending}};
}

void DreamFolder::make() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    throw IoError(
        fmt::format("output: the folder {} cannot be made: {}", folder_.string(), error.message()));
  }
}

void DreamFolder::require_lock() const {
  if (!run_.empty()) {
    RunLock::require(folder_, run_);
  }
}

void DreamFolder::open(const std::string& resolved, bool anew, bool overwrite) const {
  make();
  const fs::path sign = folder_ / "dreams.json";
  const auto before = read_json(sign);
  const bool other = io::is_there(sign) && (!before || text_in(*before, "identity") != identity_);
  if (other && !anew && !overwrite) {
    throw JobError(fmt::format(
        "output: {} holds the dreams of another job, of other images, weights or libraries: name "
        "another folder, or start over with --overwrite",
        folder_.string()));
  }
  if (io::is_there(sign) && (other || anew || overwrite)) {
    require_lock();
    remove_dreams(folder_);
  }
  io::remove_temporary_files(folder_);
  io::write_file_atomically(folder_ / "job.yaml", resolved, [this] { require_lock(); });
  io::write_file_atomically(sign, nlohmann::json{{"identity", identity_}}.dump(2) + "\n",
                            [this] { require_lock(); });
}

fs::path DreamFolder::path_of(const DreamKey& key, const char* ending) const {
  std::string stem = fs::path(key.name).replace_extension().string();
  std::ranges::replace(stem, '/', '_');  // of a folder's classes
  return folder_ / fmt::format("{:03}_{}{}", key.index + 1, stem, ending);
}

fs::path DreamFolder::dream_file(const DreamKey& key) const {
  return path_of(key, ".png");
}

std::optional<nlohmann::json> DreamFolder::finished(const DreamKey& key) const {
  const auto record = read_json(path_of(key, ".json"));
  if (!record || !is_of(*record, identity_, key) || !io::is_there(dream_file(key))) {
    return std::nullopt;
  }
  return (*record)["steps"];
}

std::optional<DreamFolder::Unfinished> DreamFolder::unfinished(const DreamKey& key) const {
  const fs::path path = path_of(key, ".state");
  io::remove_temporary_files(path_of(key, ""));  // of a killed run
  if (!io::is_there(path)) {
    return std::nullopt;
  }
  const std::string text = read_text(path);
  const std::size_t first = text.find('\n');
  const std::size_t second = first == std::string::npos ? first : text.find('\n', first + 1);
  if (second == std::string::npos) {
    return std::nullopt;
  }
  const std::string_view line = std::string_view(text).substr(first + 1, second - first);
  const std::string_view bytes = std::string_view(text).substr(second + 1);
  if (hash_of(line, bytes) != std::string_view(text).substr(0, first)) {
    return std::nullopt;
  }
  const nlohmann::json header = nlohmann::json::parse(line, nullptr, false);
  if (!header.is_object() || !is_of(header, identity_, key)) {
    return std::nullopt;
  }
  Unfinished found{{count_in(header, "octave"),
                    count_in(header, "iterations"),
                    {count_in(header, "h"), count_in(header, "w"), {}}},
                   header["steps"]};
  constexpr std::int64_t kMostPixels = std::int64_t{1} << 24;  // of a side: far from overflow
  const DreamImage& image = found.state.image;
  if (image.h < 1 || image.w < 1 || image.h > kMostPixels || image.w > kMostPixels) {
    return std::nullopt;
  }
  const auto count = static_cast<std::size_t>(image.h * image.w * 3);
  if (bytes.size() != count * sizeof(double)) {
    return std::nullopt;
  }
  found.state.image.values.resize(count);
  std::memcpy(found.state.image.values.data(), bytes.data(), bytes.size());
  return found;
}

void DreamFolder::save(const DreamKey& key, const DreamState& state, const nlohmann::json& steps,
                       const image::Image& picture, bool has_octaves) const {
  const fs::path pictures = path_of(key, "");
  std::error_code error;
  fs::create_directories(pictures, error);  // what is wrong with it the next line says
  const std::string octave = has_octaves ? fmt::format("octave_{}_", state.octave + 1) : "";
  image::write_png(pictures / fmt::format("{}iteration_{:02}.png", octave, state.iterations),
                   picture, [this] { require_lock(); });
  const std::string_view values = bytes_of(state.image.values);
  const nlohmann::json header = {{"identity", identity_},  {"sha256", key.sha256},
                                 {"octave", state.octave}, {"iterations", state.iterations},
                                 {"h", state.image.h},     {"w", state.image.w},
                                 {"steps", steps}};
  const std::string line = header.dump(-1, ' ', false, kReplace) + "\n";
  const std::string hash = hash_of(line, values) + "\n";
  const std::array<std::string_view, 3> pieces{hash, line, values};
  io::write_file_atomically(path_of(key, ".state"), pieces, [this] { require_lock(); });
}

void DreamFolder::finish(const DreamKey& key, const nlohmann::json& steps,
                         const image::Image& dream) const {
  image::write_png(dream_file(key), dream, [this] { require_lock(); });
  const nlohmann::json record = {
      {"identity", identity_}, {"image", key.name}, {"sha256", key.sha256}, {"steps", steps}};
  io::write_file_atomically(path_of(key, ".json"), record.dump(2, ' ', false, kReplace) + "\n",
                            [this] { require_lock(); });
  std::error_code ignored;  // a state beside a record is passed over
  fs::remove(path_of(key, ".state"), ignored);
}

void DreamFolder::write_metrics(const std::string& lines) const {
  io::write_file_atomically(folder_ / "metrics.jsonl", lines, [this] { require_lock(); });
}

}  // namespace gentrain::trainers
