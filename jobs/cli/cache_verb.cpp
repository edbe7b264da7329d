// gentrain cache [--clear [WHAT]]: what is prepared for later runs.
#include <algorithm>
#include <array>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/image/pack.h"
#include "core/io/cache.h"
#include "core/io/sha256.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/map_cache.h"

namespace gentrain::jobs {

namespace fs = std::filesystem;
namespace po = boost::program_options;

namespace {

constexpr const char* kFaces = "faces";  // a set of them, cut out of photographs
constexpr const char* kMaps = "maps";    // of one image
constexpr const char* kOther = "other";
constexpr std::array kKinds = {kFaces, kMaps, kOther};

struct Listed {
  io::Cache::Entry entry;
  const char* kind = kOther;
};

/// What a file of the cache holds, as its first bytes say.
const char* kind_of(const fs::path& file) {
  try {
    return trainers::begins_as_maps(file) ? kMaps : image::is_pack(file) ? kFaces : kOther;
  } catch (const IoError&) {  // not to be read, or removed meanwhile
    return kOther;
  }
}

std::vector<Listed> list(const io::Cache& cache) {
  std::vector<Listed> listed;
  for (const io::Cache::Entry& entry : cache.entries()) {
    if (const auto file = cache.find(entry.key)) {  // else it was removed meanwhile
      listed.push_back({entry, kind_of(*file)});
    }
  }
  return listed;
}

/// Those of a kind, or the one whose key begins so.
std::vector<Listed> chosen(const std::vector<Listed>& all, const std::string& what,
                           const fs::path& folder) {
  constexpr std::size_t kShown = 3;
  const bool is_kind = std::ranges::find(kKinds, std::string_view(what)) != kKinds.end();
  if (!is_kind && (what.empty() || !io::is_hex(what))) {
    throw JobError(fmt::format(
        "cache: '{}' is neither the beginning of a key, in lower-case hex, nor a kind ({})", what,
        fmt::join(kKinds, ", ")));
  }
  std::vector<Listed> found;
  std::vector<std::string> keys;
  for (const Listed& one : all) {
    if (is_kind ? one.kind == what : one.entry.key.starts_with(what)) {
      found.push_back(one);
      keys.push_back(one.entry.key);
    }
  }
  if (!is_kind && found.empty()) {
    throw JobError(fmt::format("cache: the key of none of the {} entries in {} begins with '{}'",
                               all.size(), folder.string(), what));
  }
  if (!is_kind && found.size() > 1) {
    keys.resize(std::min(keys.size(), kShown));
    throw JobError(fmt::format("cache: the keys of {} entries in {} begin with '{}': {}{}",
                               found.size(), folder.string(), what, fmt::join(keys, ", "),
                               found.size() > kShown ? ", ..." : ""));
  }
  return found;
}

/// Removes what was chosen, or all with `what` null; gives what went.
std::vector<Listed> clear(const io::Cache& cache, const std::string* what, const fs::path& folder) {
  std::vector<Listed> listed = list(cache);
  if (what != nullptr) {
    listed = chosen(listed, *what, folder);
  }
  std::erase_if(listed, [&](const Listed& one) { return !cache.remove(one.entry.key); });
  if (what == nullptr) {
    for (const io::Cache::Entry& entry : cache.clear()) {  // and what dead makers left
      listed.push_back({entry});                           // made meanwhile
    }
  }
  return listed;
}

}  // namespace

int cache_verb(Session& /*session*/, const Arguments& arguments) {
  constexpr const char* kUsage = "gentrain cache [--clear [WHAT]] [--folder FOLDER]";
  OptionSet options(kUsage,
                    "Lists the data that were prepared for later runs: key, kind (faces: a set of "
                    "them cut out of photographs; maps: of one image), bytes. WHAT: the beginning "
                    "of one entry's key, or a kind.");
  options.add_argument("what");
  options.visible.add_options()("clear", "removes them; running jobs keep what they have open")(
      "folder", po::value<std::string>(),
      "another folder than $XDG_CACHE_HOME/gentrain or ~/.cache/gentrain");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const fs::path folder(options.has("folder") ? options.get<std::string>("folder")
                                              : io::default_cache_folder().string());
  const io::Cache cache(folder);
  const bool clears = options.has("clear");
  const std::string* const what = options.has("what") ? &options.get<std::string>("what") : nullptr;
  if (what != nullptr && !clears) {
    throw JobError(fmt::format(
        "cache: '{}' says what to remove, but --clear is missing (usage: {})", *what, kUsage));
  }
  std::uintmax_t total = 0;
  const std::vector<Listed> shown = clears ? clear(cache, what, folder) : list(cache);
  for (const Listed& one : shown) {
    std::cout << fmt::format("{}  {:<5}  {:>14}\n", one.entry.key, one.kind, one.entry.bytes);
    total += one.entry.bytes;
  }
  std::cout << fmt::format("{}: {} entries, {} bytes{}\n", folder.string(), shown.size(), total,
                           clears ? ", removed" : "");
  return kSuccess;
}

}  // namespace gentrain::jobs
