// The communicator of a lone process: nothing is initialised, nothing moves.
#include <array>
#include <cstdio>

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

class Single : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] std::string where() const override {
    std::array<char, 256> host{};
    gethostname(host.data(), host.size() - 1);
    return fmt::format("{}:{}", host.data(), getpid());
  }
  [[nodiscard]] int ranks_on_host() const override { return 1; }

  std::unique_ptr<Transfer> all_to_all(std::span<const std::vector<ConstBytes>> send,
                                       std::span<const std::vector<Bytes>> receive,
                                       int /*tag*/) override {
    check("all_to_all", send.size());
    check("all_to_all", receive.size());
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
  std::vector<std::string> all_gather_text(const std::string& text) override { return {text}; }
  void barrier() override {}
  [[noreturn]] void abort(int exit_code) noexcept override {
    std::fflush(nullptr);
    _exit(exit_code);
  }

 private:
  static void check(const char* operation, std::size_t parts) {
    if (parts != 1) {
      throw CommError(fmt::format("{}: {} parts for 1 rank", operation, parts));
    }
  }
};

}  // namespace

std::unique_ptr<Communicator> make_single() {
  return std::make_unique<Single>();
}

}  // namespace gentrain::comm
