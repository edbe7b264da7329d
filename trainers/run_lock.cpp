// RunLock.
#include "trainers/run_lock.h"

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <random>

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::trainers {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPause{50};
constexpr std::chrono::seconds kSigns{1};  // between two signs of life

std::string new_id() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", device(), device(), device(), device());
}

nlohmann::json read_owner(const std::filesystem::path& path) {
  std::ifstream file(path);
  nlohmann::json owner = nlohmann::json::parse(file, nullptr, false);
  return owner.is_object() ? owner : nlohmann::json::object();
}

std::string text_of(const nlohmann::json& owner, const char* key) {
  const auto found = owner.find(key);
  return found != owner.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string host_of(const std::string& where) {
  return where.substr(0, where.rfind(':'));
}

/// Whether no process of this host has the pid.
bool is_dead(const std::string& where) {
  const long pid = std::strtol(where.c_str() + where.rfind(':') + 1, nullptr, 10);
  return pid <= 0 || (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH);
}

/// Whether flock() does not work here at all.
bool lacks_flock(int error) {
  return error == ENOLCK || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL;
}

[[noreturn]] void refuse(const std::filesystem::path& path) {
  const nlohmann::json owner = read_owner(path);
  throw IoError(
      fmt::format("the output folder {} is being written to by another run ({}, since {}): wait "
                  "for it, end it, "
                  "or write elsewhere with --set output=FOLDER",
                  path.parent_path().string(), text_of(owner, "where"), text_of(owner, "since")));
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& folder, milliseconds patience, milliseconds silence)
    : path_(folder / "lock.json"), id_(new_id()) {
  const auto start = Clock::now();
  while (!try_flock()) {
    if (Clock::now() - start > patience) {
      refuse(path_);
    }
    std::this_thread::sleep_for(kPause);
  }
  try {
    wait_for_silence(silence);
    write_owner();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
  signs_ = std::jthread([this](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, stop, kSigns, [] { return false; }) && !stop.stop_requested()) {
      ::futimens(descriptor_, nullptr);
    }
  });
}

RunLock::~RunLock() {
  signs_.request_stop();
  signs_.join();
  if (owner(path_.parent_path()) == id_) {
    ::unlink(path_.c_str());
  }
  ::close(descriptor_);
}

/// Opens the file and locks it; false while another process has it.
bool RunLock::try_flock() {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    throw IoError(fmt::format("the output folder {} cannot be written to: {}",
                              path_.parent_path().string(), std::strerror(errno)));
  }
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    without_flock_ = lacks_flock(errno);
    if (!without_flock_) {
      ::close(descriptor_);
      return false;
    }
  }
  // An owner that ends removes the file: then it is a new one that counts.
  struct stat opened {};
  struct stat named {};
  if (::fstat(descriptor_, &opened) != 0 || ::stat(path_.c_str(), &named) != 0 ||
      opened.st_ino != named.st_ino || opened.st_dev != named.st_dev) {
    ::close(descriptor_);
    return false;
  }
  return true;
}

/// The lock of an owner on this host ended with it. One on another host, whose lock may not reach
/// this one, shows itself by touching the file.
void RunLock::wait_for_silence(milliseconds silence) {
  const nlohmann::json owner = read_owner(path_);
  const std::string where = text_of(owner, "where");
  const bool same_host = host_of(where) == host_of(comm::host_and_process());
  if (where.empty() || (same_host && (!without_flock_ || is_dead(where)))) {
    return;
  }
  spdlog::warn("{} has the lock of another run ({}): waiting {:.0f} s for a sign of it",
               path_.parent_path().string(), where, std::chrono::duration<double>(silence).count());
  struct stat before {};
  ::stat(path_.c_str(), &before);
  for (const auto start = Clock::now(); Clock::now() - start < silence;) {
    std::this_thread::sleep_for(kPause);
    progress::tick();  // it is no hang
    struct stat now {};
    if (::stat(path_.c_str(), &now) == 0 && (now.st_mtim.tv_sec != before.st_mtim.tv_sec ||
                                             now.st_mtim.tv_nsec != before.st_mtim.tv_nsec)) {
      refuse(path_);
    }
  }
}

void RunLock::write_owner() {
  const std::string text =
      nlohmann::json{
          {"run", id_},
          {"where", comm::host_and_process()},
          {"since", fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(std::time(nullptr)))}}
          .dump() +
      "\n";
  if (::ftruncate(descriptor_, 0) != 0 ||
      ::pwrite(descriptor_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      ::fsync(descriptor_) != 0) {
    throw IoError(fmt::format("the output folder {} cannot be written to: {}",
                              path_.parent_path().string(), std::strerror(errno)));
  }
}

void RunLock::require(const std::filesystem::path& folder, const std::string& id) {
  const std::filesystem::path path = folder / "lock.json";
  if (std::error_code error; std::filesystem::exists(path, error)) {
    const io::PosixFile readable(path, O_RDONLY);  // else it would be taken for gone
  }
  const nlohmann::json now = read_owner(path);
  if (text_of(now, "run") != id) {
    throw LostLockError(fmt::format(
        "the lock of {} is lost ({}): this run writes nothing more there", folder.string(),
        now.empty() ? "lock.json is gone" : fmt::format("it is {}'s now", text_of(now, "where"))));
  }
}

std::optional<std::string> RunLock::owner(const std::filesystem::path& folder) {
  const std::string id = text_of(read_owner(folder / "lock.json"), "run");
  return id.empty() ? std::nullopt : std::optional(id);
}

}  // namespace gentrain::trainers
