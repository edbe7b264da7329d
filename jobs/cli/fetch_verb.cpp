// gentrain fetch NAME...: public data sets and weights, to where jobs look for them.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "comm/communicator.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "core/net/download.h"
#include "core/net/unpack.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/fetch_table.h"
#include "jobs/cli/options.h"
#include "jobs/cli/terminal.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/data_source.h"

namespace gentrain::jobs {

namespace fs = std::filesystem;
namespace po = boost::program_options;

namespace {

constexpr const char* kSynopsis = "gentrain fetch NAME|URL... [options]";

/// Where and how everything is fetched.
struct Plan {
  fs::path root;  // of all data
  Mirrors mirrors;
  net::Limits limits;
};

double mebibytes(std::uint64_t bytes) {
  return static_cast<double>(bytes) / (1024.0 * 1024.0);
}

/// A line that is written over and over, where somebody watches.
class ProgressLine {
 public:
  explicit ProgressLine(std::string name) : name_(std::move(name)) {}
  ~ProgressLine() {
    if (shown_) {
      std::cout << "\r\033[K" << std::flush;
    }
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(std::uint64_t bytes, std::optional<std::uint64_t> total) {
    constexpr auto kEvery = std::chrono::milliseconds(200);
    const auto now = std::chrono::steady_clock::now();
    if (!terminal_ || now - last_ < kEvery) {
      return;
    }
    last_ = now;
    shown_ = true;
    std::cout << fmt::format("\r\033[K{}  {:.1f}{} MiB", name_, mebibytes(bytes),
                             total ? fmt::format(" of {:.1f}", mebibytes(*total)) : "")
              << std::flush;
  }

 private:
  std::string name_;
  bool terminal_ = on_terminal();
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_;
};

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw IoError(fmt::format("{}: it cannot be made: {}", folder.string(), error.message()));
  }
}

/// Fetches a file from the first URL whose server gives it; an error of this machine is the end.
net::FileFacts fetch_new(const std::vector<std::string>& urls, const fs::path& path,
                         const net::Expected& expected, const net::Limits& limits) {
  make_folder(path.parent_path());
  for (std::size_t i = 0;; ++i) {
    try {
      ProgressLine line(path.string());
      return net::download(urls[i], path, expected, limits,
                           [&line](auto bytes, auto total) { line.show(bytes, total); });
    } catch (const net::TransferError& error) {
      if (i + 1 == urls.size()) {
        throw;
      }
      std::cout << fmt::format("{}; {} is tried\n", error.what(), net::shown_url(urls[i + 1]))
                << std::flush;
    }
  }
}

/// Fetches a file unless it is there; true if it was fetched.
bool fetch_file(const std::vector<std::string>& urls, const fs::path& path,
                const net::Expected& expected, const net::Limits& limits) {
  const bool there = io::is_there(path);
  net::FileFacts facts;
  if (there) {
    try {
      facts = net::check_file(path, expected);
    } catch (const IoError& error) {
      throw IoError(fmt::format("{}; remove it to have it fetched", error.what()));
    }
  } else {
    facts = fetch_new(urls, path, expected, limits);
  }
  std::cout << fmt::format("{}: {}, {} bytes, SHA-256 {}\n", path.string(),
                           there ? "is there" : "fetched", facts.bytes, facts.sha256)
            << std::flush;
  return !there;
}

bool fetch_file(const RemoteData& data, const RemoteFile& file, const Plan& plan) {
  return fetch_file(urls_of(data, file, plan.mirrors), plan.root / file.path,
                    {file.bytes, std::string(file.sha256), std::string(file.md5)}, plan.limits);
}

bool is_empty_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) && fs::is_empty(path, ignored);
}

/// Removes an archive whose content is there; words on what became of it.
std::string remove_archive(const fs::path& archive) {
  std::error_code error;
  fs::remove(archive, error);
  return error ? fmt::format("; {} cannot be removed: {}", archive.string(), error.message())
               : fmt::format("; {} is removed", archive.string());
}

void fetch_archive(const RemoteData& data, const Plan& plan) {
  const fs::path folder = plan.root / data.folder;
  if (io::is_there(folder) && !is_empty_folder(folder)) {
    std::cout << fmt::format("{}: is there\n", folder.string());
    return;
  }
  const RemoteFile& file = data.files.front();
  const fs::path archive = plan.root / file.path;
  const bool fetched = fetch_file(data, file, plan);
  if (is_empty_folder(folder)) {  // unpack() makes it
    std::error_code error;
    fs::remove(folder, error);
    if (error) {
      throw IoError(fmt::format("{}: it cannot be removed: {}", folder.string(), error.message()));
    }
  }
  const net::Unpacked unpacked = net::unpack(archive, folder, std::string(data.inside));
  std::cout << fmt::format("{}: unpacked, {} files, {} bytes{}\n", folder.string(), unpacked.files,
                           unpacked.bytes, fetched ? remove_archive(archive) : "");
}

void list_all(const Plan& plan) {
  for (const RemoteData& data : remote_data()) {
    std::cout << fmt::format("{:<17} {}\n", data.name, data.summary);
    for (const RemoteFile& file : data.files) {
      const bool is_archive = !data.folder.empty();
      std::cout << fmt::format("  {}{}\n",
                               (plan.root / (is_archive ? data.folder : file.path)).string(),
                               file.bytes ? fmt::format(", {} bytes", *file.bytes) : "");
      for (const std::string& url : urls_of(data, file, plan.mirrors)) {
        std::cout << fmt::format("    {}\n", net::shown_url(url));
      }
    }
  }
}

void fetch_data(const RemoteData& data, const Plan& plan) {
  if (!data.folder.empty()) {
    fetch_archive(data, plan);
    return;
  }
  for (const RemoteFile& file : data.files) {
    fetch_file(data, file, plan);
  }
}

/// A number of seconds of an option.
double seconds(const OptionSet& options, const std::string& name) {
  constexpr double kMost = 1e6;
  const auto value = options.get<double>(name);
  if (!(value > 0 && value <= kMost)) {
    throw JobError(fmt::format("--{} {}: must be above 0 and at most {} seconds", name, value,
                               static_cast<int>(kMost)));
  }
  return value;
}

Plan make_plan(const OptionSet& options) {
  constexpr int kMostTries = 100;
  Plan plan;
  plan.root = options.has("to") ? fs::path(options.get<std::string>("to"))
                                : trainers::data_folders({}, "any").front().parent_path();
  if (const char* base = std::getenv("GENTRAIN_MIRROR"); base != nullptr && *base != '\0') {
    if (!net::is_url(base)) {
      throw JobError(fmt::format(
          "GENTRAIN_MIRROR is '{}': a URL that begins with http:// or https:// is needed", base));
    }
    plan.mirrors.base = base;
  }
  if (options.has("mirror")) {
    for (const std::string& text : options.get<std::vector<std::string>>("mirror")) {
      plan.mirrors.of_names.push_back(read_mirror(text));
    }
  }
  plan.limits.stall_s = seconds(options, "stall");
  plan.limits.total_s = seconds(options, "time");
  plan.limits.tries = options.get<int>("tries");
  if (plan.limits.tries < 1 || plan.limits.tries > kMostTries) {
    throw JobError(fmt::format("--tries {}: must be at least 1 and at most {}", plan.limits.tries,
                               kMostTries));
  }
  return plan;
}

/// --sha256, for a single URL; or "".
std::string sha256_of(const OptionSet& options, const std::vector<std::string>& names) {
  constexpr std::size_t kDigits = 64;
  if (!options.has("sha256")) {
    return "";
  }
  const auto& sha256 = options.get<std::string>("sha256");
  if (sha256.size() != kDigits || !io::is_hex(sha256)) {
    throw JobError(fmt::format("--sha256 '{}': 64 digits of lower-case hex are needed", sha256));
  }
  if (names.size() != 1 || !net::is_url(names.front())) {
    throw JobError("--sha256 is for a single URL; the hashes of names are known");
  }
  return sha256;
}

/// What the file of a URL is called: the last part of its path.
std::string name_of_file(const std::string& url) {
  const std::string path = url.substr(0, url.find_first_of("?#"));
  const std::size_t host = path.find("://") + 3;
  const std::size_t slash = path.rfind('/');
  const std::string name = slash < host ? "" : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") {
    throw JobError(fmt::format("fetch: '{}' names no file: its path has to end with a name",
                               net::shown_url(url)));
  }
  return name;
}

}  // namespace

int fetch_verb(Session& /*session*/, const Arguments& arguments) {
  OptionSet options(kSynopsis,
                    "Fetches public data sets and weights to where jobs look for them: "
                    "$GENTRAIN_DATA, else data. A URL's file lands in that folder itself.\n"
                    "A transfer that broke off is gone on with; what is there is verified and "
                    "left.");
  options.add_arguments("names");
  options.visible.add_options()("list", "the names, with files, sizes and URLs; fetches nothing")(
      "to", po::value<std::string>(), "the folder of all data, in place of $GENTRAIN_DATA or data")(
      "mirror", po::value<std::vector<std::string>>()->composing(),
      "NAME=URL: the files of NAME are in the folder URL. For all names: GENTRAIN_MIRROR=URL, of a "
      "folder laid out as the one of all data")("sha256", po::value<std::string>(),
                                                "the hash that the file of a URL must have")(
      "stall", po::value<double>()->default_value(30),
      "seconds without 100 bytes a second that end a try")(
      "time", po::value<double>()->default_value(21600), "seconds that one file may take")(
      "tries", po::value<int>()->default_value(3), "of a file whose server or connection fails");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const Plan plan = make_plan(options);
  if (comm::launched_rank() > 0) {
    return kSuccess;
  }
  if (options.has("list")) {
    list_all(plan);
    return kSuccess;
  }
  if (!options.has("names")) {
    throw JobError(fmt::format(
        "fetch: what to fetch is missing, --list shows the names (usage: {})", kSynopsis));
  }
  const auto& names = options.get<std::vector<std::string>>("names");
  const std::string sha256 = sha256_of(options, names);
  for (const std::string& name : names) {  // all are looked at before the first is fetched
    if (net::is_url(name)) {
      name_of_file(name);
    } else {
      find_remote_data(name);
    }
  }
  for (const std::string& name : names) {
    if (net::is_url(name)) {
      fetch_file({name}, plan.root / name_of_file(name), {std::nullopt, sha256, ""}, plan.limits);
    } else {
      fetch_data(find_remote_data(name), plan);
    }
  }
  return kSuccess;
}

}  // namespace gentrain::jobs
