// The hosts of a launch: which of them answer, and what that leaves.
#pragma once

#include <string>
#include <vector>

#include "jobs/launch/options.h"

namespace gentrain::jobs {

/// Hosts of -H that come and go between attempts. Without -H there are none to choose from.
class HostPool {
 public:
  /// `ranks` are what is asked for when all hosts are there.
  HostPool(std::vector<HostSlots> hosts, int ranks, std::string remote_shell);

  /// Has every other host at once remove what an attempt left in `folder` and in shared memory, and
  /// waits at most `seconds` for them. One that answers is present; this one always is.
  /// Returns what changed, one text each: "host node7 does not answer and is left out".
  /// Throws DeviceError if the remote shell is not there.
  std::vector<std::string> clean_and_probe(const std::string& folder, double seconds);

  /// Those that answered last time; all of them before the first probe.
  [[nodiscard]] std::vector<HostSlots> present() const;
  /// Ranks for them: what was asked for less the slots of hosts left out, where hosts take more
  /// ranks than slots in proportion to the slots; 0 if no host is there.
  [[nodiscard]] int ranks() const;

 private:
  struct Host {
    HostSlots slots;
    bool present = true;
  };
  std::vector<Host> hosts_;
  int ranks_;
  std::string remote_shell_;
};

}  // namespace gentrain::jobs
