// RunFolder.
#include "trainers/run_folder.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
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

std::int64_t restarts() {
  const char* const text = std::getenv("GENTRAIN_RESTARTS");
  std::int64_t count = 0;
  if (text != nullptr) {
    const auto [end, error] = std::from_chars(text, text + std::strlen(text), count);
    if (error != std::errc() || *end != '\0' || count < 0) {
      throw JobError(fmt::format("GENTRAIN_RESTARTS={}: must be a whole number from 0 on", text));
    }
  }
  return count;
}

bool RunFolder::holds_run() const {
  std::error_code error;
  for (const char* file : {"model.h5", "summary.json", "metrics.jsonl"}) {
    if (fs::exists(path_ / file, error)) {
      return true;
    }
  }
  std::ifstream status(path_ / "status.json");
  const nlohmann::json json = nlohmann::json::parse(status, nullptr, false);
  return json.is_object() && json.value("state", "") == "running";
}

void RunFolder::clear() const {
  std::error_code error;
  for (const char* file : kFiles) {
    fs::remove(path_ / file, error);
  }
}

void RunFolder::prepare(bool overwrite) const {
  if (holds_run() && !overwrite) {
    throw JobError(fmt::format(
        "{} holds a run already: start anew over it with --overwrite, or write elsewhere with "
        "--set output=FOLDER",
        path_.string()));
  }
  std::error_code error;
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

namespace {

/// Texts that are not UTF-8, such as paths, lose what is not.
std::string dump(const nlohmann::json& json, int indent = -1) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

void RunFolder::write_job(const std::string& resolved) const {
  io::write_file_atomically(path_ / "job.yaml", resolved);
}

void RunFolder::write_environment(const nlohmann::json& environment) const {
  io::write_file_atomically(path_ / "environment.json", dump(environment, 2) + "\n");
}

void RunFolder::write_status(const std::string& state, std::int64_t step, int exit_code) const {
  const nlohmann::json status = {
      {"state", state}, {"step", step}, {"exit", exit_code}, {"restarts", restarts()}};
  io::write_file_atomically(path_ / "status.json", dump(status) + "\n");
}

void RunFolder::write_summary(const nlohmann::json& summary) const {
  io::write_file_atomically(path_ / "summary.json", dump(summary, 2) + "\n");
}

void RunFolder::append_metrics(const nlohmann::json& line) {
  if (!metrics_.is_open()) {
    metrics_.open(path_ / "metrics.jsonl", std::ios::app);
  }
  metrics_ << dump(line) << '\n';
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
