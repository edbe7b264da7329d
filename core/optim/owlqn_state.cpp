// The state of a minimisation as bytes: a mark, seven counts of 64 bits, then the numbers of all
// vectors in the order in which OwlqnState has them.
#include <array>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "core/optim/owlqn.h"
#include "kernels/error.h"

namespace gentrain::optim {

namespace {

constexpr std::uint64_t kMark = 0x31514c574f;  // "OWLQ1"
/// Evaluations that leave room to count on.
constexpr std::uint64_t kMostEvaluated = std::numeric_limits<std::int64_t>::max() / 2;
enum Count : std::uint8_t { kOfMark, kOfX, kOfGradient, kOfPairs, kOfValues, kEvaluated, kEnded };
using Counts = std::array<std::uint64_t, 7>;

void append(std::vector<std::byte>& bytes, const std::vector<double>& numbers) {
  const auto data = std::as_bytes(std::span(numbers));
  bytes.insert(bytes.end(), data.begin(), data.end());
}

/// The vectors of a state, one after another.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::vector<double> take(std::uint64_t count) {
    std::vector<double> numbers(count);
    if (count > 0) {
      std::memcpy(numbers.data(), bytes_.data(), count * sizeof(double));
    }
    bytes_ = bytes_.subspan(count * sizeof(double));
    return numbers;
  }

 private:
  std::span<const std::byte> bytes_;
};

/// Whether `room` numbers are what the counts say; none is so large that the sum overflows.
bool fits(const Counts& counts, std::uint64_t room) {
  for (const Count count : {kOfX, kOfGradient, kOfPairs, kOfValues}) {
    if (counts[count] > std::numeric_limits<std::uint32_t>::max()) {
      return false;
    }
  }
  const std::uint64_t without = counts[kOfX] + counts[kOfGradient] + counts[kOfValues];
  if (counts[kOfX] == 0 || counts[kOfPairs] == 0) {
    return counts[kOfPairs] == 0 && room == without;
  }
  return room >= without && (room - without) % (2 * counts[kOfX]) == 0 &&
         (room - without) / (2 * counts[kOfX]) == counts[kOfPairs];
}

}  // namespace

std::vector<std::byte> to_bytes(const OwlqnState& state) {
  const Counts counts = {kMark,
                         state.x.size(),
                         state.gradient.size(),
                         state.steps.size(),
                         state.values.size(),
                         static_cast<std::uint64_t>(state.evaluations),
                         static_cast<std::uint64_t>(state.ending)};
  const auto head = std::as_bytes(std::span(counts));
  std::vector<std::byte> bytes(head.begin(), head.end());
  append(bytes, state.x);
  append(bytes, state.gradient);
  for (const auto* pairs : {&state.steps, &state.changes}) {
    for (const std::vector<double>& one : *pairs) {
      append(bytes, one);
    }
  }
  append(bytes, state.values);
  return bytes;
}

OwlqnState owlqn_state_from(std::span<const std::byte> bytes, const std::string& source) {
  Counts counts{};
  if (bytes.size() >= sizeof counts) {
    std::memcpy(counts.data(), bytes.data(), sizeof counts);
  }
  if (counts[kOfMark] != kMark || counts[kEnded] > static_cast<std::uint64_t>(Ending::kSearch)) {
    throw IoError(
        fmt::format("{}: {} bytes that are no state of a minimisation", source, bytes.size()));
  }
  if (counts[kEvaluated] > kMostEvaluated) {
    throw IoError(
        fmt::format("{}: the state of a minimisation after {} evaluations, at most {} can be",
                    source, counts[kEvaluated], kMostEvaluated));
  }
  const std::span<const std::byte> body = bytes.subspan(sizeof counts);
  if (body.size() % sizeof(double) != 0 || !fits(counts, body.size() / sizeof(double))) {
    throw IoError(fmt::format(
        "{}: the state of a minimisation of {} elements with {} pairs and {} values does not fit "
        "its {} bytes",
        source, counts[kOfX], counts[kOfPairs], counts[kOfValues], bytes.size()));
  }
  Reader reader(body);
  OwlqnState state;
  state.x = reader.take(counts[kOfX]);
  state.gradient = reader.take(counts[kOfGradient]);
  for (auto* pairs : {&state.steps, &state.changes}) {
    for (std::uint64_t i = 0; i < counts[kOfPairs]; ++i) {
      pairs->push_back(reader.take(counts[kOfX]));
    }
  }
  state.values = reader.take(counts[kOfValues]);
  state.evaluations = static_cast<std::int64_t>(counts[kEvaluated]);
  state.ending = static_cast<Ending>(counts[kEnded]);
  return state;
}

}  // namespace gentrain::optim
