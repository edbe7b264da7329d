// Evaluation: every sample of a data set once, whatever the number of ranks; and the same for
// prediction, where the probabilities are wanted.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "comm/communicator.h"
#include "core/data/dataset.h"
#include "trainers/objective.h"
#include "trainers/step.h"

namespace gentrain::trainers {

class GraphTail;

struct Evaluation {
  std::int64_t correct = 0;  // of a classifier
  std::int64_t samples = 0;
  double loss = 0;  // mean, nats
  /// Of a classifier: images whose label is among its top_k likeliest classes; with 1 none are
  /// counted.
  std::int64_t top_k = 1;
  std::int64_t correct_k = 0;
  /// Of other objectives: means of what else they tell, by name.
  std::vector<std::pair<std::string, double>> terms;
  [[nodiscard]] bool is_of_classifier() const { return terms.empty(); }
  [[nodiscard]] double top1() const {
    return samples == 0 ? 0.0 : static_cast<double>(correct) / static_cast<double>(samples);
  }
};

/// {"top1", "correct", "samples", "loss"} of a classifier, with top_k 5 "top5" and "correct_top5"
/// too; else {"loss", "samples"} and the terms.
nlohmann::json to_json(const Evaluation& evaluation);
/// Of what to_json() wrote. Throws nlohmann::json::exception.
Evaluation evaluation_from_json(const nlohmann::json& json);

/// The words of its line in the log: "9,832 of 10,000 right (0.9832), loss 0.0521", with top_k 5
/// ", top-5 0.9991" behind it.
std::string describe(const Evaluation& evaluation);
/// 9832 as "9,832".
std::string with_commas(std::int64_t number);
/// With three significant digits below 100, else whole, with commas: "6.45", "64.5", "1,234".
std::string with_digits(double number);

/// Images to evaluate over, `chunk` at a time.
struct EvaluationData {
  const data::Dataset& dataset;
  data::Normalization normalization;
  std::int64_t chunk = 256;
  std::int64_t top_k = 1;  // see Evaluation; classes at most count
  /// Where the samples are rows of features of a classifier: what is computed of them.
  const GraphTail* behind = nullptr;
};

/// What is computed of a chunk of images: sums over them, or numbers of each.
using ChunkSums =
    std::function<std::vector<double>(Context& context, const Tensor& x, const Tensor& labels)>;

/// What `numbers_of` gives for each chunk of a data set, one behind the other, on every rank.
/// Collective.
std::vector<double> gather_over_chunks(comm::Communicator& communicator, StepRunner& runner,
                                       const EvaluationData& data, const ChunkSums& numbers_of);

/// `count` sums over a data set, in chunks dealt out over ranks and workers; they are added in the
/// chunks' order, so they are the same for any number of either. Collective.
std::vector<double> sum_over_chunks(comm::Communicator& communicator, StepRunner& runner,
                                    const EvaluationData& data, std::size_t count,
                                    const ChunkSums& sums_of);

/// Runs the objective over the data set in chunks dealt out over ranks and workers; sums go over
/// the chunks in order, so they are the same for any number of either. What is random is a function
/// of the chunk. Collective.
Evaluation evaluate(comm::Communicator& communicator, StepRunner& runner,
                    const Objective& objective, const EvaluationData& data);

/// The mean over the data set of log p(x), nats; see Objective::log_likelihood. Collective.
double mean_log_likelihood(comm::Communicator& communicator, StepRunner& runner,
                           const Objective& objective, const EvaluationData& data,
                           std::int64_t samples);

/// How many classes are likelier than a row's label, from 0: larger logits, or as large ones of
/// classes before it. NaN comes last: where the label's own logit is one, the number of classes, so
/// that the label is not even among all of them.
std::int64_t rank_of_label(std::span<const float> logits, std::int32_t label);

/// Probabilities [count, classes] of samples [first, first + count). On this rank alone.
std::vector<float> predict(StepRunner& runner, const Network& network, const data::Dataset& dataset,
                           const data::Normalization& normalization, std::int64_t first,
                           std::int64_t count);

}  // namespace gentrain::trainers
