// The order of calls: by what they take, not by where they stand in the file.
#include <algorithm>
#include <queue>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/keras/model_config.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

/// Calls in one row: call c of layer l is number first[l] + c.
struct Numbering {
  std::vector<std::size_t> first;
  std::vector<CallOfLayer> calls;
};

Numbering number(const Model& model) {
  Numbering numbering;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    numbering.first.push_back(numbering.calls.size());
    for (std::size_t call = 0; call < model.layers[layer].calls.size(); ++call) {
      numbering.calls.push_back({static_cast<int>(layer), static_cast<int>(call)});
    }
  }
  return numbering;
}

[[noreturn]] void fail_cycle(const Model& model, const Numbering& numbering,
                             const std::vector<std::size_t>& waiting) {
  constexpr std::size_t kMostNamed = 8;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < waiting.size() && names.size() < kMostNamed; ++i) {
    const std::string& name = model.layers[static_cast<std::size_t>(numbering.calls[i].layer)].name;
    if (waiting[i] > 0 && std::ranges::find(names, name) == names.end()) {
      names.push_back(name);
    }
  }
  throw IoError(
      fmt::format("its layers take each other's outputs in a cycle: {}", fmt::join(names, ", ")));
}

}  // namespace

std::vector<CallOfLayer> order_of(const Model& model) {
  const Numbering numbering = number(model);
  std::vector<std::size_t> waiting(numbering.calls.size(), 0);  // outputs that are not there yet
  std::vector<std::vector<std::size_t>> readers(numbering.calls.size());
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t i = 0; i < numbering.calls.size(); ++i) {
    const CallOfLayer& of = numbering.calls[i];
    const Layer& layer = model.layers[static_cast<std::size_t>(of.layer)];
    for (const Source& source : layer.calls[static_cast<std::size_t>(of.call)]) {
      ++waiting[i];
      readers[numbering.first[static_cast<std::size_t>(source.layer)] +
              static_cast<std::size_t>(source.call)]
          .push_back(i);
    }
    if (waiting[i] == 0) {
      ready.push(i);
    }
  }
  std::vector<CallOfLayer> order;
  while (!ready.empty()) {
    const std::size_t next = ready.top();
    ready.pop();
    order.push_back(numbering.calls[next]);
    for (const std::size_t reader : readers[next]) {
      if (--waiting[reader] == 0) {
        ready.push(reader);
      }
    }
  }
  if (order.size() < numbering.calls.size()) {
    fail_cycle(model, numbering, waiting);
  }
  return order;
}

}  // namespace gentrain::keras
