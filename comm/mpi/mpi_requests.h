// Messages and transfers over MPI, and what their users share: the lock that lets two threads call
// MPI in turn, and the wish to end the job.
#pragma once

#define OMPI_SKIP_MPICXX 1  // the C interface only: the C++ one would need another library
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include <mpi.h>

#include "comm/communicator.h"

namespace gentrain::comm {

inline constexpr std::size_t kMpiChunk = std::size_t{1} << 30;  // MPI counts in int

/// Throws CommError naming the call and MPI's reason unless the code is MPI_SUCCESS.
void check_mpi(int code, const char* call);

/// Throws CommError naming the operation for more elements than an int counts.
int mpi_count(std::size_t count, const char* operation);

class MpiRequests;

/// The thread that owns the communicator, and what other threads may want of it.
struct MpiControl {
  std::thread::id thread = std::this_thread::get_id();
  /// Held around every call of MPI, which none of them keeps for long.
  std::mutex mutex;
  std::atomic<int> abort_code{0};
  std::atomic<bool> abort_asked{false};
  std::atomic<std::uint64_t> polls{0};
  std::atomic<std::uint64_t> collectives{0};
  std::vector<MpiRequests*> under_way;           // guarded by the mutex
  std::vector<std::shared_ptr<void>> abandoned;  // memory of transfers given up; guarded likewise

  /// For the owning thread when it looks for messages: ends the job if that was asked for.
  void heed_abort() {
    polls.store(polls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (abort_asked.load(std::memory_order_acquire)) {
      MPI_Abort(MPI_COMM_WORLD, abort_code.load());
    }
  }
};

/// The pieces that go from one rank to another: one message.
class MpiMessage {
 public:
  void add(const void* data, std::size_t size);
  [[nodiscard]] bool empty() const { return lengths_.empty(); }
  [[nodiscard]] std::size_t bytes() const;
  void clear();

  /// Calls post(address, count, type), which begins the transfer.
  template <class Post>
  void post(const Post& post) const {
    if (lengths_.size() == 1) {
      post(first_, lengths_.front(), MPI_BYTE);
      return;
    }
    MPI_Datatype type = pieces_type();
    post(MPI_BOTTOM, 1, type);
    check_mpi(MPI_Type_free(&type), "MPI_Type_free");  // lives on until the transfer has ended
  }

 private:
  [[nodiscard]] MPI_Datatype pieces_type() const;

  std::vector<MPI_Aint> addresses_;
  std::vector<int> lengths_;
  const void* first_ = nullptr;
};

/// Messages to and from several ranks. Whoever adds to it holds the control's mutex.
class MpiRequests : public Transfer {
 public:
  explicit MpiRequests(MpiControl& control);
  ~MpiRequests() override;
  MpiRequests(const MpiRequests&) = delete;
  MpiRequests& operator=(const MpiRequests&) = delete;

  /// All receives are posted before the first send.
  void receive(const MpiMessage& message, int from, int tag, MPI_Comm comm);
  void send(const MpiMessage& message, int to, int tag, MPI_Comm comm);

  bool poll() override;
  /// Adds the ranks from which messages are missing. The caller holds the control's mutex.
  void add_missing(std::vector<int>& ranks) const;

 private:
  struct Receive {
    int from = 0;
    std::size_t bytes = 0;
  };
  void take_completed(int count);
  MPI_Request* add() { return &requests_.emplace_back(MPI_REQUEST_NULL); }

  MpiControl& control_;
  std::vector<MPI_Request> requests_;  // the receives, then the sends
  std::vector<Receive> receives_;
  std::vector<int> completed_;
  std::vector<MPI_Status> statuses_;
  std::size_t ended_ = 0;
};

/// MPI_Ireduce_scatter: the sum arrives in a buffer of its own, as the other parts are only read.
class MpiLibrarySum : public Transfer {
 public:
  MpiLibrarySum(MpiControl& control, std::span<const std::span<float>> parts, int rank,
                MPI_Comm comm);
  ~MpiLibrarySum() override;
  MpiLibrarySum(const MpiLibrarySum&) = delete;
  MpiLibrarySum& operator=(const MpiLibrarySum&) = delete;

  bool poll() override;

 private:
  MpiControl& control_;
  std::span<float> target_;
  std::shared_ptr<std::vector<float>> buffer_;  // the summands, then the sum
  float* result_ = nullptr;
  std::vector<int> counts_;
  MPI_Request request_ = MPI_REQUEST_NULL;
  bool done_ = false;
};

}  // namespace gentrain::comm
