// The launcher's own folder on this host, and what dead launchers left behind.
#pragma once

#include <filesystem>
#include <string>

namespace gentrain::jobs {

/// A folder for OpenMPI's session files. Its lock tells a living launcher from a dead one; its name
/// is in the environment of every process that the launcher starts, so that those can be found.
class Workspace {
 public:
  /// Cleans up after launchers of this user that were killed, then makes the folder.
  /// Throws IoError naming it and the reason.
  Workspace();
  /// Removes it.
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// The folder for one attempt's session files, which need not exist.
  [[nodiscard]] std::filesystem::path session() const { return folder_ / "s"; }
  /// Ends what is left of an attempt on this host: processes, shared memory, session files. Returns
  /// the number of processes that were still there.
  int clean() const;

  /// The environment variable that names the launch.
  static constexpr const char* kVariable = "GENTRAIN_LAUNCH_ID";
  /// Its value.
  [[nodiscard]] std::string id() const { return folder_.string(); }

 private:
  std::filesystem::path folder_;
  int lock_ = -1;
};

}  // namespace gentrain::jobs
