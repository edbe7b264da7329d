// Nodes with names and limits, and how axes are counted.
#include "core/keras/builder.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/graph/shapes.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::keras {

namespace {

constexpr int kMostNodes = 65536;
constexpr std::int64_t kMostCalls = 262144;
constexpr std::int64_t kMostValues = std::int64_t{1} << 24;
constexpr std::array<std::string_view, 10> kRoleNames = {"kernel",
                                                         "depthwise_kernel",
                                                         "pointwise_kernel",
                                                         "bias",
                                                         "gamma",
                                                         "beta",
                                                         "mean",
                                                         "variance",
                                                         "alpha",
                                                         "count"};

/// The constant that an array becomes is another one for each call.
bool same_arrays(const std::vector<WeightNeed>& a, const std::vector<WeightNeed>& b) {
  return std::ranges::equal(a, b, [](const WeightNeed& x, const WeightNeed& y) {
    return x.role == y.role && x.stored == y.stored && x.shape == y.shape &&
           x.parameter == y.parameter;
  });
}

}  // namespace

std::string_view name_of(Role role) {
  return kRoleNames.at(static_cast<std::size_t>(role));
}

int Builder::add(const std::string& name, graph::NodeKind kind, std::vector<int> inputs,
                 const std::string& parameters) {
  if (graph.size() >= kMostNodes) {
    throw IoError(fmt::format("the model has more than {} operations", kMostNodes));
  }
  progress::tick();
  return graph.add(name, std::move(kind), std::move(inputs), parameters);
}

const std::vector<WeightNeed>& Builder::need(const std::string& layer,
                                             std::vector<WeightNeed> wanted) {
  const auto [place, is_new] = index_.try_emplace(layer, needs.size());
  if (is_new) {
    needs.push_back({layer, std::move(wanted)});
  } else if (!same_arrays(needs[place->second].needs, wanted)) {
    throw IoError("its calls take inputs of different extents, for which its weights cannot fit");
  }
  return needs[place->second].needs;
}

const LayerNeeds* Builder::needs_of(const std::string& layer) const {
  const auto found = index_.find(layer);
  return found == index_.end() ? nullptr : &needs[found->second];
}

void Builder::count_call() {
  if (++calls_ > kMostCalls) {
    throw IoError(fmt::format("the model has more than {} calls of layers", kMostCalls));
  }
  progress::tick();
}

std::shared_ptr<const ops::AxisRows> Builder::charged(std::shared_ptr<const ops::AxisRows> rows) {
  values_ += static_cast<std::int64_t>(rows->begins.size() + rows->sources.size());
  if (values_ > kMostValues) {
    throw IoError(fmt::format(
        "paddings, croppings and enlargements of more than {} values together are not supported",
        kMostValues));
  }
  return rows;
}

int LayerCall::input() const {
  if (inputs.size() != 1) {
    throw IoError(fmt::format("it takes {} inputs: one is needed", inputs.size()));
  }
  return inputs[0];
}

int LayerCall::add(const std::string& suffix, graph::NodeKind kind, std::vector<int> nodes) const {
  return builder.add(suffix.empty() ? node : node + "/" + suffix, std::move(kind),
                     std::move(nodes));
}

Chain& Chain::then(std::string suffix, graph::NodeKind kind, std::string parameters) {
  const Shape next = graph::infer_shape(kind, {&shape_, 1});
  if (pending_) {
    flush(call_.node + "/" + pending_->suffix);
  }
  pending_ = Pending{std::move(suffix), std::move(kind), std::move(parameters)};
  shape_ = next;
  return *this;
}

Chain& Chain::channels_last(bool first) {
  return first ? then("channels_last", graph::Permute{{1, 2, 0}}) : *this;
}

Chain& Chain::channels_first(bool first) {
  return first ? then("channels_first", graph::Permute{{2, 0, 1}}) : *this;
}

int Chain::finish() {
  if (!pending_) {
    then("", graph::Identity{});
  }
  flush(call_.node);
  return at_;
}

void Chain::flush(const std::string& name) {
  at_ = call_.builder.add(name, std::move(pending_->kind), {at_}, pending_->parameters);
  pending_.reset();
}

int sample_axis(std::int64_t axis, int rank) {
  const std::int64_t of_sample = axis < 0 ? axis + rank : axis - 1;
  if (of_sample < 0 || of_sample >= rank) {
    throw IoError(fmt::format("axis {} is none of the {} axes behind the samples'", axis, rank));
  }
  return static_cast<int>(of_sample);
}

std::vector<int> axis_to_end(int axis, int rank) {
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  std::rotate(axes.begin() + axis, axes.begin() + axis + 1, axes.end());
  return axes;
}

std::vector<int> axis_from_end(int axis, int rank) {
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  std::rotate(axes.begin() + axis, axes.end() - 1, axes.end());
  return axes;
}

}  // namespace gentrain::keras
