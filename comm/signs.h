// Signs of life: every rank tells its two neighbours in a ring what it knows of all ranks. So each
// has a table of what everybody did last, as old as the way round the ring, also where one rank in
// it has fallen silent; which the rank behind that one notices.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/activity.h"

namespace gentrain::comm {

/// What a rank says of itself. Travels as bytes.
struct Sign {
  std::uint64_t beat = 0;         // counts the signs of this rank: the larger one is newer
  std::uint64_t progress = 0;     // pieces of work that it finished
  std::uint64_t collectives = 0;  // blocking operations that it began
  std::int64_t step = 0;
  std::int32_t bucket = 0;
  std::int32_t phase = 0;
  std::int64_t at_disk = 0;  // not 0: it writes or flushes, which a disk may do in one go
};

enum class Neighbour : std::uint8_t { kPrevious, kNext };

/// Seconds without a sign of life after which a neighbour is called silent. The previous rank's is
/// the first word. A rank whose process is there and runs may be silent because another one was
/// stopped in the middle of a message to it (shared memory makes the reader wait): it gets a second
/// more, in which the stopped one's neighbours speak.
double silent_after(Neighbour which, bool runs);

/// The way that signs take: small messages beside all operations of a communicator. For one thread
/// at a time, which may be another than the communicator's. Throws CommError on failure.
class SignRing {
 public:
  virtual ~SignRing() = default;
  /// Sends to both neighbours; not to one that has not taken the last sign, nor while MPI is being
  /// used.
  virtual void send(std::span<const std::byte> signs) = 0;
  /// Takes a neighbour's newest message, all of `signs`; false if none came.
  virtual bool receive(Neighbour from, std::span<std::byte> signs) = 0;
  /// Whether the last call could use MPI at all: not while another thread hangs in it.
  [[nodiscard]] virtual bool hears() const = 0;
  /// How often the communicator's thread has looked for messages.
  [[nodiscard]] virtual std::uint64_t polls() const = 0;
  /// Blocking operations that it began.
  [[nodiscard]] virtual std::uint64_t collectives() const = 0;
  /// Ranks from which messages are missing that it asked for; blocking operations do not tell.
  virtual std::vector<int> missing() = 0;
};

/// What one rank knows of all. Times are seconds of this process, as pass() counts them.
class SignTable {
 public:
  SignTable(int ranks, int rank);

  /// `heard`: signs could be received; else nobody's silence is counted.
  void pass(double seconds, bool heard = true);
  /// A new sign of this rank; its beat is counted here.
  void set_own(Sign sign);
  /// Takes what is newer of a neighbour's table, which is as long as bytes().
  void merge(Neighbour from, std::span<const std::byte> bytes);
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(signs_));
  }

  [[nodiscard]] const Sign& sign(int rank) const { return signs_[static_cast<std::size_t>(rank)]; }
  /// Since a neighbour's last message.
  [[nodiscard]] double silence(Neighbour from) const {
    return silence_[static_cast<std::size_t>(from)];
  }
  /// Since a rank was last seen to have finished something.
  [[nodiscard]] double idle(int rank) const { return idle_[static_cast<std::size_t>(rank)]; }
  /// The least of them.
  [[nodiscard]] double least_idle() const;
  /// Whether some rank writes or flushes.
  [[nodiscard]] bool any_at_disk() const;
  /// Ranks that began fewer blocking operations than this one.
  [[nodiscard]] std::vector<int> behind() const;

 private:
  int rank_;
  std::vector<Sign> signs_;
  std::vector<double> idle_;
  std::array<double, 2> silence_ = {};  // by Neighbour
};

}  // namespace gentrain::comm
