// The module: NetLibrary by libcurl's easy interface, one handle for each request. Exceptions of
// the receiver must not pass through libcurl: they wait until it has returned.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <exception>
#include <memory>
#include <string_view>

#include <curl/curl.h>
#include <fmt/format.h>

#include "core/net/backend/archive_reader.h"
#include "core/net/library.h"
#include "kernels/error.h"

namespace gentrain::net {
namespace {

constexpr int kRedirectFrom = 300;
constexpr int kRedirectBelow = 400;
constexpr int kInterimFrom = 100;
constexpr int kInterimBelow = 200;

struct FreeHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

bool begins_with(std::string_view text, std::string_view start) {
  return text.size() >= start.size() &&
         std::equal(start.begin(), start.end(), text.begin(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

/// A transfer under way: what its callbacks share.
struct Transfer {
  Receiver& receiver;
  ReplyHead head;
  std::string location;
  std::exception_ptr thrown;
  bool refused = false;

  /// Runs a piece of the receiver's work; what it throws is kept.
  template <class Work>
  bool ask(const Work& work) {
    try {
      refused = !work();
    } catch (...) {
      thrown = std::current_exception();
    }
    return thrown == nullptr && !refused;
  }

  void status_line(std::string_view line) {
    head = {};
    location.clear();
    const std::string_view number = trimmed(line.substr(std::min(line.find(' '), line.size())));
    std::from_chars(number.data(), number.data() + number.size(), head.status);
  }

  void field(std::string_view line) {
    const std::size_t colon = std::min(line.find(':'), line.size());
    const std::string_view value = trimmed(line.substr(std::min(colon + 1, line.size())));
    if (begins_with(line, "content-length:")) {
      std::uint64_t length = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
      if (error == std::errc() && end == value.data() + value.size()) {
        head.length = length;
      }
    } else if (begins_with(line, "etag:")) {
      head.etag = value;
    } else if (begins_with(line, "content-range:")) {
      head.content_range = value;
    } else if (begins_with(line, "location:")) {
      location = value;
    }
  }

  /// The end of an answer's head: of the last answer, unless it redirects or only announces one.
  bool end_of_head() {
    const bool redirects =
        head.status >= kRedirectFrom && head.status < kRedirectBelow && !location.empty();
    const bool announces = head.status >= kInterimFrom && head.status < kInterimBelow;
    return redirects || announces || ask([this] { return receiver.head(head); });
  }
};

std::size_t on_header(char* data, std::size_t /*one*/, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, size);
  if (begins_with(line, "HTTP/")) {
    transfer.status_line(line);
  } else if (!trimmed(line).empty()) {
    transfer.field(line);
  } else if (!transfer.end_of_head()) {
    return 0;
  }
  return size;
}

std::size_t on_data(char* data, std::size_t /*one*/, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(data), size);
  return transfer.ask([&] { return transfer.receiver.data(bytes); }) ? size : 0;
}

/// One request's handle with its options.
class Handle {
 public:
  Handle() : handle_(curl_easy_init()) {
    if (handle_ == nullptr) {
      throw DeviceError("libcurl cannot make a handle");
    }
    set(CURLOPT_ERRORBUFFER, error_.data());
  }

  template <class Value>
  void set(CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(handle_.get(), option, value);
    if (code != CURLE_OK) {
      throw DeviceError(fmt::format("libcurl refuses option {}: {}", static_cast<int>(option),
                                    curl_easy_strerror(code)));
    }
  }

  CURLcode perform() { return curl_easy_perform(handle_.get()); }

  [[nodiscard]] std::string reason(CURLcode code) const {
    const std::string text(error_.data());
    return text.empty() ? curl_easy_strerror(code) : text;
  }

  [[nodiscard]] std::string last_url() const {
    char* url = nullptr;
    curl_easy_getinfo(handle_.get(), CURLINFO_EFFECTIVE_URL, &url);
    return url == nullptr ? "" : url;
  }

  /// Whether a connection stood.
  [[nodiscard]] bool was_connected() const {
    curl_off_t microseconds = 0;
    curl_easy_getinfo(handle_.get(), CURLINFO_PRETRANSFER_TIME_T, &microseconds);
    return microseconds > 0;
  }

 private:
  std::array<char, CURL_ERROR_SIZE> error_{};  // outlives the handle, which writes to it
  std::unique_ptr<CURL, FreeHandle> handle_;
};

long milliseconds(double seconds) {
  return std::lround(std::max(seconds, 0.0) * 1000);
}

End end_of(CURLcode code, const std::string& reason, const Handle& handle) {
  switch (code) {
    case CURLE_OK:
      return End::kDone;
    case CURLE_TOO_MANY_REDIRECTS:
      return End::kRedirects;
    case CURLE_UNSUPPORTED_PROTOCOL:
      return End::kProtocol;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return End::kUnreachable;
    case CURLE_OPERATION_TIMEDOUT:
      // libcurl has one code for both and tells them apart by its words.
      return reason.find("too slow") != std::string::npos ? End::kStalled
             : handle.was_connected()                     ? End::kTimeout
                                                          : End::kUnreachable;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return End::kCut;
    default:
      return End::kFailed;
  }
}

class CurlLibrary final : public NetLibrary {
 public:
  CurlLibrary() {
    const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK) {
      throw DeviceError(fmt::format("libcurl cannot start: {}", curl_easy_strerror(code)));
    }
  }

  Ending get(const Request& request, Receiver& receiver) const override {
    Transfer transfer{receiver, {}, {}, nullptr, false};
    Handle handle;
    const std::unique_ptr<curl_slist, FreeList> fields = prepare(handle, request);
    handle.set(CURLOPT_HTTPHEADER, fields.get());
    handle.set(CURLOPT_HEADERFUNCTION, on_header);
    handle.set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
    handle.set(CURLOPT_WRITEFUNCTION, on_data);
    handle.set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
    const CURLcode code = handle.perform();
    if (transfer.thrown != nullptr) {
      std::rethrow_exception(transfer.thrown);
    }
    if (transfer.refused) {
      return {End::kRefused, "", handle.last_url()};
    }
    const std::string reason = handle.reason(code);
    const std::string last_url = handle.last_url();
    const End end = end_of(code, reason, handle);
    if (end == End::kProtocol) {  // libcurl's code for answers that are no HTTP, too
      return may_be_asked(last_url, request) ? Ending{End::kFailed, reason, last_url}
                                             : Ending{end, last_url, last_url};
    }
    return {end, reason, last_url};
  }

  void read_archive(const std::string& path, ArchiveVisitor& visitor) const override {
    read_archive_entries(path, visitor);
  }

  [[nodiscard]] std::string version() const override {
    const curl_version_info_data* const info = curl_version_info(CURLVERSION_NOW);
    return fmt::format("libcurl {} {}, {}", info->version,
                       info->ssl_version == nullptr ? "without TLS" : info->ssl_version,
                       archive_version());
  }

 private:
  static bool may_be_asked(const std::string& url, const Request& request) {
    return begins_with(url, "https:") ||
           (begins_with(url, "http:") && begins_with(request.url, "http:"));
  }

  /// Sets what does not depend on the receiver; gives the header fields, which must stay.
  static std::unique_ptr<curl_slist, FreeList> prepare(Handle& handle, const Request& request) {
    const bool safe = begins_with(request.url, "https:");
    handle.set(CURLOPT_URL, request.url.c_str());
    handle.set(CURLOPT_PROTOCOLS_STR, "http,https");
    handle.set(CURLOPT_REDIR_PROTOCOLS_STR, safe ? "https" : "http,https");
    handle.set(CURLOPT_FOLLOWLOCATION, 1L);
    handle.set(CURLOPT_MAXREDIRS, static_cast<long>(request.redirects));
    handle.set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    handle.set(CURLOPT_NOSIGNAL, 1L);
    handle.set(CURLOPT_USERAGENT, "gentrain");
    handle.set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(request.connect_s));
    handle.set(CURLOPT_TIMEOUT_MS, milliseconds(request.total_s));
    handle.set(CURLOPT_LOW_SPEED_LIMIT, static_cast<long>(kStallRate));
    handle.set(CURLOPT_LOW_SPEED_TIME, std::max(1L, std::lround(std::ceil(request.stall_s))));
    if (request.from == 0) {
      return nullptr;
    }
    handle.set(CURLOPT_RANGE, fmt::format("{}-", request.from).c_str());
    return std::unique_ptr<curl_slist, FreeList>(
        request.if_range.empty()
            ? nullptr
            : curl_slist_append(nullptr, ("If-Range: " + request.if_range).c_str()));
  }
};

}  // namespace
}  // namespace gentrain::net

/// What the program looks for: kModuleFunction of core/net/module.h.
extern "C" const gentrain::net::NetLibrary* gentrain_net_library_1() {
  static const gentrain::net::CurlLibrary library;
  return &library;
}
