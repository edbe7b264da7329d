// The table of signs.
#include "comm/signs.h"

#include <algorithm>
#include <cstring>

namespace gentrain::comm {

namespace {

constexpr double kSilentSeconds = 8;
constexpr double kSecondVoice = 0.5;  // later than the first
constexpr double kDoubt = 1;

}  // namespace

double silent_after(Neighbour which, bool runs) {
  return kSilentSeconds + (which == Neighbour::kNext ? kSecondVoice : 0) + (runs ? kDoubt : 0);
}

SignTable::SignTable(int ranks, int rank)
    : rank_(rank),
      signs_(static_cast<std::size_t>(ranks)),
      idle_(static_cast<std::size_t>(ranks)) {}

void SignTable::pass(double seconds, bool heard) {
  for (double& silence : silence_) {
    silence += heard ? seconds : 0;
  }
  for (double& idle : idle_) {
    idle += seconds;
  }
}

void SignTable::set_own(Sign sign) {
  const auto own = static_cast<std::size_t>(rank_);
  if (sign.progress != signs_[own].progress) {
    idle_[own] = 0;
  }
  sign.beat = signs_[own].beat + 1;
  signs_[own] = sign;
}

void SignTable::merge(Neighbour from, std::span<const std::byte> bytes) {
  silence_[static_cast<std::size_t>(from)] = 0;
  for (std::size_t r = 0; r < signs_.size(); ++r) {
    Sign sign;
    std::memcpy(&sign, bytes.data() + r * sizeof sign, sizeof sign);
    if (sign.beat <= signs_[r].beat) {
      continue;
    }
    if (sign.progress != signs_[r].progress) {
      idle_[r] = 0;
    }
    signs_[r] = sign;
  }
}

double SignTable::least_idle() const {
  return *std::min_element(idle_.begin(), idle_.end());
}

bool SignTable::any_at_disk() const {
  return std::any_of(signs_.begin(), signs_.end(),
                     [](const Sign& sign) { return sign.at_disk != 0; });
}

std::vector<int> SignTable::behind() const {
  std::vector<int> ranks;
  for (std::size_t r = 0; r < signs_.size(); ++r) {
    if (signs_[r].collectives < sign(rank_).collectives) {
      ranks.push_back(static_cast<int>(r));
    }
  }
  return ranks;
}

}  // namespace gentrain::comm
