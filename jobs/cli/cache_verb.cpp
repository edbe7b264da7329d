// gentrain cache [--clear]: what is prepared for later runs.
#include <iostream>

#include <fmt/format.h>

#include "core/io/cache.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

int cache_verb(Session& /*session*/, const Arguments& arguments) {
  OptionSet options("gentrain cache [--clear] [--folder FOLDER]",
                    "Lists the data that were prepared for later runs, with their sizes in bytes.");
  options.visible.add_options()("clear", "removes them; running jobs keep what they have open")(
      "folder", po::value<std::string>(),
      "another folder than $XDG_CACHE_HOME/gentrain or ~/.cache/gentrain");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const std::filesystem::path folder(options.has("folder") ? options.get<std::string>("folder")
                                                           : io::default_cache_folder().string());
  const io::Cache cache(folder);
  const bool clears = options.has("clear");
  const std::vector<io::Cache::Entry> entries = clears ? cache.clear() : cache.entries();
  std::uintmax_t total = 0;
  for (const io::Cache::Entry& entry : entries) {
    std::cout << fmt::format("{}  {:>14}\n", entry.key, entry.bytes);
    total += entry.bytes;
  }
  std::cout << fmt::format("{}: {} entries, {} bytes{}\n", folder.string(), entries.size(), total,
                           clears ? ", removed" : "");
  return kSuccess;
}

}  // namespace gentrain::jobs
