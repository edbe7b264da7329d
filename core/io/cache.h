// A folder of prepared data that many runs and ranks share: one file for each key, made once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gentrain::io {

/// $XDG_CACHE_HOME/gentrain, else ~/.cache/gentrain. Throws IoError if neither variable is set.
std::filesystem::path default_cache_folder();

class Cache {
 public:
  struct Entry {
    std::string key;
    std::uintmax_t bytes = 0;
  };

  /// Nothing is created before the first entry is made.
  explicit Cache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// The file of a key, 64 digits of lower-case hex: the SHA-256 of all that its content depends
  /// on. Where there is none yet, one caller makes it and the others, in any process, wait for
  /// that; if he fails or dies, the next one makes it.
  ///
  /// make  writes the content into a file of the name that it is given. It appears under the key's
  ///       name, whole, when make() has returned.
  /// wait  is called, if it is given, before it waits for somebody who makes the file.
  ///
  /// Throws ShapeError for another key, IoError naming the folder or file, and what make() throws.
  [[nodiscard]] std::filesystem::path get(
      const std::string& key, const std::function<void(const std::filesystem::path&)>& make,
      const std::function<void()>& wait = {}) const;

  /// Puts a file under the key, in place of what is there, unless somebody is making it right now:
  /// false. Waits for nobody, not for the disk either: for what a reader can tell to be damaged.
  /// `make` and errors as in get().
  bool put(const std::string& key,
           const std::function<void(const std::filesystem::path&)>& make) const;

  /// The file of a key if it is there. Throws ShapeError as get().
  [[nodiscard]] std::optional<std::filesystem::path> find(const std::string& key) const;

  /// What is there, by key. None where the folder is not there; throws IoError if it cannot be
  /// read.
  [[nodiscard]] std::vector<Entry> entries() const;
  /// Removes an entry; those who have its file open keep it. False if there is none. Throws
  /// ShapeError as get(), IoError naming the file.
  bool remove(const std::string& key) const;
  /// Removes all entries, and what dead makers left; what is being made stays. Those who have a
  /// file open keep it. Returns what was removed; throws IoError.
  [[nodiscard]] std::vector<Entry> clear() const;

 private:
  [[nodiscard]] std::filesystem::path path(std::string_view key, const char* ending = "") const;
  void make_folder() const;

  std::filesystem::path folder_;
};

}  // namespace gentrain::io
