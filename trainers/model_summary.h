// What a network is made of, layer by layer, for people and as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "trainers/opened_model.h"
#include "trainers/options.h"

namespace gentrain::trainers {

struct ModelSummary {
  struct Layer {
    std::string name;
    std::string kind;             // "convolution"; empty where it is not known
    Shape output;                 // of one sample
    std::int64_t parameters = 0;  // values, running statistics included
    std::int64_t trainable = 0;   // of these what an optimizer may change
    std::int64_t products = 0;    // multiply-adds of a sample forward
    std::vector<bool> frozen;     // by stage: nothing of its trainable values is trained
  };
  std::string name;
  std::string kind;
  std::vector<std::pair<std::string, Shape>> inputs;   // as the model's file has them
  std::vector<std::pair<std::string, Shape>> outputs;  // likewise
  std::vector<Layer> layers;
  std::vector<std::string> stages;  // of a job
  std::int64_t parameters = 0;      // of all layers, shared ones counted once
  std::int64_t trainable = 0;
  std::vector<std::string> notes;

  /// Multiply-adds count two.
  [[nodiscard]] double flops() const;
};

ModelSummary summary_of(const OpenedModel& model);

/// The network of a job, on its data, and what each stage freezes; no weights are read. On one
/// rank. Throws what a run would throw before its first step.
ModelSummary summary_of_job(const TrainOptions& job);

/// Likewise of a regression on features, whose options feature_options() gave: the regression is
/// all that is trained.
ModelSummary summary_of_features(TrainOptions job);

/// A table that ends with the totals; every line ends with a line break.
std::string text_of(const ModelSummary& summary);
/// {"name", "kind", "inputs", "outputs", "layers": [{"name", "kind", "output", "parameters",
/// "trainable", "flops", "frozen": {STAGE: true}}], "stages", "parameters", "trainable", "flops"}
nlohmann::json to_json(const ModelSummary& summary);

}  // namespace gentrain::trainers
