// Ranks inside one process: mailboxes under one lock.
#include "tests/support/local_ranks.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::test {

using comm::Bytes;
using comm::ConstBytes;
using comm::Transfer;

/// Packets that go out and packets that are waited for.
class LocalRanks::Exchanged : public Transfer {
 public:
  explicit Exchanged(LocalRanks& world) : world_(world) {}
  ~Exchanged() override {
    const std::lock_guard lock(world_.mutex_);
    for (const auto& packet : outgoing_) {
      packet->given_up = true;
    }
  }
  Exchanged(const Exchanged&) = delete;
  Exchanged& operator=(const Exchanged&) = delete;

  void send(const Key& key, std::vector<ConstBytes> pieces) {
    if (pieces.empty()) {
      return;
    }
    const std::lock_guard lock(world_.mutex_);
    for (const ConstBytes& piece : pieces) {
      world_.bytes_sent_[static_cast<std::size_t>(std::get<0>(key))] +=
          static_cast<std::int64_t>(piece.size);
    }
    outgoing_.push_back(std::make_shared<Packet>(Packet{std::move(pieces)}));
    world_.mail_[key].push_back(outgoing_.back());
  }
  void receive(const Key& key, std::vector<Bytes> pieces) {
    if (!pieces.empty()) {
      incoming_.push_back({key, std::move(pieces)});
    }
  }

  bool poll() override {
    const std::lock_guard lock(world_.mutex_);
    std::erase_if(incoming_, [&](const Incoming& incoming) { return take(incoming); });
    return incoming_.empty() && std::all_of(outgoing_.begin(), outgoing_.end(),
                                            [](const auto& packet) { return packet->ended; });
  }

 private:
  struct Incoming {
    Key key;
    std::vector<Bytes> pieces;
  };

  bool take(const Incoming& incoming) {
    auto& box = world_.mail_[incoming.key];
    if (box.empty() || box.front()->given_up) {
      return false;
    }
    Packet& packet = *box.front();
    if (packet.pieces.size() != incoming.pieces.size()) {
      throw CommError(fmt::format("{} pieces came, {} were expected", packet.pieces.size(),
                                  incoming.pieces.size()));
    }
    for (std::size_t i = 0; i < packet.pieces.size(); ++i) {
      if (packet.pieces[i].size != incoming.pieces[i].size) {
        throw CommError(fmt::format("{} bytes came, {} were expected", packet.pieces[i].size,
                                    incoming.pieces[i].size));
      }
      std::copy_n(static_cast<const std::byte*>(packet.pieces[i].data), packet.pieces[i].size,
                  static_cast<std::byte*>(incoming.pieces[i].data));
    }
    packet.ended = true;
    box.pop_front();
    return true;
  }

  LocalRanks& world_;
  std::vector<Incoming> incoming_;
  std::vector<std::shared_ptr<Packet>> outgoing_;
};

/// A sum as a library might take it: from the last rank to the first.
class LocalRanks::Sum : public Transfer {
 public:
  Sum(LocalRanks& world, int rank, std::span<const std::span<float>> parts, int tag)
      : rank_(rank), parts_(parts.begin(), parts.end()), moved_(world) {
    const std::span<float> own = parts_[static_cast<std::size_t>(rank)];
    received_.assign(parts.size(), std::vector<float>(own.size()));
    for (std::size_t r = 0; r < parts.size(); ++r) {
      const int other = static_cast<int>(r);
      if (other != rank) {
        moved_.send({rank, other, Kind::kSum, tag}, {{parts_[r].data(), parts_[r].size_bytes()}});
        moved_.receive({other, rank, Kind::kSum, tag}, {{received_[r].data(), own.size_bytes()}});
      }
    }
  }

  bool poll() override {
    if (!done_ && moved_.poll()) {
      done_ = true;
      const std::span<float> own = parts_[static_cast<std::size_t>(rank_)];
      std::copy(own.begin(), own.end(), received_[static_cast<std::size_t>(rank_)].begin());
      std::fill(own.begin(), own.end(), 0.0F);
      for (std::size_t r = received_.size(); r-- > 0;) {
        for (std::size_t i = 0; i < own.size(); ++i) {
          own[i] += received_[r][i];
        }
      }
    }
    return done_;
  }

 private:
  int rank_;
  std::vector<std::span<float>> parts_;
  std::vector<std::vector<float>> received_;
  bool done_ = false;
  Exchanged moved_;
};

class LocalRanks::Rank : public comm::Communicator {
 public:
  Rank(LocalRanks& world, int rank) : world_(world), rank_(rank) {}

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return static_cast<int>(world_.bytes_sent_.size()); }
  [[nodiscard]] std::string where() const override { return fmt::format("local:{}", rank_); }
  [[nodiscard]] int ranks_on_host() const override { return size(); }

  std::unique_ptr<Transfer> all_to_all(std::span<const std::vector<ConstBytes>> send,
                                       std::span<const std::vector<Bytes>> receive,
                                       int tag) override {
    auto transfer = std::make_unique<Exchanged>(world_);
    for (int r = 0; r < size(); ++r) {
      if (r != rank_) {
        transfer->send({rank_, r, Kind::kAllToAll, tag}, send[static_cast<std::size_t>(r)]);
        transfer->receive({r, rank_, Kind::kAllToAll, tag}, receive[static_cast<std::size_t>(r)]);
      }
    }
    return transfer;
  }

  std::unique_ptr<Transfer> all_gather(std::span<const Bytes> parts, int tag) override {
    auto transfer = std::make_unique<Exchanged>(world_);
    const Bytes& own = parts[static_cast<std::size_t>(rank_)];
    for (int r = 0; r < size(); ++r) {
      if (r != rank_) {
        transfer->send({rank_, r, Kind::kAllGather, tag}, {{own.data, own.size}});
        transfer->receive({r, rank_, Kind::kAllGather, tag}, {parts[static_cast<std::size_t>(r)]});
      }
    }
    return transfer;
  }

  std::unique_ptr<Transfer> reduce_scatter(std::span<const std::span<float>> parts,
                                           int tag) override {
    return std::make_unique<Sum>(world_, rank_, parts, tag);
  }

  void broadcast(Bytes data, int root) override {
    if (rank_ == root) {
      world_.broadcast_ = data;
    }
    barrier();
    if (rank_ != root && data.size > 0) {
      std::memcpy(data.data, world_.broadcast_.data, data.size);
    }
    barrier();
  }

  std::vector<std::string> all_gather_text(const std::string& text) override {
    world_.texts_[static_cast<std::size_t>(rank_)] = text;
    barrier();
    std::vector<std::string> texts = world_.texts_;
    barrier();
    return texts;
  }

  void barrier() override { world_.barrier_.arrive_and_wait(); }
  [[noreturn]] void abort(int exit_code) noexcept override { std::_Exit(exit_code); }

 private:
  LocalRanks& world_;
  int rank_;
};

LocalRanks::LocalRanks(int ranks)
    : bytes_sent_(static_cast<std::size_t>(ranks)),
      texts_(static_cast<std::size_t>(ranks)),
      barrier_(ranks) {
  for (int r = 0; r < ranks; ++r) {
    ranks_.push_back(std::make_unique<Rank>(*this, r));
  }
}

LocalRanks::~LocalRanks() = default;

comm::Communicator& LocalRanks::rank(int rank) {
  return *ranks_[static_cast<std::size_t>(rank)];
}

std::int64_t LocalRanks::bytes_sent(int rank) const {
  const std::lock_guard lock(mutex_);
  return bytes_sent_[static_cast<std::size_t>(rank)];
}

}  // namespace gentrain::test
