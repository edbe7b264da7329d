// RunFolder.
#include "trainers/run_folder.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "core/io/atomic_file.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "trainers/json_members.h"
#include "trainers/run_lock.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

// In this order they go: whatever is left when that is cut off, run.json says whose it is.
constexpr std::array<const char*, 11> kFiles = {
    "model.h5",      "summary.json", "metrics.jsonl", "evaluation.json",
    "confusion.png", "mistakes.png", "job.yaml",      "environment.json",
    "log.txt",       "status.json",  "run.json"};

nlohmann::json json_in(const fs::path& path) {
  std::ifstream file(path);
  nlohmann::json json = nlohmann::json::parse(file, nullptr, false);
  return json.is_object() ? json : nlohmann::json();
}

std::string checkpoint_name(std::int64_t step) {
  return fmt::format("step-{:09}.h5", step);
}

/// The step in a checkpoint's name, or -1.
std::int64_t step_in(const std::string& name) {
  std::int64_t step = -1;
  const bool numbered = std::sscanf(name.c_str(), "step-%" SCNd64, &step) == 1;
  return numbered && step >= 0 && checkpoint_name(step) == name ? step : -1;
}

/// Makes a folder and those above it, and their names safe. Throws IoError.
void make_folder(const fs::path& path) {
  std::error_code error;
  std::vector<fs::path> missing;
  for (fs::path one = fs::absolute(path); !fs::exists(one, error); one = one.parent_path()) {
    missing.push_back(one);
  }
  fs::create_directories(path, error);
  if (error) {
    throw IoError(
        fmt::format("the output folder {} cannot be made: {}", path.string(), error.message()));
  }
  for (const fs::path& one : missing) {
    io::sync_folder(one.parent_path());
  }
}

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
  for (const char* file : {"run.json", "model.h5", "summary.json", "metrics.jsonl"}) {
    if (fs::exists(path_ / file, error)) {
      return true;
    }
  }
  const nlohmann::json status = json_in(path_ / "status.json");
  return !checkpoints().empty() || (status.is_object() && status.value("state", "") == "running");
}

fs::path RunFolder::checkpoint(std::int64_t step) const {
  return path_ / "checkpoints" / checkpoint_name(step);
}

std::vector<std::int64_t> RunFolder::checkpoints() const {
  std::vector<std::int64_t> steps;
  std::error_code error;
  const fs::directory_iterator entries(path_ / "checkpoints", error);
  if (error && error != std::errc::no_such_file_or_directory) {
    throw IoError(
        fmt::format("{} cannot be listed: {}", (path_ / "checkpoints").string(), error.message()));
  }
  for (const auto& entry : entries) {
    if (const std::int64_t step = step_in(entry.path().filename().string()); step >= 0) {
      steps.push_back(step);
    }
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

namespace {

constexpr const char* kPictureFolder = "samples";

void remove_kept_pictures(const fs::path& folder) {
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder, error)) {
    if (file.path().extension() == ".png") {
      fs::remove(file.path(), error);
    }
  }
}

}  // namespace

void RunFolder::write_picture(const std::string& file, const image::Image& image) const {
  check_lock();
  make_folder(path_ / kPictureFolder);
  image::write_png(path_ / kPictureFolder / file, image);
}

void RunFolder::make_ready(Earlier earlier) const {
  check_lock();
  remove_temporary_files();
  std::error_code error;
  if (earlier == Earlier::kGoes) {
    remove_checkpoints_behind(-1);
    remove_kept_pictures(path_ / kPictureFolder);
  }
  if (earlier != Earlier::kStays) {
    for (const char* file : kFiles) {
      fs::remove(path_ / file, error);
    }
  }
  fs::create_directories(path_ / "checkpoints", error);
  if (error) {
    throw IoError(fmt::format("the output folder {} cannot be written to: {}", path_.string(),
                              error.message()));
  }
}

void RunFolder::remove_temporary_files() const {
  io::remove_temporary_files(path_);
  io::remove_temporary_files(path_ / "checkpoints");
  io::remove_temporary_files(path_ / kPictureFolder);
}

void RunFolder::remove_checkpoints_behind(std::int64_t step) const {
  std::vector<std::int64_t> steps = checkpoints();
  std::erase_if(steps, [step](std::int64_t one) { return one <= step; });
  // The newest first: when that is cut off, none is left that those before it do not lead to.
  std::error_code error;
  for (auto one = steps.rbegin(); one != steps.rend(); ++one) {
    fs::remove(checkpoint(*one), error);
  }
  if (!steps.empty()) {
    io::sync_folder(path_ / "checkpoints");
  }
}

void RunFolder::check_lock() const {
  if (!id_.empty()) {
    RunLock::require(path_, id_);
  }
}

void RunFolder::prepare() const {
  make_folder(path_);
  // A name that remove_temporary_files() takes, should this be killed.
  const fs::path probe = path_ / fmt::format(".probe.{}.tmp", ::getpid());
  std::error_code error;
  errno = 0;
  std::ofstream file(probe);
  file << "x";
  file.close();
  const int reason = errno;
  const bool failed = file.fail();
  fs::remove(probe, error);
  if (failed) {
    throw IoError(fmt::format("the output folder {} cannot be written to: {}", path_.string(),
                              std::strerror(reason)));
  }
}

namespace {

/// Texts that are not UTF-8, such as paths, lose what is not.
std::string dump(const nlohmann::json& json, int indent = -1) {
  return json.dump(indent, ' ', false, kReplace);
}

}  // namespace

void RunFolder::write(const char* file, const std::string& content) const {
  io::write_file_atomically(path_ / file, content, [this] { check_lock(); });
}

void RunFolder::write_run(const nlohmann::json& run) const {
  write("run.json", dump(run, 2) + "\n");
}

nlohmann::json RunFolder::read_run() const {
  return json_in(path_ / "run.json");
}

bool RunFolder::is_finished() const {
  std::error_code error;
  const nlohmann::json status = json_in(path_ / "status.json");
  return status.is_object() && status.value("state", "") == "finished" &&
         fs::exists(path_ / "summary.json", error);
}

void RunFolder::write_job(const std::string& resolved) const {
  write("job.yaml", resolved);
}

void RunFolder::write_environment(const nlohmann::json& environment) const {
  write("environment.json", dump(environment, 2) + "\n");
}

void RunFolder::write_status(const std::string& state, std::int64_t step, int exit_code) const {
  const nlohmann::json status = {
      {"state", state}, {"step", step}, {"exit", exit_code}, {"restarts", restarts()}};
  const std::string text = dump(status) + "\n";
  const auto check = [this] { check_lock(); };
  if (state == "running" && step > 0) {  // behind soon: not worth the time of a flush
    io::replace_file(path_ / "status.json", text, check);
  } else {
    io::write_file_atomically(path_ / "status.json", text, check);
  }
}

void RunFolder::write_summary(const nlohmann::json& summary) const {
  write("summary.json", dump(summary, 2) + "\n");
}

void RunFolder::try_write_status(std::int64_t step) {
  check_lock();
  try {
    write_status("running", step, 0);
  } catch (const IoError& error) {
    warn("status.json", error.what(), "it is behind until it can");
  }
}

void RunFolder::append_metrics(const nlohmann::json& line) {
  check_lock();
  pending_ += dump(line) + '\n';
  const std::string reason = try_append();
  if (!reason.empty()) {
    warn("metrics.jsonl", reason, "its lines are kept until it can");
  }
}

void RunFolder::warn(const char* file, const std::string& reason, const char* consequence) {
  if (!warned_) {
    warned_ = true;
    spdlog::warn("{} cannot be written to ({}): {}", (path_ / file).string(), reason, consequence);
  }
}

void RunFolder::flush_metrics() {
  check_lock();
  const std::string reason = try_append();
  if (!reason.empty()) {
    throw IoError(
        fmt::format("{} cannot be written to: {}", (path_ / "metrics.jsonl").string(), reason));
  }
}

void RunFolder::sync_metrics() const {
  std::error_code error;
  if (fs::exists(path_ / "metrics.jsonl", error)) {
    io::PosixFile(path_ / "metrics.jsonl", O_WRONLY).sync();
    io::sync_folder(path_);
  }
}

std::string RunFolder::try_append() {
  if (pending_.empty()) {
    return "";
  }
  try {
    io::PosixFile file(path_ / "metrics.jsonl", O_WRONLY | O_CREAT | O_APPEND, 0666);
    const std::size_t before = file.size();
    try {
      file.write(pending_.data(), pending_.size());
    } catch (const IoError&) {
      file.resize(before);  // half a line would stay
      throw;
    }
    pending_.clear();
    return "";
  } catch (const IoError& error) {
    return error.what();
  }
}

void RunFolder::cut_metrics(std::int64_t step, bool goes_on) const {
  std::error_code error;
  std::string text;
  if (fs::exists(path_ / "metrics.jsonl", error)) {
    const io::Bytes bytes = io::read_file(path_ / "metrics.jsonl");
    text.assign(reinterpret_cast<const char*>(bytes.data.get()), bytes.size);
  }
  std::istringstream file(text);
  std::string kept;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) {
      continue;  // a crash cut it
    }
    const auto at = json["step"].get<std::int64_t>();
    if (at < step || (at == step && !(goes_on && json.contains("ends_stage")))) {
      kept += line + '\n';
    }
  }
  write("metrics.jsonl", kept);
}

void RunFolder::append_error(const std::string& line) const noexcept {
  try {
    check_lock();
    std::error_code error;
    if (fs::exists(log(), error)) {
      std::ofstream(log(), std::ios::app) << line << '\n';
    }
  } catch (...) {  // the error itself is printed anyway
  }
}

}  // namespace gentrain::trainers
