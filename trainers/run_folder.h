// The output folder of a run: who may write into it, and the files of a run's life.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <nlohmann/json_fwd.hpp>

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

  /// Whether it holds results of a run, or a run is under way there.
  [[nodiscard]] bool holds_run() const;
  /// Creates the folder and tries that it can be written to. Throws JobError if it holds a run
  /// (says how to go on) unless `overwrite`, and IoError with path and reason if it cannot be
  /// written to. An earlier run's files are left alone.
  void prepare(bool overwrite) const;
  /// Removes the files of an earlier run.
  void clear() const;

  /// job.yaml: the resolved job; environment.json: versions, host, contract.
  void write_job(const std::string& resolved) const;
  void write_environment(const nlohmann::json& environment) const;
  /// status.json: what the run is doing: {"state": "running" | "finished" | "failed", "step",
  /// "exit", "restarts"}.
  void write_status(const std::string& state, std::int64_t step, int exit_code) const;
  /// summary.json, once, at the end.
  void write_summary(const nlohmann::json& summary) const;

  /// Adds a line to metrics.jsonl.
  void append_metrics(const nlohmann::json& line);
  /// Adds an error of any rank to log.txt, if that is there.
  void append_error(const std::string& line) const noexcept;

 private:
  std::filesystem::path path_;
  std::ofstream metrics_;
};

}  // namespace gentrain::trainers
