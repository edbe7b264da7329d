// What is looked at before the first step, so that a run does not fail hours later for what could
// be known now: the output folder on all hosts, space for checkpoints, memory, clocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "comm/communicator.h"

namespace gentrain::trainers {

/// Checks that every rank sees the output folder that rank 0 holds the lock of (`id`). Collective.
/// Throws CommError naming rank, host and folder.
void check_output_is_shared(comm::Communicator& communicator, const std::filesystem::path& folder,
                            const std::string& id);

/// Throws IoError unless the folder's file system has room for two checkpoints of `bytes`.
void check_space(const std::filesystem::path& folder, std::int64_t bytes);

/// What a rank is still going to allocate at least, and what is free where it runs.
struct MemoryNeed {
  std::string host;
  std::int64_t bytes = 0;
  std::optional<std::int64_t> available;  // see available_memory()
};

/// Throws DeviceError naming the first host whose ranks together need more than is free there; of
/// what they say is free the least counts.
void check_memory(std::span<const MemoryNeed> ranks);
/// The same of the ranks of a run, of which this one gives its `bytes` and `available`. Collective:
/// throws on all ranks or on none.
void check_memory(comm::Communicator& communicator, std::int64_t bytes,
                  std::optional<std::int64_t> available);

/// Free memory of this host, and within this process's control groups: bytes; none if the host does
/// not say. `root`: where /proc and /sys lie.
std::optional<std::int64_t> available_memory(const std::filesystem::path& root = "/");

/// Largest resident memory of this process so far, MiB.
double peak_rss_mib();

/// Warns of ranks whose clock is off by more than ten seconds. Collective.
void compare_clocks(comm::Communicator& communicator);

}  // namespace gentrain::trainers
