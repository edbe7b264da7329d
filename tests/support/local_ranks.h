// Ranks inside one process, for tests: communicators that may be polled in turn by one thread or
// each by a thread of its own. Bytes are taken from the sender's buffers when the receiver polls,
// so that a buffer that is reused too early shows.
#pragma once

#include <barrier>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "comm/communicator.h"

namespace gentrain::test {

class LocalRanks {
 public:
  explicit LocalRanks(int ranks);
  ~LocalRanks();
  LocalRanks(const LocalRanks&) = delete;
  LocalRanks& operator=(const LocalRanks&) = delete;

  [[nodiscard]] comm::Communicator& rank(int rank);
  /// Bytes that a rank has given to its transfers so far.
  [[nodiscard]] std::int64_t bytes_sent(int rank) const;

 private:
  class Rank;
  class Exchanged;
  class Sum;
  enum class Kind : std::uint8_t { kAllToAll, kAllGather, kSum };
  using Key = std::tuple<int, int, Kind, int>;  // from, to, kind, tag

  /// What one rank sends to another in one operation.
  struct Packet {
    std::vector<comm::ConstBytes> pieces;
    bool ended = false;  // taken by the receiver
    bool given_up = false;
  };

  mutable std::mutex mutex_;
  std::map<Key, std::deque<std::shared_ptr<Packet>>> mail_;
  std::vector<std::int64_t> bytes_sent_;
  std::vector<std::string> texts_;
  comm::Bytes broadcast_;
  std::barrier<> barrier_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace gentrain::test
