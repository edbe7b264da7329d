// What the kernel says of a process: /proc/PID/stat.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gentrain::comm {

/// Fields 3, 4, 9 and 22 of proc(5).
struct ProcessStat {
  char state = '\0';        // R, S, D, T, Z, X, ...
  int parent = 0;           // process
  std::uint64_t flags = 0;  // PF_ of the kernel
  std::uint64_t start = 0;  // clock ticks since boot
};

/// The state in the text of a stat file of a process or thread; '\0' if it is not there. Allocates
/// nothing: a child of fork() may call it.
char state_in(std::string_view stat);

/// Of a process by its number, or "self"; nothing if there is none.
std::optional<ProcessStat> read_process_stat(const std::string& process);

}  // namespace gentrain::comm
