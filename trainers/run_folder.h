// The output folder of a run: who may write into it, and the files of a run's life.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/image/image.h"

namespace gentrain::trainers {

/// How often a launcher had to start this run anew, by its word in GENTRAIN_RESTARTS; 0 without.
/// Throws JobError if that is no whole number from 0 on.
std::int64_t restarts();

/// Used by rank 0 alone, but for path(), and append_error() and write_status() of a rank that
/// fails.
class RunFolder {
 public:
  /// A folder that need not exist yet; nothing is touched.
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path model() const { return path_ / "model.h5"; }
  [[nodiscard]] std::filesystem::path log() const { return path_ / "log.txt"; }
  /// The checkpoint behind so many steps: checkpoints/step-000000150.h5.
  [[nodiscard]] std::filesystem::path checkpoint(std::int64_t step) const;
  /// The steps of the checkpoints that are there, ascending. Throws IoError if the folder is there
  /// but cannot be listed.
  [[nodiscard]] std::vector<std::int64_t> checkpoints() const;

  /// Whether it holds results of a run, or a run is under way there.
  [[nodiscard]] bool holds_run() const;
  /// Creates the folder and tries that it can be written to. Throws IoError with path and reason.
  /// An earlier run's files are left alone.
  void prepare() const;
  /// What becomes of an earlier run's files: all stay for one that goes on; those of its
  /// checkpoints that cannot be read stay for one that starts again; all go for another run. What
  /// killed writers left goes always.
  enum class Earlier : std::uint8_t { kStays, kCheckpointsStay, kGoes };
  void make_ready(Earlier earlier) const;
  /// Removes what killed writers left; for one who knows that nobody writes there.
  void remove_temporary_files() const;
  /// Removes the checkpoints of later steps than `step`, the newest first, before the run goes back
  /// behind them. Throws IoError.
  void remove_checkpoints_behind(std::int64_t step) const;

  /// From here on what writes here does so as the run that holds the lock under this id.
  void write_as(std::string id) { id_ = std::move(id); }
  /// Throws LostLockError naming the owner unless that run still holds it. Called before every
  /// write.
  void check_lock() const;

  /// run.json: which run this is, for those that go on with it.
  void write_run(const nlohmann::json& run) const;
  /// What run.json says; null if there is none or it cannot be read.
  [[nodiscard]] nlohmann::json read_run() const;
  /// Whether a run came to its end here: status.json says so, and summary.json is there.
  [[nodiscard]] bool is_finished() const;

  /// job.yaml: the resolved job; environment.json: versions, host, contract.
  void write_job(const std::string& resolved) const;
  void write_environment(const nlohmann::json& environment) const;
  /// status.json: what the run is doing: {"state": "running" | "finished" | "failed" | "stopped",
  /// "step", "exit", "restarts"}.
  void write_status(const std::string& state, std::int64_t step, int exit_code) const;
  /// The state "running"; where it cannot be written a warning is logged, once, and the run goes
  /// on.
  void try_write_status(std::int64_t step);
  /// summary.json, once, at the end.
  void write_summary(const nlohmann::json& summary) const;

  /// Writes samples/FILE, a PNG. Throws IoError with path and reason.
  void write_picture(const std::string& file, const image::Image& image) const;

  /// Adds a line to metrics.jsonl. On a full disk lines are kept and written later: the first time
  /// a warning is logged.
  void append_metrics(const nlohmann::json& line);
  /// Writes the lines that were kept. Throws IoError with path and reason.
  void flush_metrics();
  /// Forces metrics.jsonl to disk, if it is there. Any thread. Throws IoError.
  void sync_metrics() const;
  /// Leaves the lines of metrics.jsonl up to step `step`; where `goes_on`, without those that are
  /// there only because a stage ended with that step. Throws IoError.
  void cut_metrics(std::int64_t step, bool goes_on) const;
  /// Adds an error of any rank to log.txt, if that is there and the lock is still held.
  void append_error(const std::string& line) const noexcept;

 private:
  /// Atomically; the lock is looked at right before the file gets its name.
  void write(const char* file, const std::string& content) const;
  /// Logs that a file cannot be written to, the first time.
  void warn(const char* file, const std::string& reason, const char* consequence);
  /// Appends what is kept; the reason why not, or nothing.
  std::string try_append();

  std::filesystem::path path_;
  std::string id_;       // of the run that writes; empty: without a lock
  std::string pending_;  // lines that are not in metrics.jsonl yet
  bool warned_ = false;
};

}  // namespace gentrain::trainers
