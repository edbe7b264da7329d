// What `gentrain fetch` knows: public data sets and weights, their files, and where those land.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gentrain::jobs {

/// A file on the network. Hashes are lower-case hex, empty where none is known for certain.
struct RemoteFile {
  std::string_view path;               // below the folder of all data: "mnist/x.gz"
  std::vector<std::string_view> urls;  // tried in order
  std::optional<std::uint64_t> bytes{};
  std::string_view sha256{};
  std::string_view md5{};
};

/// What is fetched under one name.
struct RemoteData {
  std::string_view name;
  std::string_view summary;
  std::vector<RemoteFile> files;
  /// Of an archive, which is then the only file: the folder that its content becomes, and the one
  /// in the archive that holds it.
  std::string_view folder{};
  std::string_view inside{};
};

/// All of them, in the order of --list.
const std::vector<RemoteData>& remote_data();

/// The one of that name. Throws JobError with the nearest or all known names.
const RemoteData& find_remote_data(const std::string& name);

/// Where files are looked for instead of the table's places.
struct Mirrors {
  struct OfName {
    std::string name;
    std::string url;  // of the folder that holds the files
  };
  std::vector<OfName> of_names;
  std::string base;  // of all names: holds the files as the folder of all data does; empty: none
};

/// One "NAME=URL". Throws JobError: no such form, an unknown name, no URL.
Mirrors::OfName read_mirror(const std::string& text);

/// The URLs under which a file is to be looked for, in order.
std::vector<std::string> urls_of(const RemoteData& data, const RemoteFile& file,
                                 const Mirrors& mirrors);

}  // namespace gentrain::jobs
