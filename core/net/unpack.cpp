// Entries become files that are created new, below folders that were created here: since links are
// refused, a name of plain components cannot lead elsewhere.
#include "core/net/unpack.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/io/posix_file.h"
#include "core/net/file_lock.h"
#include "core/net/library.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::net {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kFileMode = 0666;  // less the umask

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    throw IoError(fmt::format("{}: it cannot be made: {}", path.string(), error.message()));
  }
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) {
    throw IoError(fmt::format("{}: it cannot be removed: {}", path.string(), error.message()));
  }
}

void empty_folder(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    remove_tree(entry->path());
  }
  if (error) {
    throw IoError(fmt::format("{}: it cannot be read: {}", folder.string(), error.message()));
  }
}

class Writer final : public ArchiveVisitor {
 public:
  Writer(const fs::path& archive, const fs::path& folder, const std::string& inside,
         const UnpackLimits& limits)
      : archive_(archive.string()), folder_(folder), inside_(inside), limits_(limits) {}

  void entry(const ArchiveEntry& entry) override {
    file_.reset();
    name_ = entry.name;
    if (++entries_ > limits_.entries) {
      refuse(fmt::format("it holds more than {} entries", limits_.entries));
    }
    const std::vector<std::string> parts = components();
    skips_ = !parts.empty() && parts.back().starts_with("._");
    if (parts.empty() || skips_) {
      return;
    }
    if (entry.kind == ArchiveEntry::Kind::kLink || entry.kind == ArchiveEntry::Kind::kOther) {
      refuse(fmt::format("'{}' is a {}: only files and folders are unpacked", name_,
                         entry.kind == ArchiveEntry::Kind::kLink ? "link" : "device or pipe"));
    }
    fs::path path = folder_;
    for (std::size_t i = inside_.empty() ? 0 : 1; i < parts.size(); ++i) {
      path /= parts[i];
    }
    if (entry.kind == ArchiveEntry::Kind::kFolder) {
      make_folders(path);
    } else {
      create(path);
    }
  }

  void data(std::span<const std::uint8_t> bytes) override {
    read_ += bytes.size();
    if (read_ > limits_.bytes) {
      refuse(fmt::format("it holds more than {} bytes of files", limits_.bytes));
    }
    if (skips_) {
      return;
    }
    if (file_ == nullptr) {
      refuse(fmt::format("'{}' has content but is no file", name_));
    }
    unpacked_.bytes += bytes.size();
    file_->write(bytes.data(), bytes.size());
  }

  [[nodiscard]] Unpacked finish() {
    file_.reset();
    if (unpacked_.files == 0) {
      refuse("it holds no files");
    }
    return unpacked_;
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const {
    throw IoError(fmt::format("{}: {}", archive_, problem));
  }

  void create(const fs::path& path) {
    if (path == folder_) {
      refuse(fmt::format("'{}' is a file, a folder was expected there", name_));
    }
    make_folders(path.parent_path());
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(path, ignored))) {
      refuse(fmt::format("'{}' comes twice", name_));
    }
    file_ =
        std::make_unique<io::PosixFile>(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, kFileMode);
    ++unpacked_.files;
  }

  /// The components of the entry's name; none for the archive's own folder, ".".
  [[nodiscard]] std::vector<std::string> components() const {
    std::vector<std::string> parts;
    std::string_view rest = name_;
    if (rest.starts_with('/')) {
      refuse(fmt::format("'{}' lies outside of its folder", name_));
    }
    while (!rest.empty()) {
      const std::size_t slash = std::min(rest.find('/'), rest.size());
      const std::string_view part = rest.substr(0, slash);
      rest.remove_prefix(std::min(slash + 1, rest.size()));
      if (part == "..") {
        refuse(fmt::format("'{}' lies outside of its folder", name_));
      }
      if (!part.empty() && part != ".") {
        parts.emplace_back(part);
      }
    }
    if (!parts.empty() && !inside_.empty() && parts.front() != inside_ &&
        !parts.back().starts_with("._")) {
      refuse(fmt::format("'{}' lies outside of '{}', the folder it should hold", name_, inside_));
    }
    return parts;
  }

  std::string archive_;
  const fs::path& folder_;
  const std::string& inside_;
  const UnpackLimits& limits_;
  std::string name_;                     // of the entry under way
  std::unique_ptr<io::PosixFile> file_;  // it, if it is a file
  bool skips_ = false;                   // it, if it is none of ours
  std::uint64_t entries_ = 0;
  std::uint64_t read_ = 0;  // bytes, with those that are passed over
  Unpacked unpacked_;
};

/// Everything in the file system of a folder is safe on its disk: cheaper than file by file.
void sync_all(const fs::path& folder) {
  const progress::Flush flush;
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::syncfs(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) {
    ::close(descriptor);
  }
  if (!synced) {
    throw IoError(fmt::format("{}: syncfs failed: {}", folder.string(), std::strerror(reason)));
  }
}

}  // namespace

Unpacked unpack(const fs::path& archive, const fs::path& folder, const std::string& inside,
                const UnpackLimits& limits) {
  if (io::is_there(folder)) {
    throw IoError(fmt::format("{}: it is there already, {} is not unpacked into it",
                              folder.string(), archive.string()));
  }
  const fs::path temporary = folder.string() + ".unpacked";
  make_folders(temporary);
  const FileLock lock(temporary, LockFor::kUnpacking);
  empty_folder(temporary);
  try {
    Writer writer(archive, temporary, inside, limits);
    net_library().read_archive(archive.string(), writer);
    const Unpacked unpacked = writer.finish();
    sync_all(temporary);
    std::error_code error;
    fs::rename(temporary, folder, error);
    if (error) {
      throw IoError(fmt::format("{}: rename failed: {}", temporary.string(), error.message()));
    }
    io::sync_folder(folder.has_parent_path() ? folder.parent_path() : ".");
    return unpacked;
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace gentrain::net
