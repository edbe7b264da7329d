// libarchive, told to read tar and gzip alone: formats that nobody fetches are no way in.
#include "core/net/backend/archive_reader.h"

#include <cstddef>
#include <memory>
#include <vector>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::net {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

struct Free {
  void operator()(archive* reader) const { archive_read_free(reader); }
};

[[noreturn]] void fail(const std::string& path, archive* reader) {
  const char* const reason = archive_error_string(reader);
  throw IoError(fmt::format("{}: the archive cannot be read: {}", path,
                            reason == nullptr ? "unknown" : reason));
}

ArchiveEntry describe(const std::string& path, archive_entry* entry) {
  const char* const name = archive_entry_pathname(entry);
  if (name == nullptr) {
    throw IoError(fmt::format("{}: the archive holds a name that cannot be read", path));
  }
  using Kind = ArchiveEntry::Kind;
  if (archive_entry_hardlink(entry) != nullptr || archive_entry_symlink(entry) != nullptr) {
    return {name, Kind::kLink};
  }
  const auto type = archive_entry_filetype(entry);
  return {name, type == AE_IFREG   ? Kind::kFile
                : type == AE_IFDIR ? Kind::kFolder
                : type == AE_IFLNK ? Kind::kLink
                                   : Kind::kOther};
}

}  // namespace

void read_archive_entries(const std::string& path, ArchiveVisitor& visitor) {
  const std::unique_ptr<archive, Free> reader(archive_read_new());
  if (reader == nullptr || archive_read_support_filter_gzip(reader.get()) != ARCHIVE_OK ||
      archive_read_support_format_tar(reader.get()) != ARCHIVE_OK) {
    throw DeviceError("libarchive cannot read tar and gzip");
  }
  if (archive_read_open_filename(reader.get(), path.c_str(), kPiece) != ARCHIVE_OK) {
    fail(path, reader.get());
  }
  std::vector<std::uint8_t> piece(kPiece);
  archive_entry* entry = nullptr;
  for (;;) {
    const int status = archive_read_next_header(reader.get(), &entry);
    if (status == ARCHIVE_EOF) {
      return;
    }
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) {
      fail(path, reader.get());
    }
    visitor.entry(describe(path, entry));
    for (;;) {
      const auto count = archive_read_data(reader.get(), piece.data(), piece.size());
      if (count == 0) {
        break;
      }
      if (count < 0) {
        fail(path, reader.get());
      }
      visitor.data({piece.data(), static_cast<std::size_t>(count)});
    }
  }
}

std::string archive_version() {
  return archive_version_string();
}

}  // namespace gentrain::net
