// The tries of a transfer. An answer is judged by its head before a byte of it is taken.
#include "core/net/transfer.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "core/net/library.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::net {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kOk = 200;
constexpr int kPartial = 206;
constexpr int kTimedOut = 408;
constexpr int kRangeNotThere = 416;
constexpr int kTooMany = 429;
constexpr int kServerFault = 500;
constexpr int kLongestPause = 5;  // seconds

/// "bytes FIRST-LAST/WHOLE"; WHOLE may be "*".
struct ContentRange {
  std::uint64_t first = 0;
  std::optional<std::uint64_t> whole;
};

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value)
                                                                  : std::nullopt;
}

std::optional<ContentRange> read_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  const std::size_t dash = text.find('-');
  const std::size_t slash = text.find('/');
  if (!text.starts_with(kUnit) || dash == std::string_view::npos ||
      slash == std::string_view::npos) {
    return std::nullopt;
  }
  const auto first = number_of(text.substr(kUnit.size(), dash - kUnit.size()));
  return first ? std::optional(ContentRange{*first, number_of(text.substr(slash + 1))})
               : std::nullopt;
}

/// Only a strong ETag says that bytes are the same.
std::string strong(const std::string& etag) {
  return etag.starts_with('"') ? etag : "";
}

class Transfer final : private Receiver {
 public:
  Transfer(const std::string& url, const Expected& expected, const Limits& limits,
           const Progress& progress, Store& store)
      : url_(url), expected_(expected), limits_(limits), progress_(progress), store_(store) {}

  void run() {
    for (int tries = 1;;) {
      const Outcome outcome = once();
      if (outcome.what == What::kDone) {
        return;
      }
      if (outcome.what == What::kAnew && !began_anew_) {
        began_anew_ = true;
        anew_ = true;
        continue;
      }
      if (outcome.what != What::kAgain || tries >= limits_.tries || time_is_up()) {
        throw TransferError(
            fmt::format("{}: {}{}{}", where(), outcome.problem,
                        tries > 1 ? fmt::format(", at the last of {} tries", tries) : "",
                        goes_on() ? store_.fate() : ""));
      }
      std::this_thread::sleep_for(std::chrono::seconds(std::min(tries, kLongestPause)));
      ++tries;
    }
  }

 private:
  enum class What : std::uint8_t { kDone, kAgain, kAnew, kFailed };
  struct Outcome {
    What what = What::kDone;
    std::string problem;
  };

  [[nodiscard]] double elapsed() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }
  [[nodiscard]] bool time_is_up() const {
    return limits_.total_s > 0 && elapsed() >= limits_.total_s;
  }
  [[nodiscard]] std::string where() const {
    const std::string url = shown_url(url_);
    return last_url_.empty() || shown_url(last_url_) == url
               ? url
               : fmt::format("{} (redirected to {})", url, shown_url(last_url_));
  }
  /// Bytes of this content in the store, which may still hold those of another one.
  [[nodiscard]] std::uint64_t came() const { return from_ > 0 || accepted_ ? store_.size() : 0; }
  [[nodiscard]] std::string so_far() const {
    return total_ ? fmt::format("{} of {} bytes", came(), *total_)
                  : fmt::format("{} bytes", came());
  }

  /// Whether the bytes in the store can be gone on with.
  [[nodiscard]] bool goes_on() const {
    const Origin origin = store_.origin();
    const std::uint64_t most = expected_.bytes.value_or(limits_.bytes);
    return !anew_ && store_.size() > 0 && store_.size() <= most && origin.url == shown_url(url_) &&
           (!origin.etag.empty() || origin.bytes);
  }

  Outcome once() {
    const Origin origin = store_.origin();
    refusal_.reset();
    accepted_ = false;
    from_ = goes_on() ? store_.size() : 0;
    total_ = expected_.bytes ? expected_.bytes : from_ > 0 ? origin.bytes : std::nullopt;
    if (from_ > 0 && total_ == from_) {
      return {};
    }
    Request request;
    request.url = url_;
    request.from = from_;
    request.if_range = from_ > 0 ? origin.etag : "";
    request.connect_s = limits_.connect_s;
    request.total_s = limits_.total_s > 0 ? std::max(limits_.total_s - elapsed(), 0.01) : 0;
    request.stall_s = limits_.stall_s;
    request.redirects = limits_.redirects;
    const Ending ending = net_library().get(request, *this);
    last_url_ = ending.end == End::kProtocol ? "" : ending.last_url;  // it was not gone to
    return refusal_ ? *refusal_ : judged(ending);
  }

  [[nodiscard]] Outcome judged(const Ending& ending) const {
    switch (ending.end) {
      case End::kDone:
      case End::kRefused:
        if (!accepted_) {
          return {What::kFailed, "the server ended without an answer"};
        }
        return total_ && store_.size() < *total_
                   ? Outcome{What::kAgain, fmt::format("the answer ended after {}", so_far())}
                   : Outcome{};
      case End::kCut:
        return {What::kAgain,
                fmt::format("the connection broke off after {} ({})", so_far(), ending.reason)};
      case End::kStalled:
        return {What::kAgain, fmt::format("less than {} bytes a second came for {} s, after {}",
                                          kStallRate, limits_.stall_s, so_far())};
      case End::kTimeout:
        return {What::kFailed,
                fmt::format("it took longer than {} s, after {}", limits_.total_s, so_far())};
      case End::kUnreachable:
        return {What::kAgain, fmt::format("the host cannot be reached ({})", ending.reason)};
      case End::kRedirects:
        return {What::kFailed,
                fmt::format("the server redirects more than {} times", limits_.redirects)};
      case End::kProtocol:
        return {What::kFailed,
                fmt::format("the server redirects to '{}': only http and https are followed, and "
                            "from https only https",
                            shown_url(ending.reason))};
      case End::kFailed:
        break;
    }
    return {What::kFailed, fmt::format("the transfer failed ({})", ending.reason)};
  }

  bool refuse(What what, std::string problem) {
    refusal_ = Outcome{what, std::move(problem)};
    return false;
  }

  bool head(const ReplyHead& reply) override {
    if (reply.status == kPartial && from_ > 0) {
      return rest(reply);
    }
    if (reply.status == kOk) {
      return whole(reply);
    }
    if (reply.status == kRangeNotThere && from_ > 0) {
      return refuse(What::kAnew, "the server has no such part");
    }
    const bool passes =
        reply.status >= kServerFault || reply.status == kTimedOut || reply.status == kTooMany;
    return refuse(passes ? What::kAgain : What::kFailed,
                  fmt::format("the server answers with HTTP status {}, {} was needed", reply.status,
                              from_ > 0 ? "206 or 200" : "200"));
  }

  /// The answer has the content from its beginning on.
  bool whole(const ReplyHead& reply) {
    if (reply.length && expected_.bytes && *reply.length != *expected_.bytes) {
      return refuse(What::kFailed, fmt::format("the server announces {} bytes, {} are needed",
                                               *reply.length, *expected_.bytes));
    }
    if (reply.length && *reply.length > limits_.bytes) {
      return refuse(What::kFailed,
                    fmt::format("the server announces {} bytes, at most {} are taken",
                                *reply.length, limits_.bytes));
    }
    accepted_ = true;
    anew_ = false;
    from_ = 0;
    total_ = expected_.bytes ? expected_.bytes : reply.length;
    store_.clear();
    store_.set_origin({shown_url(url_), strong(reply.etag), total_});
    return true;
  }

  /// The answer has the rest of a content whose beginning is in the store.
  bool rest(const ReplyHead& reply) {
    const auto range = read_range(reply.content_range);
    if (!range || range->first != from_) {
      return refuse(What::kAnew,
                    fmt::format("the server sends the part '{}', bytes from {} on were asked for",
                                reply.content_range, from_));
    }
    if (range->whole && total_ && *range->whole != *total_) {
      return refuse(What::kAnew, fmt::format("the server now has {} bytes, {} were needed",
                                             *range->whole, *total_));
    }
    const Origin origin = store_.origin();
    if (!origin.etag.empty() && !reply.etag.empty() && reply.etag != origin.etag) {
      return refuse(What::kAnew, "the server now has another content");
    }
    const bool same_tag = !origin.etag.empty() && reply.etag == origin.etag;
    const bool same_size = range->whole && range->whole == origin.bytes;
    if (!same_tag && !same_size) {
      return refuse(What::kAnew, "the server does not say that its part is of the same content");
    }
    accepted_ = true;
    total_ = total_ ? total_ : range->whole;
    return true;
  }

  bool data(std::span<const std::uint8_t> bytes) override {
    progress::tick();
    if (!accepted_) {
      return refuse(What::kFailed, "bytes came that no answer had announced");
    }
    const std::uint64_t most = std::min(total_.value_or(limits_.bytes), limits_.bytes);
    if (bytes.size() > most - std::min(most, store_.size())) {
      store_.clear();
      return refuse(What::kFailed, fmt::format("more than the {} bytes came that {}", most,
                                               total_ == most ? "are needed" : "are taken"));
    }
    store_.append(bytes);
    if (progress_) {
      progress_(store_.size(), total_);
    }
    return true;
  }

  const std::string& url_;
  const Expected& expected_;
  const Limits& limits_;
  const Progress& progress_;
  Store& store_;
  Clock::time_point start_ = Clock::now();
  std::string last_url_;
  std::uint64_t from_ = 0;              // where the try under way began
  std::optional<std::uint64_t> total_;  // of the whole content
  std::optional<Outcome> refusal_;      // why an answer was not taken
  bool accepted_ = false;               // an answer's head, in the try under way
  bool anew_ = false;                   // what is in the store is not gone on with
  bool began_anew_ = false;
};

}  // namespace

bool is_url(const std::string& text) {
  std::string start = text.substr(0, std::string_view("https://").size());
  std::transform(start.begin(), start.end(), start.begin(), [](unsigned char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a')
                                          : static_cast<char>(letter);
  });
  return start.starts_with("http://") || start == "https://";
}

void require_url(const std::string& text) {
  if (!is_url(text)) {
    throw JobError(
        fmt::format("'{}' cannot be fetched: a URL begins with http:// or https://", text));
  }
}

std::string shown_url(const std::string& url) {
  const std::size_t colon = url.find("://");
  if (colon == std::string::npos) {
    return url;
  }
  const std::size_t host = colon + 3;
  const std::size_t end = std::min(url.find_first_of("/?#", host), url.size());
  const std::size_t at = url.substr(0, end).rfind('@');
  return at == std::string::npos || at < host ? url : url.substr(0, host) + url.substr(at + 1);
}

void transfer(const std::string& url, const Expected& expected, const Limits& limits,
              const Progress& progress, Store& store) {
  require_url(url);
  Transfer(url, expected, limits, progress, store).run();
}

}  // namespace gentrain::net
