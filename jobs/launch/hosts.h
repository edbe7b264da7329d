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

  /// Has every other host at once remove `folder` and the shared memory of this user's dead ranks,
  /// and waits at most `seconds` for them. One that answers is present; this one always is. Returns
  /// what changed, one text each: "host node7 does not answer and is left out". Throws DeviceError
  /// if the remote shell is not there.
  std::vector<std::string> clean_and_probe(const std::string& folder, double seconds);

  /// Tells of an attempt: the host that mpirun lost (empty: none), and whether the run began. If
  /// the attempt after a loss cannot even begin, the next probe leaves out the lost host although
  /// it answers: the way that mpirun needs may be cut and that of the remote shell not.
  void note_attempt(const std::string& lost, bool began);

  /// Those that answered last time; all of them before the first probe.
  [[nodiscard]] std::vector<HostSlots> present() const;
  /// Ranks for them: what was asked for less the slots of hosts left out, where hosts take more
  /// ranks than slots in proportion to the slots; 0 if no host is there.
  [[nodiscard]] int ranks() const;

 private:
  struct Host {
    HostSlots slots;
    bool present = true;
    bool suspect = false;  // lost, and since then no run began
  };
  std::vector<Host> hosts_;
  int ranks_;
  std::string remote_shell_;
  bool distrust_ = false;  // suspects are not to be used
};

}  // namespace gentrain::jobs
