// Roles of arrays, what fits, and values with their axes in gentrain's order.
#include "core/keras/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/keras/layers.h"
#include "core/keras/place.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::keras {

namespace {

constexpr std::size_t kMostListed = 12;  // problems in a message

/// Ends of names. Those that end with another one come first. What Keras 1 calls running_std holds
/// the variance.
constexpr std::array<std::pair<std::string_view, Role>, 17> kWords = {{
    {"depthwise_kernel", Role::kDepthwiseKernel},
    {"pointwise_kernel", Role::kPointwiseKernel},
    {"kernel", Role::kKernel},
    {"bias", Role::kBias},
    {"gamma", Role::kGamma},
    {"beta", Role::kBeta},
    {"moving_mean", Role::kMean},
    {"running_mean", Role::kMean},
    {"mean", Role::kMean},
    {"moving_variance", Role::kVariance},
    {"running_std", Role::kVariance},
    {"variance", Role::kVariance},
    {"alphas", Role::kAlpha},
    {"alpha", Role::kAlpha},
    {"count", Role::kCount},
    {"W", Role::kKernel},
    {"b", Role::kBias},
}};

/// Without digits at the end and what stands before them: "W_1" -> "W", "kernel:0" -> "kernel".
std::string_view without_number(std::string_view text, char before) {
  const std::size_t end = text.find_last_not_of("0123456789");
  const bool numbered =
      end != std::string_view::npos && end > 0 && end + 1 < text.size() && text[end] == before;
  return numbered ? text.substr(0, end) : text;
}

std::string describe(const std::vector<StoredArray>& arrays) {
  std::vector<std::string> texts;
  for (const StoredArray& array : arrays) {
    texts.push_back(array.name + " " + array.shape.str());
  }
  return texts.empty() ? "the file has no arrays of it"
                       : fmt::format("the file has {}", fmt::join(texts, ", "));
}

/// Index of the need that an array of this role fulfils, or the number of needs. Keras 3 calls the
/// kernel of a depthwise convolution by its plain name.
std::size_t need_of(const std::vector<WeightNeed>& needs, Role role) {
  const auto index = [&](Role wanted) {
    return static_cast<std::size_t>(std::ranges::find(needs, wanted, &WeightNeed::role) -
                                    needs.begin());
  };
  const std::size_t found = index(role);
  return found == needs.size() && role == Role::kKernel ? index(Role::kDepthwiseKernel) : found;
}

/// Whether anybody wants its values.
bool is_read(const WeightNeed& need) {
  return !need.parameter.empty() || need.constant;
}

/// Element by element: axis i of the result is axis axes[i] of what came.
std::vector<float> permuted(const std::vector<float>& values, const Shape& stored,
                            const std::vector<int>& axes) {
  const std::size_t rank = axes.size();
  std::vector<std::int64_t> strides(rank, 1);  // of what came
  for (std::size_t i = rank - 1; i > 0; --i) {
    strides[i - 1] = strides[i] * stored[static_cast<int>(i)];
  }
  std::vector<std::int64_t> extents(rank);
  std::vector<std::int64_t> steps(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    extents[i] = stored[axes[i]];
    steps[i] = strides[static_cast<std::size_t>(axes[i])];
  }
  constexpr std::size_t kTick = std::size_t{1} << 22;
  std::vector<float> result(values.size());
  std::vector<std::int64_t> index(rank, 0);
  std::int64_t from = 0;
  for (std::size_t to = 0; to < result.size(); ++to) {
    result[to] = values[static_cast<std::size_t>(from)];
    for (std::size_t i = rank; i-- > 0;) {
      from += steps[i];
      if (++index[i] < extents[i]) {
        break;
      }
      from -= steps[i] * extents[i];
      index[i] = 0;
    }
    if (to % kTick == 0) {
      progress::tick();
    }
  }
  return result;
}

void check_finite(const std::vector<float>& values, const char* what) {
  const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  if (bad != values.end()) {
    throw IoError(
        fmt::format("value {} is {} {}; weights must be finite", bad - values.begin(), *bad, what));
  }
}

std::vector<float> values_of(const std::string& layer, const WeightNeed& need,
                             const StoredArray& array) {
  std::vector<float> values = array.read();
  at(fmt::format("layer {}: array {}", layer, array.name), [&] { check_finite(values, "as f32"); });
  return need.axes.empty() ? values : permuted(values, need.stored, need.axes);
}

void fill_constant(const WeightNeed& need, std::vector<float> values) {
  if (need.role == Role::kVariance) {
    make_deviations(values);
    check_finite(values, "as a root");
  }
  std::ranges::copy(values, need.constant->begin());
}

std::string problem_of(const Bundle& bundle, const std::string& text) {
  return fmt::format("layer {}: {}", bundle.layer->layer, text);
}

/// All that are read must be there, and have the right extents.
void check_matched(const Bundle& bundle, const std::vector<const StoredArray*>& arrays,
                   std::vector<std::string>& problems) {
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const WeightNeed& need = bundle.layer->needs[i];
    const StoredArray* array = arrays[i];
    if (array == nullptr && is_read(need)) {
      problems.push_back(
          problem_of(bundle, fmt::format("its {} {} is missing; {}", name_of(need.role),
                                         need.stored.str(), describe(bundle.arrays))));
    } else if (array != nullptr && array->shape != need.stored) {
      problems.push_back(
          problem_of(bundle, fmt::format("array {} has the extents {}, but {} are needed",
                                         array->name, array->shape.str(), need.stored.str())));
    }
  }
}

[[noreturn]] void fail(std::vector<std::string> problems) {
  std::string more;
  if (problems.size() > kMostListed) {
    more = fmt::format("; and {} more", problems.size() - kMostListed);
    problems.resize(kMostListed);
  }
  throw IoError(fmt::format("{}{}", fmt::join(problems, "; "), more));
}

}  // namespace

ArrayName read_array_name(std::string_view name) {
  const std::string_view plain = without_number(name, ':');
  const std::size_t begin = plain.find_last_of('/') + 1;
  const std::string_view leaf = without_number(plain.substr(begin), '_');
  for (const auto& [word, role] : kWords) {
    if (!leaf.ends_with(word)) {
      continue;
    }
    const std::size_t before = begin + leaf.size() - word.size();
    if (before == begin) {
      return {std::string(plain.substr(0, begin == 0 ? 0 : begin - 1)), role};
    }
    if (plain[before - 1] == '_') {  // one piece of Keras 1, "conv_W"
      return {std::string(plain.substr(0, before - 1)), role};
    }
  }
  return {std::string(plain), std::nullopt};
}

std::vector<const StoredArray*> match(const Bundle& bundle, std::vector<std::string>& problems) {
  const std::vector<WeightNeed>& needs = bundle.layer->needs;
  std::vector<const StoredArray*> result(needs.size(), nullptr);
  std::vector<const StoredArray*> nameless;
  const auto not_needed = [&](const StoredArray& array) {
    problems.push_back(problem_of(
        bundle, fmt::format("its array {} {} is not needed", array.name, array.shape.str())));
  };
  for (const StoredArray& array : bundle.arrays) {
    const auto role = read_array_name(array.name).role;
    const std::size_t need = role ? need_of(needs, *role) : needs.size();
    if (!role) {
      nameless.push_back(&array);
    } else if (need == needs.size() || result[need] != nullptr) {
      not_needed(array);
    } else {
      result[need] = &array;
    }
  }
  const auto missing = static_cast<std::size_t>(std::ranges::count(result, nullptr));
  if (!nameless.empty() && nameless.size() == missing) {
    auto next = nameless.begin();
    for (const StoredArray*& place : result) {
      place = place == nullptr ? *next++ : place;
    }
    nameless.clear();
  }
  std::ranges::for_each(nameless, [&](const StoredArray* array) { not_needed(*array); });
  check_matched(bundle, result, problems);
  return result;
}

std::vector<graph::ImportedArray> read_arrays(const std::vector<Bundle>& bundles,
                                              std::vector<std::string> problems) {
  std::vector<std::vector<const StoredArray*>> matched;
  for (const Bundle& bundle : bundles) {
    matched.push_back(match(bundle, problems));
  }
  if (!problems.empty()) {
    fail(std::move(problems));
  }
  std::vector<graph::ImportedArray> arrays;
  for (std::size_t i = 0; i < bundles.size(); ++i) {
    const LayerNeeds& layer = *bundles[i].layer;
    for (std::size_t k = 0; k < layer.needs.size(); ++k) {
      const WeightNeed& need = layer.needs[k];
      if (!is_read(need)) {
        continue;
      }
      std::vector<float> values = values_of(layer.layer, need, *matched[i][k]);
      if (need.constant) {
        at("layer " + layer.layer, [&] { fill_constant(need, std::move(values)); });
      } else {
        arrays.push_back({need.parameter, need.shape, std::move(values)});
      }
    }
    progress::tick();
  }
  return arrays;
}

}  // namespace gentrain::keras
