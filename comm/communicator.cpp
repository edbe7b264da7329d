// What all communicators share: the tags that are handed out, memory of a rank that has none to
// share it with.
#include "comm/communicator.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sys/mman.h>

#include "comm/signs.h"
#include "kernels/error.h"

namespace gentrain::comm {

namespace {

constexpr int kTags = 32000;

}  // namespace

int Communicator::reserve_tags(int count, bool /*library_sums*/) {
  if (count > kTags) {
    throw CommError(fmt::format("{} tags were asked for but there are {}: make the buckets larger",
                                count, kTags));
  }
  const int first = next_tag_ + count <= kTags ? next_tag_ : 0;
  next_tag_ = first + count;
  return first;
}

HostMemory Communicator::host_memory(std::size_t bytes) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (data == MAP_FAILED) {
    throw CommError(
        fmt::format("the system has no {} bytes of memory left for what ranks share: {}", bytes,
                    std::strerror(errno)));
  }
  ::madvise(data, bytes, MADV_HUGEPAGE);  // a kernel without huge pages serves small ones
  return {{data, [bytes](void* block) { ::munmap(block, bytes); }}, bytes, false, true};
}

std::unique_ptr<SignRing> Communicator::sign_ring(std::size_t /*bytes*/) {
  return nullptr;
}

}  // namespace gentrain::comm
