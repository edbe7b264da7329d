// Zip by libzip, out of memory.
#include "core/keras/archive.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include <fmt/format.h>
#include <zip.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::keras {

namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;
// Keras stores files as they are; those of other tools may be packed, but weights hardly shrink.
constexpr std::uint64_t kMostGrowth = 64;
constexpr std::uint64_t kAlwaysFine = std::uint64_t{16} << 20;

struct CloseZip {
  void operator()(zip_t* zip) const { zip_discard(zip); }
};
using Zip = std::unique_ptr<zip_t, CloseZip>;
struct CloseEntry {
  void operator()(zip_file_t* entry) const { zip_fclose(entry); }
};
using Entry = std::unique_ptr<zip_file_t, CloseEntry>;

std::string reason_of(zip_error_t& error) {
  std::string reason = zip_error_strerror(&error);
  zip_error_fini(&error);
  return reason;
}

Zip open(std::span<const std::byte> file) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(file.data(), file.size(), 0, &error);
  if (source == nullptr) {
    throw IoError(fmt::format("its zip cannot be read: {}", reason_of(error)));
  }
  Zip zip(zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error));
  if (!zip) {
    zip_source_free(source);
    throw IoError(fmt::format("its zip is damaged or cut off: {}", reason_of(error)));
  }
  zip_error_fini(&error);
  return zip;
}

std::vector<std::byte> read(zip_t* zip, const char* name, std::size_t archive_bytes) {
  zip_stat_t about;
  zip_stat_init(&about);
  constexpr zip_uint64_t kNeeded = ZIP_STAT_INDEX | ZIP_STAT_SIZE;
  if (zip_stat(zip, name, 0, &about) != 0 || (about.valid & kNeeded) != kNeeded) {
    throw IoError(fmt::format("there is no {} in its zip, as Keras 3 writes it", name));
  }
  const std::uint64_t most = std::max(kAlwaysFine, kMostGrowth * archive_bytes);
  if (about.size > most) {
    throw IoError(fmt::format("{} in its zip would have {} bytes, at most {} are read of {}", name,
                              about.size, most, archive_bytes));
  }
  const Entry entry(zip_fopen_index(zip, about.index, 0));
  if (!entry) {
    throw IoError(fmt::format("{} in its zip: {}", name, zip_strerror(zip)));
  }
  std::vector<std::byte> bytes;
  while (bytes.size() < about.size) {
    const std::size_t begin = bytes.size();
    bytes.resize(std::min<std::size_t>(begin + kBlock, about.size));
    const zip_int64_t count = zip_fread(entry.get(), bytes.data() + begin, bytes.size() - begin);
    if (count <= 0) {
      throw IoError(fmt::format("{} in its zip: {}", name,
                                count < 0 ? zip_file_strerror(entry.get()) : "it is cut off"));
    }
    bytes.resize(begin + static_cast<std::size_t>(count));
    progress::tick();
  }
  std::byte more{};  // the end, where the check sum is compared
  if (zip_fread(entry.get(), &more, 1) != 0) {
    throw IoError(fmt::format("{} in its zip: {}", name, zip_file_strerror(entry.get())));
  }
  return bytes;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

bool is_archive(std::span<const std::byte> file) {
  constexpr std::string_view kSignature{"PK\x03\x04", 4};
  return file.size() > kSignature.size() &&
         std::ranges::equal(file.first(kSignature.size()), kSignature, [](std::byte a, char b) {
           return std::to_integer<unsigned char>(a) == static_cast<unsigned char>(b);
         });
}

Archive read_archive(std::span<const std::byte> file) {
  const Zip zip = open(file);
  Archive archive;
  archive.config = text_of(read(zip.get(), "config.json", file.size()));
  archive.metadata = text_of(read(zip.get(), "metadata.json", file.size()));
  archive.weights = read(zip.get(), "model.weights.h5", file.size());
  return archive;
}

}  // namespace gentrain::keras
