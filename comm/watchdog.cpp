// The watchdog's thread: samples the process, exchanges signs, judges.
#include "comm/watchdog.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "comm/idle_clock.h"
#include "comm/process_sampler.h"
#include "comm/process_stat.h"
#include "comm/signs.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::comm {

namespace {

constexpr auto kInterval = std::chrono::milliseconds(250);
constexpr auto kLastWords = std::chrono::seconds(2);  // then the process ends in any case
constexpr std::size_t kMostNamed = 8;
constexpr std::chrono::seconds kAtOnce{0};

/// Work in the background is progress where it is waited for: in a step it must not hide that the
/// step hangs.
std::uint64_t progress_in(Phase phase) {
  const bool waited_for =
      phase == Phase::kPreparing || phase == Phase::kWriting || phase == Phase::kEnding;
  return progress::finished() + (waited_for ? progress::finished_in_background() : 0);
}

void print(const std::string& words) {
  const std::string line = "gentrain: " + words + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

class Watchdog::Thread {
 public:
  Thread(Communicator& communicator, std::vector<std::string> places)
      : communicator_(communicator),
        activity_(communicator.activity()),
        rank_(communicator.rank()),
        places_(std::move(places)),
        table_(communicator.size(), communicator.rank()),
        incoming_(table_.bytes().size()),
        ring_(communicator.sign_ring(incoming_.size())),
        thread_([this] { run(); }) {}
  ~Thread() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

 private:
  void run() {
    try {
      std::unique_lock lock(mutex_);
      while (!changed_.wait_for(lock, kInterval, [this] { return stop_; })) {
        look();
      }
    } catch (const CommError& error) {
      end(fmt::format("{}: signs of life cannot be exchanged: {}", name(rank_), error.what()));
    } catch (const std::exception& error) {
      end(fmt::format("{}: the watchdog failed: {}", name(rank_), error.what()));
    }
  }

  void look() {
    const std::uint64_t polls = activity_.looks() + (ring_ ? ring_->polls() : 0);
    const Phase phase = activity_.phase();
    const std::uint64_t done = progress_in(phase);
    clock_.add(sampler_.take(done, polls), phase);
    table_.pass(clock_.last(), deaf_ == 0);
    table_.set_own({.progress = done,
                    .collectives = ring_ ? ring_->collectives() : 0,
                    .step = activity_.step(),
                    .bucket = activity_.bucket(),
                    .phase = static_cast<std::int32_t>(phase),
                    .at_disk = progress::flushing() || phase == Phase::kWriting ? 1 : 0});
    if (ring_) {
      for (const Neighbour from : {Neighbour::kPrevious, Neighbour::kNext}) {
        if (ring_->receive(from, incoming_)) {
          table_.merge(from, incoming_);
        }
      }
      ring_->send(table_.bytes());
      deaf_ = ring_->hears() ? 0 : deaf_ + clock_.last();
    }
    const bool deaf = deaf_ > 0;
    if (deaf_ >= kDeafSeconds) {
      blame_stopped();
    }
    if (clock_.stuck() >= clock_.limit(phase) + (deaf ? kDeafDoubt : 0)) {
      end(fmt::format("{} is stuck: no progress for {:.1f} s in {}", name(rank_), clock_.stuck(),
                      state(rank_)));
    }
    if (ring_ && !deaf) {
      judge_others();
    }
  }

  /// While a thread hangs in MPI: names the ranks of this host that are stopped, if there are some.
  void blame_stopped() {
    std::vector<std::string> stopped;
    for (int r = 0; r < communicator_.size(); ++r) {
      if (process_state(r) == 'T') {
        stopped.push_back(name(r));
      }
    }
    if (!stopped.empty()) {
      end(
          fmt::format("{} is silent: it was stopped in the middle of a message; {} has hung in MPI "
                      "for {:.1f} s",
                      fmt::join(stopped, ", "), name(rank_), deaf_));
    }
  }

  void judge_others() {
    const int ranks = communicator_.size();
    judge_silence(Neighbour::kPrevious, (rank_ + ranks - 1) % ranks);
    judge_silence(Neighbour::kNext, (rank_ + 1) % ranks);
    const double quiet = table_.least_idle();
    longest_quiet_ = quiet < quiet_ ? std::max(longest_quiet_, quiet_) : longest_quiet_;
    quiet_ = quiet;
    const double least = table_.any_at_disk() ? kStuckWritingSeconds : kDeadlockSeconds;
    if (quiet >= std::max(least + communicator_.size(), kPauses * longest_quiet_)) {
      end(fmt::format("no rank has made progress for {:.1f} s: {}", quiet, own_state()));
    }
    if (clock_.idle() < kWarnSeconds) {
      warned_ = false;
    } else if (clock_.waits() && !warned_) {
      warn();
    }
  }

  void judge_silence(Neighbour which, int rank) {
    const double silence = table_.silence(which);
    if (silence >= silent_after(which, false) &&
        silence >= silent_after(which, seen_running(rank))) {
      end(fmt::format("{} is silent: no sign of life for {:.1f} s, the last one from {}; {}",
                      name(rank), silence, state(rank), own_state()));
    }
  }

  /// Whether a rank's process is on this host and neither dead nor stopped.
  [[nodiscard]] bool seen_running(int rank) const {
    const char state = process_state(rank);
    return state != '\0' && std::string_view("RSD").find(state) != std::string_view::npos;
  }

  /// What the kernel says of a rank's process on this host; '\0' of others.
  [[nodiscard]] char process_state(int rank) const {
    const std::string& place = places_[static_cast<std::size_t>(rank)];
    const std::string& own = places_[static_cast<std::size_t>(rank_)];
    const std::size_t host = own.rfind(':');
    if (place.rfind(':') != host || place.compare(0, host, own, 0, host) != 0) {
      return '\0';
    }
    const std::optional<ProcessStat> stat = read_process_stat(place.substr(host + 1));
    return stat ? stat->state : '\0';
  }

  /// Names the ranks that are waited for and get nowhere; said by the first rank that is none.
  void warn() {
    std::vector<int> ranks = missing();
    std::erase_if(ranks, [this](int r) { return table_.idle(r) < kWarnSeconds - 1; });
    if (ranks.empty()) {
      return;
    }
    for (int r = 0; r < rank_; ++r) {
      if (std::find(ranks.begin(), ranks.end(), r) == ranks.end()) {
        return;
      }
    }
    warned_ = true;
    const std::string words = fmt::format("{} has waited for {:.1f} s in {} for {}", name(rank_),
                                          clock_.idle(), state(rank_), names(ranks));
    print(words);
    // By another thread: while a disk hangs this one must go on giving signs of life.
    if (!logging_.valid() || logging_.wait_for(kAtOnce) == std::future_status::ready) {
      logging_ = std::async(std::launch::async, [this, words] { activity_.log(words, false); });
    }
  }

  /// Ranks whose messages are missing; in a blocking operation those that have not come to it.
  std::vector<int> missing() {
    std::vector<int> ranks = ring_->missing();
    return ranks.empty() ? table_.behind() : ranks;
  }

  [[noreturn]] void end(const std::string& words) noexcept {
    try {
      std::thread([] {
        std::this_thread::sleep_for(kLastWords);
        ::_exit(kRankTroubleCode);
      }).detach();
      print(words);
      activity_.log(words, true);
    } catch (...) {  // the job ends anyway
    }
    if (deaf_ == 0) {
      communicator_.abort(kRankTroubleCode);
    }
    ::_exit(kRankTroubleCode);  // its launcher ends the others
  }

  /// "rank 2 (host:4711)"
  [[nodiscard]] std::string name(int rank) const {
    return fmt::format("rank {} ({})", rank, places_[static_cast<std::size_t>(rank)]);
  }
  [[nodiscard]] std::string state(int rank) const {
    const Sign& sign = table_.sign(rank);
    return describe(static_cast<Phase>(sign.phase), sign.step, sign.bucket);
  }
  /// "rank 2 (host:4711; step 12, computing), rank 3 (...)"
  [[nodiscard]] std::string names(const std::vector<int>& ranks) const {
    std::vector<std::string> texts;
    for (const int r : ranks) {
      if (texts.size() == kMostNamed) {
        texts.push_back(fmt::format("and {} more", ranks.size() - kMostNamed));
        break;
      }
      texts.push_back(
          fmt::format("rank {} ({}; {})", r, places_[static_cast<std::size_t>(r)], state(r)));
    }
    return fmt::format("{}", fmt::join(texts, ", "));
  }
  [[nodiscard]] std::string own_state() {
    const std::vector<int> ranks = clock_.waits() ? missing() : std::vector<int>();
    if (ranks.empty()) {
      return fmt::format("{} is in {}", name(rank_), state(rank_));
    }
    return fmt::format("{} waits in {} for {}", name(rank_), state(rank_), names(ranks));
  }

  Communicator& communicator_;
  Activity& activity_;
  const int rank_;
  const std::vector<std::string> places_;  // "host:pid" by rank
  ProcessSampler sampler_;
  IdleClock clock_;
  SignTable table_;
  std::vector<std::byte> incoming_;
  std::unique_ptr<SignRing> ring_;
  double deaf_ = 0;           // s in which MPI could not be used
  double quiet_ = 0;          // s without progress of any rank
  double longest_quiet_ = 0;  // after which one went on
  bool warned_ = false;       // of what is waited for now
  std::future<void> logging_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::thread thread_;  // last: it uses all of the above
};

Watchdog::Watchdog(Communicator& communicator)
    : communicator_(communicator),
      exceptions_(std::uncaught_exceptions()),
      thread_(std::make_unique<Thread>(communicator,
                                       communicator.all_gather_text(communicator.where()))) {}

Watchdog::~Watchdog() {
  if (std::uncaught_exceptions() > exceptions_) {
    return;
  }
  communicator_.activity().enter(Phase::kEnding);
  try {
    communicator_.barrier();
  } catch (const std::exception& error) {
    print(error.what());
    communicator_.abort(kRankTroubleCode);
  }
}

}  // namespace gentrain::comm
