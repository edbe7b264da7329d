// What all communicators share: the tags that are handed out.
#include "comm/communicator.h"

#include <utility>

#include <fmt/format.h>

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

std::unique_ptr<SignRing> Communicator::sign_ring(std::size_t /*bytes*/) {
  return nullptr;
}

}  // namespace gentrain::comm
