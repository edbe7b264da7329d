// Arrays to parameters by name.
#include "trainers/imported_weights.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/pattern.h"
#include "kernels/error.h"
#include "trainers/contract.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace {

constexpr std::size_t kShown = 8;

std::string shown(const std::vector<std::string>& texts, const char* between) {
  const std::size_t count = std::min(texts.size(), kShown);
  return fmt::format(
      "{}{}", fmt::join(texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(count), between),
      count < texts.size() ? fmt::format("{}and {} more", between, texts.size() - count) : "");
}

bool any_matches(const std::vector<std::string>& patterns, const std::string& parameter) {
  const std::string layer = layer_of(parameter);
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return matches(pattern, parameter) || matches(pattern, layer);
  });
}

using Arrays = std::unordered_map<std::string, const graph::ImportedArray*>;

Arrays by_name(const std::vector<graph::ImportedArray>& arrays) {
  Arrays named;
  for (const graph::ImportedArray& array : arrays) {
    named.emplace(array.parameter, &array);
  }
  return named;
}

std::string other_shape(const graph::ImportedArray& array, const ParameterInfo& info) {
  return fmt::format("{} is {} where the network has {}", info.name, array.shape.str(),
                     info.shape.str());
}

/// What becomes of each parameter; what is wrong with any.
struct Plan {
  std::vector<std::pair<int, const graph::ImportedArray*>> read;
  std::vector<std::string> initialized;
  std::vector<std::string> left;
  std::vector<std::string> problems;
};

Plan plan_of(const ImportedSource& source, const ParameterSet& parameters) {
  Plan plan;
  const Arrays arrays = by_name(source.model.arrays);
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    const auto found = arrays.find(info.name);
    if (any_matches(source.rules.reinit, info.name)) {
      plan.initialized.push_back(info.name);
    } else if (found == arrays.end()) {
      (any_matches(source.rules.allow_missing, info.name) ? plan.initialized : plan.problems)
          .push_back(any_matches(source.rules.allow_missing, info.name)
                         ? info.name
                         : fmt::format("{} is missing", info.name));
    } else if (found->second->shape != info.shape) {
      plan.problems.push_back(other_shape(*found->second, info));
    } else {
      plan.read.emplace_back(i, found->second);
    }
  }
  std::set<std::string> seen;
  for (const graph::ImportedArray& array : source.model.arrays) {
    const std::string layer = layer_of(array.parameter);
    if (parameters.find(array.parameter) >= 0 || !seen.insert(layer).second) {
      continue;
    }
    if (any_matches(source.rules.allow_extra, array.parameter)) {
      plan.left.push_back(layer);
    } else {
      plan.problems.push_back(fmt::format("the network has no {}", array.parameter));
    }
  }
  return plan;
}

/// The file's values, but for its zeros those that are there; and how many these were.
std::int64_t fill_zeros(std::vector<float>& values, const std::vector<float>& before) {
  std::int64_t zeros = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] == 0) {
      values[i] = before[i];
      ++zeros;
    }
  }
  return zeros;
}

}  // namespace

std::string layer_of(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('/'));
}

graph::KerasReport read_imported(const ImportedSource& source, ParameterSet& parameters,
                                 Device& device, Queue& queue) {
  Plan plan = plan_of(source, parameters);
  if (!plan.problems.empty()) {
    throw IoError(fmt::format("{} ({}) does not hold this network's weights: {}",
                              source.path.string(), source.model.writer,
                              shown(plan.problems, "; ")));
  }
  graph::KerasReport report{.file_sha256 = source.model.sha256,
                            .read = {},
                            .initialized = std::move(plan.initialized),
                            .refilled = {},
                            .left = std::move(plan.left)};
  for (const auto& [index, array] : plan.read) {
    const std::string& name = parameters.info(index).name;
    std::vector<float> values = array->values;
    if (any_matches(source.rules.reinit_zeros, name)) {
      const std::int64_t zeros =
          fill_zeros(values, copy_to_host<float>(device, queue, parameters[index]));
      if (zeros > 0) {
        report.refilled.push_back({name, zeros});
      }
    }
    copy_from_host<float>(device, queue, values, parameters[index]);
    report.read.push_back(name);
  }
  queue.wait();
  parameters.mark_changed();
  return report;
}

PretrainedWeights load_imported(TrainingRun& run, GraphNetwork& network) {
  const TrainOptions& options = run.options();
  const std::vector<graph::ImportedArray> arrays = network.take_arrays();
  const ImportedFile* const file = network.file();
  if (file == nullptr) {
    return weights_of_checkpoint(run, "model", options.model.imported.file);
  }
  check_equal_on_all_ranks(run.communicator(), [&]() -> std::vector<NamedText> {
    return {{"model.file", file->sha256}};
  });
  PretrainedWeights result{"model " + file->sha256, {}};
  std::string note = fmt::format("model: {} ({}), {}, preprocess {}", file->path, file->sha256,
                                 file->writer, name_of(options.model.imported.preprocess));
  if (!options.init_from.file.empty() || options.weights.file == "random" ||
      options.weights.use == WeightsOptions::Use::kNothing) {
    const bool of_model = !options.init_from.file.empty();
    result.notes.push_back(
        fmt::format("{}: weights {}", note, of_model ? "of init_from" : "drawn at random"));
    return result;
  }
  ParameterSet& parameters = run.parameters();
  const Arrays named = by_name(arrays);
  std::vector<std::string> initialized;
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    const auto found = named.find(info.name);
    if (found == named.end()) {
      initialized.push_back(info.name);
      continue;
    }
    if (found->second->shape != info.shape) {
      throw IoError(fmt::format("{}: {}", file->path, other_shape(*found->second, info)));
    }
    copy_from_host<float>(run.device(), run.runner().queue(), found->second->values, parameters[i]);
  }
  run.runner().queue().wait();
  parameters.mark_changed();
  note += fmt::format(": {} of {} parameters read",
                      static_cast<std::size_t>(parameters.size()) - initialized.size(),
                      parameters.size());
  if (!initialized.empty()) {
    note += fmt::format("; {} initialised: {}", initialized.size(), shown(initialized, ", "));
  }
  result.notes.push_back(std::move(note));
  return result;
}

}  // namespace gentrain::trainers
