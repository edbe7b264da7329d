// What the module of network functions does: one HTTP request, and reading an archive. Policy, what
// is retried, kept, checked and written, stands on the program's side (transfer.h, unpack.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace gentrain::net {

/// One GET over http or https.
struct Request {
  std::string url;
  std::uint64_t from = 0;  // above 0: the bytes from there on are asked for
  std::string if_range;    // an ETag: only if the content still has it; empty: whatever it has
  double connect_s = 30;   // until the connection stands
  double total_s = 0;      // for all of it; 0: no limit
  double stall_s = 30;     // with less than kStallRate
  int redirects = 5;       // that are followed at most
};

/// Bytes a second below which a transfer counts as stalled.
inline constexpr int kStallRate = 100;

/// What a server says before the bytes of its last answer.
struct ReplyHead {
  int status = 0;
  std::optional<std::uint64_t> length;  // Content-Length
  std::string etag;                     // as it came, with quotes
  std::string content_range;            // "bytes 5-9/10", or empty
};

/// How a transfer ended.
enum class End : std::uint8_t {
  kDone,         // all that the server announced has come
  kRefused,      // the receiver did not want more
  kCut,          // the connection broke off
  kStalled,      // stall_s
  kTimeout,      // total_s or connect_s
  kUnreachable,  // no such host, nobody listens
  kRedirects,    // too many of them
  kProtocol,     // a redirect to something else than http or https
  kFailed,       // anything else
};

struct Ending {
  End end = End::kDone;
  std::string reason;    // libcurl's words; of kProtocol: the URL
  std::string last_url;  // behind redirects
};

/// Takes what comes: the head of an answer that neither redirects nor announces another one, and
/// bytes, which a bad server may send without such a head. What it throws comes out of
/// NetLibrary::get(); false ends the transfer.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual bool head(const ReplyHead& reply) = 0;
  virtual bool data(std::span<const std::uint8_t> bytes) = 0;
};

/// One entry of an archive.
struct ArchiveEntry {
  enum class Kind : std::uint8_t { kFile, kFolder, kLink, kOther };
  std::string name;  // as it stands in the archive
  Kind kind = Kind::kFile;
};

/// Takes an archive's entries in order; data() belongs to the last entry. What it throws comes out
/// of NetLibrary::read_archive().
class ArchiveVisitor {
 public:
  virtual ~ArchiveVisitor() = default;
  virtual void entry(const ArchiveEntry& entry) = 0;
  virtual void data(std::span<const std::uint8_t> bytes) = 0;
};

class NetLibrary {
 public:
  virtual ~NetLibrary() = default;
  /// Follows redirects, http and https only, and from https to https only; proxies as
  /// https_proxy, http_proxy and no_proxy say; certificates are checked.
  virtual Ending get(const Request& request, Receiver& receiver) const = 0;
  /// A tar archive, plain or packed by gzip. Throws IoError naming it if it is damaged.
  virtual void read_archive(const std::string& path, ArchiveVisitor& visitor) const = 0;
  /// "libcurl 7.88.1 OpenSSL/3.0.19, libarchive 3.6.2"
  [[nodiscard]] virtual std::string version() const = 0;
};

/// The module's, which is loaded at the first call. Throws DeviceError if it is not there or cannot
/// be loaded.
const NetLibrary& net_library();

}  // namespace gentrain::net
