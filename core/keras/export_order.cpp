// Two passes, as Keras makes them: the walk, then distances from the outputs.
#include "core/keras/export_order.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace gentrain::keras {

namespace {

using Call = std::pair<std::size_t, std::size_t>;  // layer and call

constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

class Walk {
 public:
  explicit Walk(const LayerCalls& calls) : calls_(calls), met_(calls.size(), kNever) {}

  /// Meets a call and all that it depends on.
  void from(const LayerOutput& output) {
    begin({output.layer, output.call});
    while (!under_way_.empty()) {
      auto& [call, next] = under_way_.back();
      const std::vector<LayerOutput>& sources = calls_[call.first][call.second];
      if (next < sources.size()) {
        const LayerOutput& source = sources[next++];
        begin({source.layer, source.call});
      } else {
        finished_.push_back(call);
        under_way_.pop_back();
      }
    }
  }

  /// When each layer was met; kNever for none.
  [[nodiscard]] const std::vector<std::size_t>& met() const { return met_; }
  /// Calls, each behind all that it depends on.
  [[nodiscard]] const std::vector<Call>& finished() const { return finished_; }

 private:
  void begin(const Call& call) {
    if (!seen_.emplace(call, true).second) {
      return;
    }
    if (met_[call.first] == kNever) {
      met_[call.first] = count_++;
    }
    under_way_.emplace_back(call, 0);
  }

  const LayerCalls& calls_;
  std::vector<std::size_t> met_;
  std::size_t count_ = 0;
  std::map<Call, bool> seen_;
  std::vector<std::pair<Call, std::size_t>> under_way_;
  std::vector<Call> finished_;
};

/// Of each layer, the longest way to an output. A layer of several calls is as far as the farthest
/// one that was looked at so far, for its sources too.
std::vector<std::int64_t> distances(const LayerCalls& calls, const std::vector<Call>& finished) {
  std::vector<std::int64_t> of_layers(calls.size(), 0);
  std::map<Call, std::int64_t> of_calls;
  for (auto call = finished.rbegin(); call != finished.rend(); ++call) {
    std::int64_t& of_layer = of_layers[call->first];
    of_layer = std::max(of_calls[*call], of_layer);
    for (const LayerOutput& source : calls[call->first][call->second]) {
      std::int64_t& of_source = of_calls[{source.layer, source.call}];
      of_source = std::max(of_layer + 1, of_source);
    }
  }
  return of_layers;
}

}  // namespace

std::vector<std::size_t> keras_order(const LayerCalls& calls,
                                     const std::vector<LayerOutput>& outputs) {
  Walk walk(calls);
  for (const LayerOutput& output : outputs) {
    walk.from(output);
  }
  const std::vector<std::int64_t> far = distances(calls, walk.finished());
  const std::vector<std::size_t>& met = walk.met();
  std::vector<std::size_t> order(calls.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return far[a] != far[b] ? far[a] > far[b] : met[a] < met[b];
  });
  return order;
}

}  // namespace gentrain::keras
