// Communicator: moves bytes between ranks. It never adds, but for reduce_scatter (see there).
//
// One thread at a time may call a communicator, and with MPI always the same one, but for abort(),
// activity() and the ring of signs. Operations that return a Transfer are asynchronous; they make
// progress in poll() only.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/activity.h"

namespace gentrain::comm {

class SignRing;

/// Exit code of a process that ends because of other ranks, or because it is stuck.
inline constexpr int kRankTroubleCode = 5;

struct Bytes {
  void* data = nullptr;
  std::size_t size = 0;
};
struct ConstBytes {
  const void* data = nullptr;
  std::size_t size = 0;
};

/// The same memory for all ranks of a host, maybe at different addresses.
struct HostMemory {
  std::shared_ptr<void> data;
  std::size_t bytes = 0;
  bool shared = false;  // false: this rank has it alone
  bool first = true;    // exactly one of the ranks that have it together, which may fill it
};
/// So many bytes at its beginning are zero.
inline constexpr std::size_t kHostMemoryZeros = std::size_t{64} << 10;

/// An operation under way. Its buffers must live and stay untouched until poll() gives true. One
/// that is destroyed before gives up: then the communicator is good for abort() only.
class Transfer {
 public:
  virtual ~Transfer() = default;
  /// Drives the operation; true once it has ended (and ever after). Throws CommError on failure.
  virtual bool poll() = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// "host:pid" of this rank.
  [[nodiscard]] virtual std::string where() const = 0;
  /// Number of ranks on this rank's host, this one included.
  [[nodiscard]] virtual int ranks_on_host() const = 0;

  /// Sends `send[r]` (any number of pieces) to rank r and fills `receive[r]` from rank r; the
  /// pieces of a pair must agree in number and size on both sides. Pieces to oneself are not moved
  /// and must be empty. Operations under way at the same time are told apart by `tag`, 0 <= tag <
  /// 32,000.
  virtual std::unique_ptr<Transfer> all_to_all(std::span<const std::vector<ConstBytes>> send,
                                               std::span<const std::vector<Bytes>> receive,
                                               int tag) = 0;
  /// Fills parts[r] of every rank with parts[r] of rank r; parts[rank()] is the one sent.
  virtual std::unique_ptr<Transfer> all_gather(std::span<const Bytes> parts, int tag) = 0;
  /// Library sum of floats: parts[rank()] becomes the sum over ranks of their parts[rank()]; the
  /// other parts are only read. Order and rounding are the library's: not part of the promise.
  virtual std::unique_ptr<Transfer> reduce_scatter(std::span<const std::span<float>> parts,
                                                   int tag) = 0;

  /// The first of `count` tags for a user who keeps them, such as an exchange. After 32,000 the
  /// oldest are handed out again. Collective, in the same order on all ranks. Calls of
  /// reduce_scatter must be in the same order on all ranks; with `library_sums` only those with
  /// tags of one reservation. Throws CommError for more than 32,000 tags.
  virtual int reserve_tags(int count, bool library_sums);

  /// Fills `data` of every rank with that of rank `root`, 0 <= root < size(). Collective, blocking.
  /// All ranks give the same size and root. Like the two that follow, throws CommError on failure.
  virtual void broadcast(Bytes data, int root) = 0;
  /// Every rank's text on every rank, by rank; texts may differ in length, together they have less
  /// than 2 GiB. Collective, blocking.
  virtual std::vector<std::string> all_gather_text(const std::string& text) = 0;
  /// Returns when all ranks have called it.
  virtual void barrier() = 0;
  /// `bytes` bytes for all ranks of a host together, aligned to 64; pages that nobody writes take
  /// no memory. Where a host has no room for shared memory its ranks have some each for themselves.
  /// It must not be used when the communicator is gone. All ranks give the same size. Collective,
  /// blocking. Throws CommError on failure, also where the system has none left.
  virtual HostMemory host_memory(std::size_t bytes);
  /// Ends every rank of the job with this exit code, whatever they are doing. May be called by any
  /// thread; does not return.
  [[noreturn]] virtual void abort(int exit_code) noexcept = 0;

  /// What this rank is doing, for its watchdog.
  [[nodiscard]] Activity& activity() { return activity_; }
  /// The ring in which ranks send each other signs of `bytes` bytes; null where there are no other
  /// ranks. One at a time, destroyed before the communicator.
  virtual std::unique_ptr<SignRing> sign_ring(std::size_t bytes);

 private:
  Activity activity_;
  int next_tag_ = 0;
};

/// One rank, no launcher: nothing is initialised, nothing moves.
std::unique_ptr<Communicator> make_single();

/// The ranks that a launcher (mpirun, srun) started. Initialises MPI; the calling thread must be
/// the one that uses the communicator. Throws CommError if MPI cannot be initialised.
std::unique_ptr<Communicator> make_mpi();

/// What the environment says of a launcher before anything is initialised.
struct Launcher {
  bool present = false;   // started by mpirun, or by srun with PMI
  int promised_size = 1;  // ranks that it says there are; 0: it does not say; 1 without a launcher
  std::string name;       // "mpirun", "srun" (present or not: without PMI it is not), ""
};
Launcher detect_launcher();
/// The rank that the launcher's environment gives this process, for what is done without MPI; 0
/// where it gives none.
int launched_rank();

/// make_mpi() under a launcher, make_single() without. Both remove what killed ranks of this user
/// left in this host's shared memory.
/// Throws CommError if the launcher promised another number of ranks than MPI finds, or started
/// several processes without PMI, which could not find each other.
std::unique_ptr<Communicator> make_communicator();

/// "host:pid" of this process.
std::string host_and_process();

/// "Open MPI 4.1.4"; MPI need not be initialised.
std::string mpi_version();

/// Rank `rank` of `size` ranks whose others are not there: every operation ends at once and moves
/// nothing; what other ranks would have sent is zero. For estimates of what a run takes; what it
/// computes is worthless.
std::unique_ptr<Communicator> make_pretended(int size, int rank);

}  // namespace gentrain::comm
