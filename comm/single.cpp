// The communicator of a lone process, or of one that only pretends to have peers: nothing is
// initialised, nothing moves.
#include <array>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

#include "comm/communicator.h"
#include "kernels/error.h"

namespace gentrain::comm {

namespace {

class Ended : public Transfer {
 public:
  bool poll() override { return true; }
};

class Alone : public Communicator {
 public:
  Alone(int size, int rank) : size_(size), rank_(rank) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::string where() const override { return host_and_process(); }
  [[nodiscard]] int ranks_on_host() const override { return size_; }

  std::unique_ptr<Transfer> all_to_all(std::span<const std::vector<ConstBytes>> send,
                                       std::span<const std::vector<Bytes>> receive,
                                       int /*tag*/) override {
    check("all_to_all", send.size());
    check("all_to_all", receive.size());
    for (const std::vector<Bytes>& from : receive) {
      for (const Bytes& piece : from) {
        std::memset(piece.data, 0, piece.size);
      }
    }
    return std::make_unique<Ended>();
  }
  std::unique_ptr<Transfer> all_gather(std::span<const Bytes> parts, int /*tag*/) override {
    check("all_gather", parts.size());
    return std::make_unique<Ended>();
  }
  std::unique_ptr<Transfer> reduce_scatter(std::span<const std::span<float>> parts,
                                           int /*tag*/) override {
    check("reduce_scatter", parts.size());
    return std::make_unique<Ended>();
  }

  void broadcast(Bytes /*data*/, int /*root*/) override {}
  std::vector<std::string> all_gather_text(const std::string& text) override {
    return std::vector<std::string>(static_cast<std::size_t>(size_), text);
  }
  void barrier() override {}
  [[noreturn]] void abort(int exit_code) noexcept override {
    std::fflush(nullptr);
    _exit(exit_code);
  }

 private:
  void check(const char* operation, std::size_t parts) const {
    if (parts != static_cast<std::size_t>(size_)) {
      throw CommError(fmt::format("{}: {} parts for {} rank{}", operation, parts, size_,
                                  size_ == 1 ? "" : "s"));
    }
  }

  int size_;
  int rank_;
};

}  // namespace

std::string host_and_process() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format("{}:{}", host.data(), getpid());
}

std::unique_ptr<Communicator> make_single() {
  return std::make_unique<Alone>(1, 0);
}

std::unique_ptr<Communicator> make_pretended(int size, int rank) {
  return std::make_unique<Alone>(size, rank);
}

}  // namespace gentrain::comm
