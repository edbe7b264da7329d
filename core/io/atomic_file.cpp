// Temporary name, fsync, rename, fsync of the folder: after a crash at any moment the name stands
// for the old content or the new one.
#include "core/io/atomic_file.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/io/posix_file.h"
#include "kernels/error.h"

namespace gentrain::io {
namespace {

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

// A name in the same folder (rename works within one file system) that no other writer uses.
std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<int> counter{0};
  std::array<char, 64> host{};
  ::gethostname(host.data(), host.size() - 1);
  return folder_of(path) / fmt::format(".{}.{}-{}-{}.tmp", path.filename().string(), host.data(),
                                       ::getpid(), counter.fetch_add(1));
}

enum class Sync : std::uint8_t { kYes, kNo };

void rename_file(const std::filesystem::path& temporary, const std::filesystem::path& path,
                 Sync sync) {
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    throw IoError(fmt::format("{}: rename to {} failed: {}", temporary.string(), path.string(),
                              std::strerror(reason)));
  }
  if (sync == Sync::kYes) {
    sync_folder(folder_of(path));
  }
}

void write_and_rename(const std::filesystem::path& path, std::span<const std::string_view> pieces,
                      const std::function<void()>& before_rename, Sync sync) {
  const std::filesystem::path temporary = temporary_name(path);
  bool created = false;
  const auto as_error_of_path = [&](const auto& step) {
    try {
      step();
    } catch (const IoError& error) {
      throw IoError(fmt::format("cannot write {}: {}", path.string(), error.what()));
    }
  };
  try {
    as_error_of_path([&] {
      PosixFile file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
      created = true;
      for (const std::string_view piece : pieces) {
        file.write(piece.data(), piece.size());
      }
      if (sync == Sync::kYes) {
        file.sync();
      }
    });
    if (before_rename) {
      before_rename();
    }
    as_error_of_path([&] { rename_file(temporary, path, sync); });
  } catch (...) {
    if (created) {  // else it is another writer's
      ::unlink(temporary.c_str());
    }
    throw;
  }
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::string_view content,
                           const std::function<void()>& before_rename) {
  write_and_rename(path, std::span(&content, 1), before_rename, Sync::kYes);
}

void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::string_view> pieces,
                           const std::function<void()>& before_rename) {
  write_and_rename(path, pieces, before_rename, Sync::kYes);
}

void replace_file(const std::filesystem::path& path, std::string_view content,
                  const std::function<void()>& before_rename) {
  write_and_rename(path, std::span(&content, 1), before_rename, Sync::kNo);
}

void remove_temporary_files(const std::filesystem::path& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(".") && name.ends_with(".tmp")) {
      std::filesystem::remove(entry.path(), error);
    }
  }
}

}  // namespace gentrain::io
