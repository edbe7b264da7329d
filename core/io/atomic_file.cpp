// Temporary name, fsync, rename, fsync of the folder: after a crash at any moment the name stands
// for the old content or the new one.
#include "core/io/atomic_file.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

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

/// Runs a step; its IoErrors name the path.
template <class Step>
void as_error_of(const std::filesystem::path& path, const Step& step) {
  try {
    step();
  } catch (const IoError& error) {
    throw IoError(fmt::format("cannot write {}: {}", path.string(), error.what()));
  }
}

void write_and_rename(const std::filesystem::path& path, std::span<const std::string_view> pieces,
                      const std::function<void()>& before_rename, Sync sync) {
  AtomicWriter file(path);
  for (const std::string_view piece : pieces) {
    file.write(piece);
  }
  file.commit(before_rename, sync);
}

}  // namespace

AtomicWriter::AtomicWriter(std::filesystem::path path)
    : path_(std::move(path)), temporary_(temporary_name(path_)) {
  as_error_of(path_, [&] {
    file_ = std::make_unique<PosixFile>(temporary_, O_WRONLY | O_CREAT | O_EXCL, 0666);
  });
}

AtomicWriter::~AtomicWriter() {
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
  }
}

void AtomicWriter::write(std::string_view piece) {
  as_error_of(path_, [&] { file_->write(piece.data(), piece.size()); });
}

void AtomicWriter::commit(const std::function<void()>& before_rename, Sync sync) {
  if (sync == Sync::kYes) {
    as_error_of(path_, [&] { file_->sync(); });
  }
  file_.reset();
  if (before_rename) {
    before_rename();
  }
  as_error_of(path_, [&] { rename_file(temporary_, path_, sync); });
  temporary_.clear();
}

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
