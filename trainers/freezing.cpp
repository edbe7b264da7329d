// Layers to parameters.
#include "trainers/freezing.h"

#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"
#include "trainers/models/graph_network.h"
#include "trainers/models/pretrained.h"

namespace gentrain::trainers {

StageOptions frozen_by_name(const StageOptions& stage, const ModelOptions& model,
                            const Objective& objective, const ParameterSet& parameters) {
  StageOptions resolved = stage;
  const auto* const network = dynamic_cast<const GraphNetwork*>(objective.classifier());
  if (const Pattern& through = stage.freeze.through; !through.text.empty()) {
    const std::string what =
        fmt::format("{}{}stage {}: freeze.through '{}'", through.where,
                    through.where.empty() ? "" : ": ", stage.name, through.text);
    if (network == nullptr) {
      throw JobError(
          fmt::format("{}: the model has no named blocks, only {} do: name parameters by patterns, "
                      "as freeze: [\"conv1/*\"]",
                      what, fmt::join(kPretrainedNames, ", ")));
    }
    try {
      for (const std::string& name : network->executor().parameters_through(through.text)) {
        resolved.freeze.parameters.push_back({name, through.where});
      }
    } catch (const JobError& error) {
      throw JobError(fmt::format("{}: {}", what, error.what()));
    }
    resolved.freeze.through = {"", ""};
  }
  for (int i = 0; network != nullptr && i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    if (info.role == ParameterRole::kStatistic && !model.pretrained.batch_statistics) {
      resolved.freeze.parameters.push_back({info.name, ""});
    }
  }
  return resolved;
}

}  // namespace gentrain::trainers
