// SHA-256 through OpenSSL's EVP interface, which picks the processor's SHA instructions.
#include "core/io/sha256.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {
namespace {

constexpr std::size_t kHashedAtOnce = std::size_t{64} << 20;  // a tenth of a second

void check_step(int status, const char* step) {
  if (status != 1) {
    throw DeviceError(fmt::format("SHA-256: OpenSSL's {} failed", step));
  }
}

}  // namespace

struct Sha256::State {
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  check_step(EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr), "EVP_DigestInit_ex");
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kHashedAtOnce));
    check_step(EVP_DigestUpdate(state_->context.get(), piece.data(), piece.size()),
               "EVP_DigestUpdate");
    bytes = bytes.subspan(piece.size());
    progress::tick();
  }
}

std::string Sha256::finish() {
  std::array<unsigned char, 32> digest{};
  check_step(EVP_DigestFinal_ex(state_->context.get(), digest.data(), nullptr),
             "EVP_DigestFinal_ex");
  std::string hex;
  for (const unsigned char byte : digest) {
    fmt::format_to(std::back_inserter(hex), "{:02x}", byte);
  }
  return hex;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace gentrain::io
