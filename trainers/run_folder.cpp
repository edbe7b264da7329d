// RunFolder.
#include "trainers/run_folder.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/io/atomic_file.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr std::array<const char*, 7> kFiles = {"job.yaml",     "environment.json", "status.json",
                                               "summary.json", "metrics.jsonl",    "model.h5",
                                               "log.txt"};

}  // namespace

void RunFolder::prepare(bool overwrite) const {
  std::error_code error;
  if (fs::exists(path_ / "status.json", error) || fs::exists(path_ / "model.h5", error)) {
    if (!overwrite) {
      throw JobError(fmt::format(
          "{} holds a run already: start anew over it with --overwrite, or write elsewhere with "
          "--set output=FOLDER",
          path_.string()));
    }
    for (const char* file : kFiles) {
      fs::remove(path_ / file, error);
    }
  }
  fs::create_directories(path_, error);
  if (error) {
    throw IoError(
        fmt::format("the output folder {} cannot be made: {}", path_.string(), error.message()));
  }
  const fs::path probe = path_ / ".probe";
  {
    std::ofstream file(probe);
    file << "x";
    file.flush();
    if (!file) {
      throw IoError(fmt::format("the output folder {} cannot be written to: {}", path_.string(),
                                std::strerror(errno)));
    }
  }
  fs::remove(probe, error);
}

void RunFolder::write_job(const std::string& resolved) const {
  io::write_file_atomically(path_ / "job.yaml", resolved);
}

void RunFolder::write_environment(const nlohmann::json& environment) const {
  io::write_file_atomically(path_ / "environment.json", environment.dump(2) + "\n");
}

void RunFolder::write_status(const std::string& state, std::int64_t step, int exit_code) const {
  const nlohmann::json status = {
      {"state", state}, {"step", step}, {"exit", exit_code}, {"restarts", 0}};
  io::write_file_atomically(path_ / "status.json", status.dump() + "\n");
}

void RunFolder::write_summary(const nlohmann::json& summary) const {
  io::write_file_atomically(path_ / "summary.json", summary.dump(2) + "\n");
}

void RunFolder::append_metrics(const nlohmann::json& line) {
  if (!metrics_.is_open()) {
    metrics_.open(path_ / "metrics.jsonl", std::ios::app);
  }
  metrics_ << line.dump() << '\n';
  metrics_.flush();
  if (!metrics_) {
    throw IoError(fmt::format("{} cannot be written to: {}", (path_ / "metrics.jsonl").string(),
                              std::strerror(errno)));
  }
}

void RunFolder::append_error(const std::string& line) const noexcept {
  try {
    std::error_code error;
    if (fs::exists(log(), error)) {
      std::ofstream(log(), std::ios::app) << line << '\n';
    }
  } catch (...) {  // the error itself is printed anyway
  }
}

}  // namespace gentrain::trainers
