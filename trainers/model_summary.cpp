// Summaries of graphs, of layers without a graph, and of jobs.
#include "trainers/model_summary.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/graph/shapes.h"
#include "trainers/evaluate.h"
#include "trainers/freezing.h"
#include "trainers/models/layer_graph.h"
#include "trainers/models/pretrained.h"
#include "trainers/training.h"
#include "trainers/update.h"

namespace gentrain::trainers {

namespace {

/// Parameters of a layer, PREFIX/NAME; not those of layers whose names go on behind a slash.
std::vector<int> parameters_under(const ParameterSet& parameters, const std::string& prefix) {
  std::vector<int> found;
  const std::string begin = prefix + "/";
  for (int i = 0; i < parameters.size(); ++i) {
    const std::string& name = parameters.info(i).name;
    if (name.starts_with(begin) && name.find('/', begin.size()) == std::string::npos) {
      found.push_back(i);
    }
  }
  return found;
}

void count_all(const ParameterSet& parameters, ModelSummary& summary) {
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    if (info.role != ParameterRole::kAverage) {
      summary.parameters += info.shape.elements();
    }
  }
  summary.trainable = parameters.count();
}

/// By stage: which parameters it trains.
using Trained = std::vector<std::vector<bool>>;

void count(const ParameterSet& parameters, const std::vector<int>& own, const Trained& trained,
           ModelSummary::Layer& layer) {
  layer.frozen.assign(trained.size(), false);
  for (const int index : own) {
    const ParameterInfo& info = parameters.info(index);
    layer.parameters += info.shape.elements();
    if (info.role == ParameterRole::kTrained) {
      layer.trainable += info.shape.elements();
    }
  }
  for (std::size_t stage = 0; stage < trained.size(); ++stage) {
    layer.frozen[stage] = !own.empty() && std::ranges::none_of(own, [&](int index) {
      return static_cast<bool>(trained[stage][static_cast<std::size_t>(index)]);
    });
  }
}

std::int64_t products_of(const graph::Graph& graph, const graph::Node& node) {
  return node.inputs.empty()
             ? 0
             : graph::products_of(node.kind, graph.node(node.inputs[0]).shape, node.shape);
}

/// Nodes that share parameters: the first has them.
void add_layers(const graph::Graph& graph, const ParameterSet& parameters, const Trained& trained,
                ModelSummary& summary) {
  std::set<std::string> seen;
  for (int i = 0; i < graph.size(); ++i) {
    const graph::Node& node = graph.node(i);
    ModelSummary::Layer layer{node.name,  std::string(graph::name_of(node.kind)),
                              node.shape, 0,
                              0,          products_of(graph, node),
                              {}};
    const std::string& prefix = node.parameters.empty() ? node.name : node.parameters;
    const bool first = seen.insert(prefix).second;
    count(parameters, first ? parameters_under(parameters, prefix) : std::vector<int>(), trained,
          layer);
    summary.layers.push_back(std::move(layer));
  }
}

void add_layers(const std::vector<LayerInfo>& infos, const ParameterSet& parameters,
                const Trained& trained, ModelSummary& summary) {
  for (const LayerInfo& info : infos) {
    ModelSummary::Layer layer{info.name, "", info.output, 0, 0, info.products, {}};
    std::vector<int> own;
    for (const std::string& name : info.names) {
      own.push_back(parameters.find(name));
    }
    count(parameters, own, trained, layer);
    summary.layers.push_back(std::move(layer));
  }
}

Trained trained_by(const TrainOptions& job, const Objective& objective,
                   const ParameterSet& parameters) {
  Trained trained;
  for (const StageOptions& stage : job.stages) {
    const StageOptions resolved = frozen_by_name(stage, job.model, objective, parameters);
    std::vector<bool> flags = select_parameters(parameters, resolved.trainable,
                                                fmt::format("stage {}: the trainable", stage.name));
    if (!resolved.freeze.parameters.empty()) {
      const std::vector<bool> frozen = select_parameters(
          parameters, resolved.freeze.parameters, fmt::format("stage {}: the freeze", stage.name));
      std::transform(flags.begin(), flags.end(), frozen.begin(), flags.begin(),
                     [](bool flag, bool freezes) { return flag && !freezes; });
    }
    trained.push_back(std::move(flags));
  }
  return trained;
}

nlohmann::json to_json(const Shape& shape) {
  return std::vector<std::int64_t>(shape.extents().begin(), shape.extents().end());
}

std::string tensors_text(const std::vector<std::pair<std::string, Shape>>& tensors) {
  std::vector<std::string> texts;
  for (const auto& [name, shape] : tensors) {
    texts.push_back(fmt::format("{} {}", name, shape.str()));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

/// In which stages a layer is frozen: "transfer", "all stages", "".
std::string frozen_text(const ModelSummary& summary, const ModelSummary::Layer& layer) {
  std::vector<std::string> stages;
  for (std::size_t i = 0; i < layer.frozen.size(); ++i) {
    if (layer.frozen[i]) {
      stages.push_back(summary.stages[i]);
    }
  }
  if (stages.empty()) {
    return "";
  }
  return stages.size() == summary.stages.size()
             ? "frozen"
             : fmt::format("frozen in {}", fmt::join(stages, ", "));
}

}  // namespace

double ModelSummary::flops() const {
  double sum = 0;
  for (const Layer& layer : layers) {
    sum += 2.0 * static_cast<double>(layer.products);
  }
  return sum;
}

ModelSummary summary_of(const OpenedModel& model) {
  ModelSummary summary;
  summary.name = model.name();
  summary.kind = model.kind();
  summary.notes = model.notes();
  for (const ModelTensor& tensor : model.inputs()) {
    summary.inputs.emplace_back(tensor.name, tensor.shape);
  }
  for (const ModelTensor& tensor : model.outputs()) {
    summary.outputs.emplace_back(tensor.name, tensor.shape);
  }
  if (model.graph() != nullptr) {
    add_layers(*model.graph(), model.parameters(), {}, summary);
  } else {
    add_layers(model.layer_infos(), model.parameters(), {}, summary);
  }
  count_all(model.parameters(), summary);
  return summary;
}

ModelSummary summary_of_job(const TrainOptions& job) {
  const auto alone = comm::make_single();
  TrainOptions options = job;
  options.threads = 1;
  options.weights.use = WeightsOptions::Use::kNothing;
  TrainingRun run(options, *alone);
  const Shape image = run.data().train->sample_shape();
  ModelSummary summary;
  summary.kind = called(job.model);
  summary.inputs.emplace_back("input", image);
  for (const StageOptions& stage : job.stages) {
    summary.stages.push_back(stage.name);
  }
  const Trained trained = trained_by(job, run.objective(), run.parameters());
  const auto* const network = dynamic_cast<const GraphNetwork*>(run.objective().classifier());
  if (network != nullptr) {
    add_layers(network->executor().graph(), run.parameters(), trained, summary);
  } else if (has_layer_graph(job.model)) {
    add_layers(layer_graph(job.model, image, run.data().train->classes()), run.parameters(),
               trained, summary);
  } else {
    add_layers(run.objective().layers(), run.parameters(), trained, summary);
  }
  if (!summary.layers.empty()) {
    summary.outputs.emplace_back(summary.layers.back().name, summary.layers.back().output);
  }
  count_all(run.parameters(), summary);
  return summary;
}

ModelSummary summary_of_features(TrainOptions job) {
  job.data.on_bad_file = DataOptions::OnBadFile::kStop;  // nothing is decoded
  StageOptions fit;
  fit.name = "fit";
  fit.trainable = {{fmt::format("{}/*", kRegressionNode), ""}};
  job.stages = {fit};
  return summary_of_job(job);
}

std::string text_of(const ModelSummary& summary) {
  std::size_t width = 5;
  for (const ModelSummary::Layer& layer : summary.layers) {
    width = std::max(width, layer.name.size());
  }
  std::string text = fmt::format("{} ({})\n", summary.name, summary.kind);
  for (const std::string& note : summary.notes) {
    text += note + "\n";
  }
  text += fmt::format("{:<{}}  {:<24} {:<20} {:>13} {:>16}\n", "layer", width, "kind",
                      "output of a sample", "parameters", "FLOPs");
  for (const ModelSummary::Layer& layer : summary.layers) {
    std::string line = fmt::format("{:<{}}  {:<24} {:<20} {:>13} {:>16}  {}", layer.name, width,
                                   layer.kind, layer.output.str(), with_commas(layer.parameters),
                                   with_commas(2 * layer.products), frozen_text(summary, layer));
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  if (!summary.inputs.empty()) {
    text += fmt::format("inputs      {}\n", tensors_text(summary.inputs));
    text += fmt::format("outputs     {}\n", tensors_text(summary.outputs));
  }
  text += fmt::format("parameters  {}, {} of them trainable\n", with_commas(summary.parameters),
                      with_commas(summary.trainable));
  text += fmt::format("FLOPs       {:.4g} a sample, forward, a multiply-add counted as two\n",
                      summary.flops());
  return text;
}

nlohmann::json to_json(const ModelSummary& summary) {
  const auto tensors = [](const std::vector<std::pair<std::string, Shape>>& of) {
    nlohmann::json json = nlohmann::json::array();
    for (const auto& [name, shape] : of) {
      json.push_back({{"name", name}, {"shape", to_json(shape)}});
    }
    return json;
  };
  nlohmann::json layers = nlohmann::json::array();
  for (const ModelSummary::Layer& layer : summary.layers) {
    nlohmann::json json = {{"name", layer.name},
                           {"kind", layer.kind},
                           {"output", to_json(layer.output)},
                           {"parameters", layer.parameters},
                           {"trainable", layer.trainable},
                           {"flops", 2 * layer.products}};
    for (std::size_t i = 0; i < layer.frozen.size(); ++i) {
      json["frozen"][summary.stages[i]] = static_cast<bool>(layer.frozen[i]);
    }
    layers.push_back(std::move(json));
  }
  return {{"name", summary.name},
          {"kind", summary.kind},
          {"inputs", tensors(summary.inputs)},
          {"outputs", tensors(summary.outputs)},
          {"layers", layers},
          {"stages", summary.stages},
          {"parameters", summary.parameters},
          {"trainable", summary.trainable},
          {"flops", summary.flops()}};
}

}  // namespace gentrain::trainers
