// What each node needs of a Keras file, what does not fit, and the reading.
#include "core/graph/keras_import.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/pattern.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

constexpr std::size_t kMostListed = 12;  // problems in a message

constexpr std::array<std::pair<std::string_view, io::KerasRole>, 6> kRoles = {{
    {"weight", io::KerasRole::kKernel},
    {"bias", io::KerasRole::kBias},
    {"gamma", io::KerasRole::kGamma},
    {"beta", io::KerasRole::kBeta},
    {"running_mean", io::KerasRole::kMovingMean},
    {"running_var", io::KerasRole::kMovingVariance},
}};

bool any_matches(const std::vector<std::string>& patterns, const std::string& text) {
  return std::ranges::any_of(patterns,
                             [&](const std::string& pattern) { return matches(pattern, text); });
}

/// The parameters of a node and what they need of the file, side by side.
struct NodeNeeds {
  std::string layer;
  std::vector<int> parameters;
  std::vector<io::KerasNeed> needs;

  [[nodiscard]] bool requires_file() const {
    return std::ranges::any_of(
        needs, [](const io::KerasNeed& need) { return need.take == io::KerasTake::kRequired; });
  }
};

class Import {
 public:
  Import(const Graph& graph, const io::KerasWeights& weights, const KerasRules& rules,
         ParameterSet& parameters)
      : weights_(weights), rules_(rules), parameters_(parameters) {
    for (int i = 0; i < graph.size(); ++i) {
      nodes_.push_back(needs_of(graph.node(i).name));
    }
  }

  void check_patterns() const {
    for (const auto& [key, patterns] :
         {std::pair{"allow_missing", &rules_.allow_missing}, std::pair{"reinit", &rules_.reinit},
          std::pair{"reinit_zeros", &rules_.reinit_zeros}}) {
      for (const std::string& pattern : *patterns) {
        need_match(key, pattern);
      }
    }
    for (const std::string& pattern : rules_.allow_extra) {
      if (std::ranges::none_of(weights_.layers(), [&](const io::KerasLayer& layer) {
            return matches(pattern, layer.name);
          })) {
        throw JobError(fmt::format("allow_extra: '{}' matches no layer of {}", pattern,
                                   weights_.path().string()));
      }
    }
  }

  /// Layers of the file that are left aside. Throws IoError with all that does not fit.
  std::vector<std::string> check_layers() const {
    std::vector<std::string> problems;
    std::vector<std::string> left;
    for (const NodeNeeds& node : nodes_) {
      if (weights_.has(node.layer)) {
        std::ranges::move(weights_.problems(node.layer, node.needs), std::back_inserter(problems));
      } else if (node.requires_file()) {
        problems.push_back(fmt::format("layer {}: it is missing", node.layer));
      }
    }
    for (const io::KerasLayer& layer : weights_.layers()) {
      if (layer.arrays.empty() || is_node(layer.name)) {
        continue;
      }
      if (any_matches(rules_.allow_extra, layer.name)) {
        left.push_back(layer.name);
      } else {
        problems.push_back(fmt::format("layer {}: the network has no such layer", layer.name));
      }
    }
    if (!problems.empty()) {
      fail(std::move(problems));
    }
    return left;
  }

  void read(Device& device, Queue& queue, KerasReport& report) const {
    for (const NodeNeeds& node : nodes_) {
      std::vector<std::vector<float>> arrays(node.needs.size());
      if (weights_.has(node.layer)) {
        arrays = weights_.read_layer(node.layer, node.needs);
      }
      for (std::size_t i = 0; i < arrays.size(); ++i) {
        const Tensor& target = parameters_[node.parameters[i]];
        const std::string& name = parameters_.info(node.parameters[i]).name;
        if (arrays[i].empty()) {
          report.initialized.push_back(name);
          continue;
        }
        if (selects(rules_.reinit_zeros, node.layer, name)) {
          refill(arrays[i], name, copy_to_host<float>(device, queue, target), report);
        }
        copy_from_host<float>(device, queue, arrays[i], target);
        report.read.push_back(name);
      }
    }
  }

 private:
  static bool selects(const std::vector<std::string>& patterns, const std::string& layer,
                      const std::string& parameter) {
    return any_matches(patterns, layer) || any_matches(patterns, parameter);
  }

  [[nodiscard]] NodeNeeds needs_of(const std::string& layer) const {
    NodeNeeds needs{layer, {}, {}};
    for (const auto& [name, role] : kRoles) {
      const std::string parameter = fmt::format("{}/{}", layer, name);
      const int index = parameters_.find(parameter);
      if (index < 0) {
        continue;
      }
      io::KerasTake take = io::KerasTake::kRequired;
      if (selects(rules_.reinit, layer, parameter)) {
        take = io::KerasTake::kNever;
      } else if (selects(rules_.allow_missing, layer, parameter)) {
        take = io::KerasTake::kIfThere;
      }
      needs.parameters.push_back(index);
      needs.needs.push_back({role, parameters_.info(index).shape, take});
    }
    return needs;
  }

  void need_match(const char* key, const std::string& pattern) const {
    const bool found = std::ranges::any_of(nodes_, [&](const NodeNeeds& node) {
      return std::ranges::any_of(node.parameters, [&](int index) {
        return selects({pattern}, node.layer, parameters_.info(index).name);
      });
    });
    if (!found) {
      throw JobError(
          fmt::format("{}: '{}' matches no parameter and no layer with parameters of the network",
                      key, pattern));
    }
  }

  [[nodiscard]] bool is_node(const std::string& layer) const {
    return std::ranges::find(nodes_, layer, &NodeNeeds::layer) != nodes_.end();
  }

  [[noreturn]] void fail(std::vector<std::string> problems) const {
    std::string more;
    if (problems.size() > kMostListed) {
      more = fmt::format("; and {} more", problems.size() - kMostListed);
      problems.resize(kMostListed);
    }
    throw IoError(
        fmt::format("{}: {}{}", weights_.path().string(), fmt::join(problems, "; "), more));
  }

  static void refill(std::vector<float>& values, const std::string& name,
                     const std::vector<float>& initial, KerasReport& report) {
    std::int64_t zeros = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] == 0) {
        values[i] = initial[i];
        ++zeros;
      }
    }
    if (zeros > 0) {
      report.refilled.push_back({name, zeros});
    }
  }

  const io::KerasWeights& weights_;
  const KerasRules& rules_;
  ParameterSet& parameters_;
  std::vector<NodeNeeds> nodes_;  // in order, also those without parameters
};

}  // namespace

KerasReport read_keras_weights(const Graph& graph, const io::KerasWeights& weights,
                               const KerasRules& rules, ParameterSet& parameters, Device& device,
                               Queue& queue) {
  const Import import(graph, weights, rules, parameters);
  import.check_patterns();
  KerasReport report;
  report.left = import.check_layers();
  report.file_sha256 = weights.sha256();
  import.read(device, queue, report);
  parameters.reset_averages(device, queue);
  return report;
}

}  // namespace gentrain::graph
