// One content over HTTP into a store: limits, the sizes that are announced and expected, what is
// tried again, and going on where an earlier try ended.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "kernels/error.h"

namespace gentrain::net {

/// What a server or the way to it is to blame for; another server may do better. Errors of this
/// machine, as of its disk, are other IoErrors.
class TransferError : public IoError {
 public:
  using IoError::IoError;
};

/// What a transfer may take. Seconds may be fractions, but for stall_s, which is rounded up.
struct Limits {
  std::uint64_t bytes = std::uint64_t{8} << 30;
  double connect_s = 30;  // until a connection stands
  double total_s = 0;     // for all tries; 0: no limit
  double stall_s = 30;    // below 100 bytes a second
  int redirects = 5;      // that are followed
  int tries = 3;  // where a connection broke off, stalled or failed, or the server was at fault
};

/// What is known of a content beforehand; hashes are lower-case hex, empty if they are not known.
struct Expected {
  std::optional<std::uint64_t> bytes;
  std::string sha256;
  std::string md5;
};

/// Told for each piece that came: the bytes that are there, and how many it will be if that is
/// known.
using Progress = std::function<void(std::uint64_t bytes, std::optional<std::uint64_t> total)>;

/// Where the bytes of a store come from: what has to be the same for going on.
struct Origin {
  std::string url;                     // without user and password
  std::string etag;                    // empty: the server gave none that is strong
  std::optional<std::uint64_t> bytes;  // of the whole
};

/// Where the bytes go.
class Store {
 public:
  virtual ~Store() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  virtual void clear() = 0;
  virtual void append(std::span<const std::uint8_t> bytes) = 0;
  [[nodiscard]] virtual Origin origin() const = 0;
  virtual void set_origin(const Origin& origin) = 0;
  /// Words for the end of an error's message: what becomes of the bytes that came. May be empty.
  [[nodiscard]] virtual std::string fate() const = 0;
};

/// Whether a text begins with http:// or https://, in small or capital letters.
bool is_url(const std::string& text);
/// Throws JobError unless it does.
void require_url(const std::string& text);

/// A URL for messages: without user and password.
std::string shown_url(const std::string& url);

/// Fills a store with what a URL names, going on behind the bytes that are there if the server says
/// that they belong to the same content: by its ETag, else by the size of the whole. Other bytes
/// stay until the server has begun to send all of it.
///
/// Hashes are not looked at. Throws as require_url(); TransferError naming URL, HTTP status, what
/// came and what was needed; DeviceError if the module is missing; what the store throws.
void transfer(const std::string& url, const Expected& expected, const Limits& limits,
              const Progress& progress, Store& store);

}  // namespace gentrain::net
