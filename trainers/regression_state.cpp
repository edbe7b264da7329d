// Bytes as numbers that every reader of arrays takes.
#include "trainers/regression_state.h"

#include <cstddef>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

constexpr const char* kState = "regression/state";
constexpr unsigned kByte = 256;
constexpr float kMost = 65535;

std::int64_t variables_of(std::int64_t features, int classes) {
  return (classes == 2 ? 1 : classes) * (features + 1);
}

}  // namespace

io::NamedArray to_array(const optim::OwlqnState& state) {
  const std::vector<std::byte> bytes = optim::to_bytes(state);
  std::vector<float> values;
  values.reserve(bytes.size() / 2 + 2);
  values.push_back(static_cast<float>(bytes.size() % 2));
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    const auto low = std::to_integer<unsigned>(bytes[i]);
    const auto high = i + 1 < bytes.size() ? std::to_integer<unsigned>(bytes[i + 1]) : 0U;
    values.push_back(static_cast<float>(low + kByte * high));
  }
  const auto count = static_cast<std::int64_t>(values.size());
  return {kState, Shape{count}, std::move(values)};
}

optim::OwlqnState regression_state_from(std::span<const io::NamedArray> arrays,
                                        const std::string& source) {
  const io::NamedArray* array = io::find_array(arrays, kState);
  if (array == nullptr || array->values.empty()) {
    throw IoError(
        fmt::format("{}: {} is missing: it is of no logistic regression", source, kState));
  }
  std::vector<std::byte> bytes;
  bytes.reserve(2 * array->values.size());
  for (std::size_t i = 0; i < array->values.size(); ++i) {
    const float value = array->values[i];
    if (!(value >= 0 && value <= kMost) ||
        value != static_cast<float>(static_cast<unsigned>(value))) {
      throw IoError(
          fmt::format("{}: element {} of {} is {}: whole numbers from 0 to 65535 are needed",
                      source, i, kState, value));
    }
    if (i > 0) {
      const auto both = static_cast<unsigned>(value);
      bytes.push_back(static_cast<std::byte>(both % kByte));
      bytes.push_back(static_cast<std::byte>(both / kByte));
    }
  }
  if (array->values[0] != 0 && !bytes.empty()) {
    bytes.pop_back();
  }
  return optim::owlqn_state_from(bytes, source);
}

std::int64_t regression_state_bytes(std::int64_t features, int classes) {
  // x, its gradient, ten pairs of differences; two bytes take four. Beside them the history.
  constexpr std::int64_t kVectors = 22;
  constexpr std::int64_t kRest = std::int64_t{1} << 16;
  return 2 * kVectors * static_cast<std::int64_t>(sizeof(double)) *
             variables_of(features, classes) +
         kRest;
}

std::int64_t regression_bytes(std::int64_t features, int classes, std::int64_t shards,
                              int workers) {
  std::int64_t depth = 1;  // partial sums that wait for their siblings
  for (std::int64_t nodes = shards; nodes > 1; nodes = (nodes + 1) / 2) {
    ++depth;
  }
  // The state, trial points and directions, statistics of the features; a sum of each worker.
  constexpr std::int64_t kVectors = 34;
  return static_cast<std::int64_t>(sizeof(double)) * variables_of(features, classes) *
             (kVectors + depth + workers) +
         regression_state_bytes(features, classes);
}

}  // namespace gentrain::trainers
