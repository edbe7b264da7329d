// What is looked at before the first step, so that a run does not fail hours later for what could
// be known now: the output folder on all hosts, space for checkpoints, memory, clocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "comm/communicator.h"

namespace gentrain::trainers {

/// Checks that every rank sees the output folder that rank 0 holds the lock of (`id`). Collective.
/// Throws CommError naming rank, host and folder.
void check_output_is_shared(comm::Communicator& communicator, const std::filesystem::path& folder,
                            const std::string& id);

/// Throws IoError unless the folder's file system has room for two checkpoints of `bytes`.
void check_space(const std::filesystem::path& folder, std::int64_t bytes);

/// Throws DeviceError if all ranks of this host together want more than the memory that is free;
/// `bytes`: what this rank is still going to allocate at least.
void check_memory(const comm::Communicator& communicator, std::int64_t bytes);

/// Free memory of this host, and within this process's control groups: bytes; none if the host does
/// not say. `root`: where /proc and /sys lie.
std::optional<std::int64_t> available_memory(const std::filesystem::path& root = "/");

/// Largest resident memory of this process so far, MiB.
double peak_rss_mib();

/// Warns of ranks whose clock is off by more than ten seconds. Collective.
void compare_clocks(comm::Communicator& communicator);

}  // namespace gentrain::trainers
