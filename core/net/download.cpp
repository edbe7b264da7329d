// Stores for transfers: a .part file beside the file that it becomes, and memory.
#include "core/net/download.h"

#include <array>
#include <memory>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/io/atomic_file.h"
#include "core/io/md5.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "core/net/file_lock.h"
#include "kernels/error.h"

namespace gentrain::net {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPiece = std::size_t{1} << 20;

/// What the note beside a .part file says; nothing of a note that is missing or damaged.
Origin read_origin(const fs::path& note) {
  try {
    if (!io::is_there(note)) {
      return {};
    }
    const io::Bytes bytes = io::read_file(note);
    const auto json = nlohmann::json::parse(bytes.data.get(), bytes.data.get() + bytes.size);
    Origin origin{json.at("url"), json.at("etag"), std::nullopt};
    if (!json.at("bytes").is_null()) {
      origin.bytes = json.at("bytes").get<std::uint64_t>();
    }
    return origin;
  } catch (const nlohmann::json::exception&) {
    return {};
  } catch (const IoError&) {
    return {};
  }
}

class PartFile final : public Store {
 public:
  explicit PartFile(const fs::path& path)
      : path_(path),
        part_(path.string() + ".part"),
        note_(path.string() + ".part.json"),
        lock_(part_, LockFor::kFetching),
        file_(part_, O_RDWR | O_APPEND | O_NOFOLLOW),
        size_((file_.require_regular(), file_.size())),
        origin_(size_ > 0 ? read_origin(note_) : Origin{}) {}

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  void clear() override {
    file_.resize(0);
    size_ = 0;
    origin_ = {};
  }
  void append(std::span<const std::uint8_t> bytes) override {
    file_.write(bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  [[nodiscard]] Origin origin() const override { return origin_; }
  void set_origin(const Origin& origin) override {
    origin_ = origin;
    nlohmann::json json = {{"url", origin.url}, {"etag", origin.etag}, {"bytes", nullptr}};
    if (origin.bytes) {
      json["bytes"] = *origin.bytes;
    }
    io::replace_file(note_, json.dump() + "\n");
  }
  [[nodiscard]] std::string fate() const override {
    return fmt::format("; {} keeps what came, and the same command goes on", part_.string());
  }

  [[nodiscard]] const fs::path& part() const { return part_; }
  /// The file gets its name.
  void finish() {
    file_.sync();
    std::error_code error;
    fs::rename(part_, path_, error);
    if (error) {
      throw IoError(fmt::format("{}: rename failed: {}", part_.string(), error.message()));
    }
    fs::remove(note_, error);
    io::sync_folder(path_.has_parent_path() ? path_.parent_path() : ".");
  }
  void remove() const {
    std::error_code ignored;
    fs::remove(part_, ignored);
    fs::remove(note_, ignored);
  }

 private:
  fs::path path_;
  fs::path part_;
  fs::path note_;
  FileLock lock_;
  io::PosixFile file_;
  std::uint64_t size_;
  Origin origin_;
};

class Memory final : public Store {
 public:
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  void clear() override {
    bytes_.clear();
    origin_ = {};
  }
  void append(std::span<const std::uint8_t> bytes) override {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  [[nodiscard]] Origin origin() const override { return origin_; }
  void set_origin(const Origin& origin) override { origin_ = origin; }
  [[nodiscard]] std::string fate() const override { return ""; }

  std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;
  Origin origin_;
};

void compare(const fs::path& path, const char* hash, const std::string& came,
             const std::string& needed) {
  if (!needed.empty() && came != needed) {
    throw WrongFileError(
        fmt::format("{}: its {} is {}, {} was needed", path.string(), hash, came, needed));
  }
}

}  // namespace

FileFacts check_file(const fs::path& path, const Expected& expected) {
  io::PosixFile file(path, O_RDONLY);
  file.require_regular();
  FileFacts facts{file.size(), ""};
  if (expected.bytes && facts.bytes != *expected.bytes) {
    throw WrongFileError(fmt::format("{}: it has {} bytes, {} are needed", path.string(),
                                     facts.bytes, *expected.bytes));
  }
  io::Sha256 sha256;
  const auto md5 = expected.md5.empty() ? nullptr : std::make_unique<io::Md5>();
  std::vector<std::uint8_t> piece(kPiece);
  while (const std::size_t count = file.read(piece.data(), piece.size())) {
    sha256.update(piece.data(), count);
    if (md5 != nullptr) {
      md5->update(piece.data(), count);
    }
  }
  facts.sha256 = sha256.finish();
  compare(path, "SHA-256", facts.sha256, expected.sha256);
  compare(path, "MD5", md5 == nullptr ? "" : md5->finish(), expected.md5);
  return facts;
}

FileFacts download(const std::string& url, const fs::path& path, const Expected& expected,
                   const Limits& limits, const Progress& progress) {
  require_url(url);
  PartFile part(path);
  try {
    transfer(url, expected, limits, progress, part);
  } catch (...) {
    if (part.size() == 0) {
      part.remove();
    }
    throw;
  }
  FileFacts facts;
  try {
    facts = check_file(part.part(), expected);
  } catch (const WrongFileError& error) {
    part.remove();
    throw TransferError(fmt::format("{}: {}; what came was removed", shown_url(url), error.what()));
  }
  part.finish();
  return facts;
}

std::vector<std::uint8_t> fetch_bytes(const std::string& url, const Limits& limits) {
  Memory memory;
  transfer(url, {}, limits, {}, memory);
  return memory.take();
}

}  // namespace gentrain::net
