// Ranks over MPI. One thread owns the communicator; every operation is non-blocking underneath, so
// that a request to abort is seen while waiting, and signs of life pass between the looks.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "comm/mpi/mpi_process.h"
#include "comm/mpi/mpi_requests.h"
#include "comm/mpi/mpi_signs.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::comm {

namespace {

constexpr int kSpins = 2000;  // polls before a blocking call begins to sleep
/// MPI's start waits for all ranks, which may come from a slow disk; its end for ranks that are
/// there.
constexpr double kStartSeconds = 60;
constexpr double kEndSeconds = 8;
constexpr int kStoppedSeconds = 8;
constexpr std::size_t kLine = 64;  // of a cache

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator() {
    int before = 0;
    int after = 0;
    MPI_Initialized(&before);
    MPI_Finalized(&after);
    if (before != 0 || after != 0) {
      throw CommError("MPI was initialised before: a process has one MPI communicator at most");
    }
    die_with_launcher();
    guard_.emplace("MPI_Init or behind it", kStoppedSeconds);
    const TimeLimit limit("MPI_Init", kStartSeconds, kRankTroubleCode);
    int provided = MPI_THREAD_SINGLE;
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided),
              "MPI_Init_thread");
    if (provided < MPI_THREAD_SERIALIZED) {
      throw CommError("this MPI does not let threads call it in turn (MPI_THREAD_SERIALIZED)");
    }
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
              "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
    check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
    check_mpi(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host_),
              "MPI_Comm_split_type");
    check_mpi(MPI_Comm_size(host_, &ranks_on_host_), "MPI_Comm_size");
  }

  /// Ends MPI together with all ranks. When an exception passes it does not, as the others would
  /// not come: the launcher then sees a process that ends without, and ends the job.
  ~MpiCommunicator() override {
    guard_.reset();
    if (std::uncaught_exceptions() == 0 && all_came()) {
      const StopGuard guard("MPI_Finalize", kStoppedSeconds);
      const TimeLimit limit("MPI_Finalize", kEndSeconds, kRankTroubleCode);
      for (SumTags& tags : sum_tags_) {
        MPI_Comm_free(&tags.comm);
      }
      for (MPI_Win& window : windows_) {
        MPI_Win_free(&window);
      }
      MPI_Comm_free(&host_);
      MPI_Comm_free(&comm_);
      MPI_Finalize();
    }
  }
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::string where() const override { return host_and_process(); }
  [[nodiscard]] int ranks_on_host() const override { return ranks_on_host_; }

  std::unique_ptr<Transfer> all_to_all(std::span<const std::vector<ConstBytes>> send,
                                       std::span<const std::vector<Bytes>> receive,
                                       int tag) override {
    check_parts("all_to_all", send.size());
    check_parts("all_to_all", receive.size());
    auto transfer = std::make_unique<MpiRequests>(control_);
    const std::lock_guard lock(control_.mutex);
    MpiMessage message;
    for (int i = 1; i < size_; ++i) {
      const int from = (rank_ + i) % size_;
      message.clear();
      for (const Bytes& piece : receive[static_cast<std::size_t>(from)]) {
        message.add(piece.data, piece.size);
      }
      if (!message.empty()) {
        transfer->receive(message, from, 2 * tag, comm_);
      }
    }
    for (int i = 1; i < size_; ++i) {
      const int to = (rank_ + size_ - i) % size_;
      message.clear();
      for (const ConstBytes& piece : send[static_cast<std::size_t>(to)]) {
        message.add(piece.data, piece.size);
      }
      if (!message.empty()) {
        transfer->send(message, to, 2 * tag, comm_);
      }
    }
    return transfer;
  }

  std::unique_ptr<Transfer> all_gather(std::span<const Bytes> parts, int tag) override {
    check_parts("all_gather", parts.size());
    auto transfer = std::make_unique<MpiRequests>(control_);
    const std::lock_guard lock(control_.mutex);
    MpiMessage message;
    for (int i = 1; i < size_; ++i) {
      const int from = (rank_ + i) % size_;
      const Bytes& part = parts[static_cast<std::size_t>(from)];
      message.clear();
      message.add(part.data, part.size);
      if (!message.empty()) {
        transfer->receive(message, from, 2 * tag + 1, comm_);
      }
    }
    const Bytes& own = parts[static_cast<std::size_t>(rank_)];
    message.clear();
    message.add(own.data, own.size);
    for (int i = 1; i < size_ && !message.empty(); ++i) {
      transfer->send(message, (rank_ + size_ - i) % size_, 2 * tag + 1, comm_);
    }
    return transfer;
  }

  std::unique_ptr<Transfer> reduce_scatter(std::span<const std::span<float>> parts,
                                           int tag) override {
    check_parts("reduce_scatter", parts.size());
    MPI_Comm comm = comm_;
    for (const SumTags& tags : sum_tags_) {
      if (tag >= tags.first && tag < tags.first + tags.count) {
        comm = tags.comm;
      }
    }
    return std::make_unique<MpiLibrarySum>(control_, parts, rank_, comm);
  }

  /// Sums of the library have no tags: each reservation gets a communicator of its own.
  int reserve_tags(int count, bool library_sums) override {
    const int first = Communicator::reserve_tags(count, library_sums);
    if (library_sums) {
      MPI_Comm comm = MPI_COMM_NULL;
      complete("MPI_Comm_idup", [&] { return MPI_Comm_idup(comm_, &comm, &blocking_); });
      sum_tags_.push_back({first, count, comm});
    }
    return first;
  }

  void broadcast(Bytes data, int root) override {
    for (std::size_t done = 0; done < data.size; done += kMpiChunk) {
      const auto size = static_cast<int>(std::min(kMpiChunk, data.size - done));
      complete("MPI_Ibcast", [&] {
        return MPI_Ibcast(static_cast<std::byte*>(data.data) + done, size, MPI_BYTE, root, comm_,
                          &blocking_);
      });
    }
  }

  std::vector<std::string> all_gather_text(const std::string& text) override {
    const auto ranks = static_cast<std::size_t>(size_);
    const int length = mpi_count(text.size(), "all_gather_text");
    std::vector<int> lengths(ranks);
    complete("MPI_Iallgather", [&] {
      return MPI_Iallgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, comm_, &blocking_);
    });
    std::vector<int> offsets(ranks);
    std::size_t total = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
      offsets[r] = mpi_count(total, "all_gather_text");
      total += static_cast<std::size_t>(lengths[r]);
    }
    std::string all(static_cast<std::size_t>(mpi_count(total, "all_gather_text")), '\0');
    complete("MPI_Iallgatherv", [&] {
      return MPI_Iallgatherv(text.data(), length, MPI_CHAR, all.data(), lengths.data(),
                             offsets.data(), MPI_CHAR, comm_, &blocking_);
    });
    std::vector<std::string> texts;
    for (std::size_t r = 0; r < ranks; ++r) {
      texts.push_back(
          all.substr(static_cast<std::size_t>(offsets[r]), static_cast<std::size_t>(lengths[r])));
    }
    return texts;
  }

  void barrier() override {
    complete("MPI_Ibarrier", [&] { return MPI_Ibarrier(comm_, &blocking_); });
  }

  /// A window of the host's first rank, which all look into.
  HostMemory host_memory(std::size_t bytes) override {
    int first = 0;
    check_mpi(MPI_Comm_rank(host_, &first), "MPI_Comm_rank");
    const std::size_t whole = bytes + kLine;
    // OpenMPI waits for ever for a first rank that finds no room, and for ranks that are elsewhere.
    const int here = ranks_on_host_ > 1 && memory_.has_room_for(whole) ? 1 : 0;
    int room = 0;
    complete("MPI_Iallreduce",
             [&] { return MPI_Iallreduce(&here, &room, 1, MPI_INT, MPI_MIN, host_, &blocking_); });
    HostMemory memory;
    if (room == 0) {
      memory = Communicator::host_memory(bytes);
    } else {
      void* start = make_window(first == 0 ? whole : 0);
      std::size_t space = whole;
      std::align(kLine, bytes, start, space);
      if (first == 0) {
        std::memset(start, 0, std::min(bytes, kHostMemoryZeros));
      }
      memory = {{start, [](void*) {}}, bytes, true, first == 0};
    }
    // On every host, as the watchdogs compare how many such operations each rank has begun.
    complete("MPI_Ibarrier", [&] { return MPI_Ibarrier(host_, &blocking_); });
    return memory;
  }

  std::unique_ptr<SignRing> sign_ring(std::size_t bytes) override {
    guard_.reset();  // from here on the others notice
    watched_ = size_ > 1;
    return watched_ ? make_mpi_signs(control_, comm_, bytes) : nullptr;
  }

  [[noreturn]] void abort(int exit_code) noexcept override {
    try {
      std::thread([exit_code] {
        std::this_thread::sleep_for(std::chrono::seconds(1));
        _exit(exit_code);
      }).detach();
    } catch (...) {
      _exit(exit_code);
    }
    std::fflush(nullptr);  // may block
    if (std::this_thread::get_id() != control_.thread) {
      // The thread that calls MPI does it when it next looks; if it does not look, this one does.
      control_.abort_code.store(exit_code);
      control_.abort_asked.store(true, std::memory_order_release);
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    _exit(exit_code);
  }

 private:
  struct SumTags {
    int first = 0;
    int count = 0;
    MPI_Comm comm = MPI_COMM_NULL;
  };

  /// Waits until all ranks are about to end MPI: for as long as it takes, unless they had
  /// watchdogs, which end together.
  bool all_came() noexcept {
    try {
      std::optional<TimeLimit> limit;
      if (watched_) {
        limit.emplace("the last barrier", kEndSeconds, kRankTroubleCode);
      }
      barrier();
      return true;
    } catch (...) {
      return false;
    }
  }

  /// The first rank's part of a new window. All ranks of the host have come here.
  void* make_window(std::size_t bytes) {
    const std::lock_guard lock(control_.mutex);
    void* own = nullptr;
    MPI_Win window = MPI_WIN_NULL;
    check_mpi(MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes), 1, MPI_INFO_NULL, host_, &own,
                                      &window),
              "MPI_Win_allocate_shared");
    windows_.push_back(window);
    MPI_Aint size = 0;
    int unit = 1;
    void* start = nullptr;
    check_mpi(MPI_Win_shared_query(window, 0, &size, &unit, &start), "MPI_Win_shared_query");
    return start;
  }

  void check_parts(const char* operation, std::size_t parts) const {
    if (parts != static_cast<std::size_t>(size_)) {
      throw CommError(fmt::format("{}: {} parts for {} ranks", operation, parts, size_));
    }
  }

  /// Begins a blocking operation by `start`, which gives MPI's code, and waits for its end.
  template <class Start>
  void complete(const char* call, const Start& start) {
    {
      const std::lock_guard lock(control_.mutex);
      check_mpi(start(), call);
    }
    control_.collectives.fetch_add(1, std::memory_order_relaxed);
    for (int polls = 0; !blocking_ended();) {
      if (polls < kSpins) {
        ++polls;
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
    progress::tick();
  }

  bool blocking_ended() {
    control_.heed_abort();
    const std::lock_guard lock(control_.mutex);
    int flag = 0;
    check_mpi(MPI_Test(&blocking_, &flag, MPI_STATUS_IGNORE), "MPI_Test");
    return flag != 0;
  }

  MpiSharedMemory memory_;  // first: until MPI has ended
  MpiControl control_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  MPI_Comm host_ = MPI_COMM_NULL;  // the ranks of this host
  std::vector<MPI_Win> windows_;
  MPI_Request blocking_ = MPI_REQUEST_NULL;  // of the blocking operation under way
  int rank_ = 0;
  int size_ = 1;
  int ranks_on_host_ = 1;
  std::optional<StopGuard> guard_;  // until a watchdog is there
  bool watched_ = false;
  std::vector<SumTags> sum_tags_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi() {
  return std::make_unique<MpiCommunicator>();
}

}  // namespace gentrain::comm
