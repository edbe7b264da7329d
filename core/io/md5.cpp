// MD5 through OpenSSL's EVP interface.
#include "core/io/md5.h"

#include <array>
#include <iterator>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {
namespace {

void check(int status, const char* step) {
  if (status != 1) {
    throw DeviceError(fmt::format("MD5: OpenSSL's {} failed", step));
  }
}

}  // namespace

struct Md5::State {
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
};

Md5::Md5() : state_(std::make_unique<State>()) {
  check(EVP_DigestInit_ex(state_->context.get(), EVP_md5(), nullptr), "EVP_DigestInit_ex");
}

Md5::~Md5() = default;

void Md5::update(const void* data, std::size_t size) {
  check(EVP_DigestUpdate(state_->context.get(), data, size), "EVP_DigestUpdate");
  progress::tick();
}

std::string Md5::finish() {
  std::array<unsigned char, 16> digest{};
  check(EVP_DigestFinal_ex(state_->context.get(), digest.data(), nullptr), "EVP_DigestFinal_ex");
  std::string hex;
  for (const unsigned char byte : digest) {
    fmt::format_to(std::back_inserter(hex), "{:02x}", byte);
  }
  return hex;
}

}  // namespace gentrain::io
