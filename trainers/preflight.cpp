// Checks before the first step.
#include "trainers/preflight.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include "kernels/error.h"
#include "trainers/run_lock.h"
#include "trainers/units.h"

namespace gentrain::trainers {

namespace {

/// Whether this host sees the lock; a network file system may show it late.
bool sees_lock(const std::filesystem::path& folder, const std::string& id) {
  constexpr std::chrono::seconds kPatience{5};
  for (const auto start = std::chrono::steady_clock::now();
       std::chrono::steady_clock::now() - start < kPatience;) {
    if (RunLock::owner(folder) == id) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

std::optional<std::int64_t> number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::int64_t number = 0;
  return file >> number ? std::optional(number) : std::nullopt;
}

/// The value of a line "NAME VALUE" or "NAME: VALUE"; 0 if there is none.
std::int64_t value_in(const std::filesystem::path& path, std::string_view wanted) {
  std::ifstream file(path);
  std::string rest;
  for (std::string name; file >> name; std::getline(file, rest)) {
    std::int64_t value = 0;
    if (name == wanted && file >> value) {
      return value;
    }
  }
  return 0;
}

/// What a control group lets its processes still have; none if it sets no limit. What its files
/// hold in the cache is given back when memory is wanted.
std::optional<std::int64_t> free_in_group(const std::filesystem::path& group) {
  const auto most = number_in(group / "memory.max");
  const auto used = number_in(group / "memory.current");
  if (!most || !used) {
    return std::nullopt;
  }
  const std::filesystem::path stat = group / "memory.stat";
  return *most - *used + value_in(stat, "inactive_file") + value_in(stat, "active_file");
}

}  // namespace

void check_output_is_shared(comm::Communicator& communicator, const std::filesystem::path& folder,
                            const std::string& id) {
  if (communicator.size() == 1) {
    return;
  }
  const std::string mine = sees_lock(folder, id) ? "" : communicator.where();
  const auto all = communicator.all_gather_text(mine);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty()) {
      throw CommError(fmt::format(
          "rank {} ({}) does not see the output folder {} that rank 0 writes to: all hosts must "
          "share it, so set `output` to a folder on a shared file system",
          rank, all[rank], folder.string()));
    }
  }
}

void check_space(const std::filesystem::path& folder, std::int64_t bytes) {
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  const auto needed = static_cast<std::uintmax_t>(2 * bytes);
  if (!error && space.available < needed) {
    throw IoError(fmt::format(
        "{}: {:.1f} MiB are free, but two checkpoints take {:.1f} MiB: make room, write elsewhere "
        "with --set output=FOLDER, or set checkpoint.every=never",
        folder.string(), static_cast<double>(space.available) / kMib, mib(2 * bytes)));
  }
}

std::optional<std::int64_t> available_memory(const std::filesystem::path& root) {
  const std::int64_t kib = value_in(root / "proc/meminfo", "MemAvailable:");
  if (kib == 0) {
    return std::nullopt;
  }
  std::int64_t available = kib * 1024;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("0::/")) {  // version 2 alone
      continue;
    }
    // Every group above limits this one too.
    const std::filesystem::path top = root / "sys/fs/cgroup";
    for (std::filesystem::path group = line.substr(4);; group = group.parent_path()) {
      available = std::min(available, free_in_group(top / group).value_or(available));
      if (group.empty()) {
        break;
      }
    }
  }
  return available;
}

void check_memory(std::span<const MemoryNeed> ranks) {
  struct Host {
    int ranks = 0;
    std::int64_t bytes = 0;
    std::int64_t available = std::numeric_limits<std::int64_t>::max();
  };
  std::map<std::string, Host> hosts;
  for (const MemoryNeed& rank : ranks) {
    Host& host = hosts[rank.host];
    ++host.ranks;
    host.bytes += rank.bytes;
    host.available = std::min(host.available, rank.available.value_or(host.available));
  }
  for (const auto& [name, host] : hosts) {
    if (host.bytes > host.available) {
      throw DeviceError(fmt::format(
          "there is not enough memory: {} rank{} on host {} need{} at least {:.0f} MiB, {:.0f} MiB "
          "are free: start fewer ranks a host, or see `gentrain check JOB`",
          host.ranks, host.ranks == 1 ? "" : "s", name, host.ranks == 1 ? "s" : "", mib(host.bytes),
          mib(host.available)));
    }
  }
}

void check_memory(comm::Communicator& communicator, std::int64_t bytes,
                  std::optional<std::int64_t> available) {
  const nlohmann::json mine = {
      {"where", communicator.where()},
      {"bytes", bytes},
      {"available", available ? nlohmann::json(*available) : nlohmann::json(nullptr)}};
  std::vector<MemoryNeed> ranks;
  for (const std::string& text : communicator.all_gather_text(mine.dump())) {
    const nlohmann::json one = nlohmann::json::parse(text);
    const std::string where = one["where"].get<std::string>();  // "host:pid"
    MemoryNeed need{where.substr(0, where.rfind(':')), one["bytes"].get<std::int64_t>(), {}};
    if (!one["available"].is_null()) {
      need.available = one["available"].get<std::int64_t>();
    }
    ranks.push_back(std::move(need));
  }
  check_memory(ranks);
}

double peak_rss_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

void compare_clocks(comm::Communicator& communicator) {
  using std::chrono::system_clock;
  if (communicator.size() == 1) {
    return;
  }
  constexpr double kMost = 10;  // seconds
  communicator.barrier();
  const auto now = std::chrono::duration<double>(system_clock::now().time_since_epoch()).count();
  const auto all = communicator.all_gather_text(fmt::format("{} {}", now, communicator.where()));
  const double first = std::stod(all[0]);
  for (std::size_t rank = 1; communicator.rank() == 0 && rank < all.size(); ++rank) {
    const double off = std::stod(all[rank]) - first;
    if (off > kMost || off < -kMost) {
      spdlog::warn(
          "the clock of rank {} ({}) is off by {:.0f} s against rank 0's: times in the log "
          "do not compare",
          rank, all[rank].substr(all[rank].find(' ') + 1), off);
    }
  }
}

}  // namespace gentrain::trainers
