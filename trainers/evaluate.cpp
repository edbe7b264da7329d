// Evaluation and prediction in fixed chunks.
#include "trainers/evaluate.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "trainers/cached_stage.h"

namespace gentrain::trainers {

namespace {

constexpr std::uint64_t kEvaluationKey = 0x4556414C;

/// Samples [first, first + count) of a data set in stored order.
void read(const data::Dataset& dataset, std::int64_t first, std::int64_t count,
          data::ShardBatch& batch) {
  const auto bytes = static_cast<std::size_t>(dataset.sample_shape().elements());
  batch.pixels.resize(bytes * static_cast<std::size_t>(count));
  batch.labels.resize(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    dataset.read(first + i, batch.pixels.data() + static_cast<std::size_t>(i) * bytes);
    batch.labels[static_cast<std::size_t>(i)] = dataset.label(first + i);
  }
}

std::vector<double> run_chunk(Device& device, Worker& worker, const EvaluationData& data,
                              const comm::Range& samples, const ChunkSums& sums_of) {
  Context context{device, *worker.queue, nullptr, false,
                  RngKey(kEvaluationKey).fold(static_cast<std::uint64_t>(samples.first))};
  read(data.dataset, samples.first, samples.size(), worker.batch);
  const Tensor x =
      data.behind != nullptr
          ? features_from(context, worker.batch.pixels, samples.size(), data.behind->input())
          : normalized_images(context, worker.batch.pixels, samples.size(),
                              data.dataset.sample_shape(), data.normalization);
  const Tensor labels = Tensor::empty(device, {samples.size()}, DType::kI32);
  copy_from_host<std::int32_t>(device, *worker.queue, worker.batch.labels, labels);
  return sums_of(context, x, labels);
}

/// The numbers of all chunks, from those of this rank's.
std::vector<double> gathered(comm::Communicator& communicator,
                             const std::vector<std::vector<double>>& chunks) {
  std::string text;
  for (const std::vector<double>& numbers : chunks) {
    text.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double));
  }
  std::vector<double> all;
  for (const std::string& part : communicator.all_gather_text(text)) {
    const std::size_t before = all.size();
    all.resize(before + part.size() / sizeof(double));
    std::copy_n(part.data(), part.size(), reinterpret_cast<char*>(all.data() + before));
  }
  return all;
}

}  // namespace

std::vector<double> gather_over_chunks(comm::Communicator& communicator, StepRunner& runner,
                                       const EvaluationData& data, const ChunkSums& numbers_of) {
  const comm::PhaseScope phase(communicator.activity(), comm::Phase::kEvaluating);
  const std::int64_t size = data.dataset.size();
  const std::int64_t chunks = (size + data.chunk - 1) / data.chunk;
  const comm::Range mine = comm::part_of(chunks, communicator.size(), communicator.rank());
  std::vector<std::vector<double>> numbers(static_cast<std::size_t>(mine.size()));
  std::atomic<std::int64_t> next{mine.first};
  runner.pool().run([&](int index) {
    while (!runner.pool().failed()) {
      const std::int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= mine.last) {
        return;
      }
      const comm::Range samples{i * data.chunk, std::min((i + 1) * data.chunk, size)};
      numbers[static_cast<std::size_t>(i - mine.first)] =
          run_chunk(runner.device(), runner.worker(index), data, samples, numbers_of);
    }
  });
  return gathered(communicator, numbers);
}

std::vector<double> sum_over_chunks(comm::Communicator& communicator, StepRunner& runner,
                                    const EvaluationData& data, std::size_t count,
                                    const ChunkSums& sums_of) {
  const std::vector<double> all = gather_over_chunks(communicator, runner, data, sums_of);
  std::vector<double> total(count);
  for (std::size_t i = 0; i < all.size(); ++i) {
    total[i % count] += all[i];
  }
  return total;
}

std::int64_t rank_of_label(std::span<const float> logits, std::int32_t label) {
  const auto own = static_cast<std::size_t>(label);
  if (std::isnan(logits[own])) {
    return std::ssize(logits);
  }
  std::int64_t likelier = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    likelier += logits[i] > logits[own] || (logits[i] == logits[own] && i < own) ? 1 : 0;
  }
  return likelier;
}

namespace {

double share_of(std::int64_t count, std::int64_t all) {
  return all == 0 ? 0.0 : static_cast<double>(count) / static_cast<double>(all);
}

/// The sums of a classifier's objective, and how many labels are among the top_k.
std::vector<double> classifier_sums(Context& context, const Tensor& logits, const Tensor& labels,
                                    std::int64_t top_k) {
  const ops::CrossEntropy result = ops::softmax_cross_entropy(context, logits, labels, 1.0);
  const std::vector<float> sums = copy_to_host<float>(context.device, context.queue, result.sums);
  const std::vector<float> rows = copy_to_host<float>(context.device, context.queue, logits);
  const auto classes = static_cast<std::size_t>(logits.shape()[1]);
  double among = 0;
  std::size_t at = 0;
  for (const std::int32_t label :
       copy_to_host<std::int32_t>(context.device, context.queue, labels)) {
    among += rank_of_label(std::span(rows).subspan(at, classes), label) < top_k ? 1 : 0;
    at += classes;
  }
  return {static_cast<double>(sums[0]), static_cast<double>(sums[1]), among};
}

/// evaluate() with the likeliest top_k classes, or from features.
Evaluation evaluate_classifier(comm::Communicator& communicator, StepRunner& runner,
                               const Network& network, const EvaluationData& data) {
  Evaluation result;
  result.samples = data.dataset.size();
  const std::vector<double> total = sum_over_chunks(
      communicator, runner, data, 3, [&](Context& context, const Tensor& x, const Tensor& labels) {
        const Tensor logits = network.forward(context, x);
        return classifier_sums(context, logits, labels, data.top_k);
      });
  result.top_k = data.top_k;
  result.loss = total[0] / static_cast<double>(result.samples);
  result.correct = static_cast<std::int64_t>(total[1]);
  result.correct_k = data.top_k > 1 ? static_cast<std::int64_t>(total[2]) : 0;
  return result;
}

}  // namespace

nlohmann::json to_json(const Evaluation& evaluation) {
  nlohmann::json json = {{"loss", evaluation.loss}, {"samples", evaluation.samples}};
  if (evaluation.is_of_classifier()) {
    json["top1"] = evaluation.top1();
    json["correct"] = evaluation.correct;
  }
  if (evaluation.top_k > 1) {
    const std::string name = fmt::format("top{}", evaluation.top_k);
    json[name] = share_of(evaluation.correct_k, evaluation.samples);
    json["correct_" + name] = evaluation.correct_k;
  }
  for (const auto& [name, mean] : evaluation.terms) {
    json[name] = mean;
  }
  return json;
}

Evaluation evaluation_from_json(const nlohmann::json& json) {
  Evaluation evaluation;
  evaluation.loss = json.at("loss").get<double>();
  evaluation.samples = json.at("samples").get<std::int64_t>();
  if (json.contains("correct")) {
    evaluation.correct = json["correct"].get<std::int64_t>();
    constexpr std::string_view kTop = "correct_top";
    for (const auto& [name, count] : json.items()) {
      if (name.starts_with(kTop)) {
        evaluation.top_k = std::atoll(name.c_str() + kTop.size());
        evaluation.correct_k = count.get<std::int64_t>();
      }
    }
    return evaluation;
  }
  for (const auto& [name, mean] : json.items()) {
    if (name != "loss" && name != "samples") {
      evaluation.terms.emplace_back(name, mean.get<double>());
    }
  }
  return evaluation;
}

std::string with_commas(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::size_t sign = number < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > sign + 3; at -= 3) {
    digits.insert(at - 3, 1, ',');
  }
  return digits;
}

std::string with_digits(double number) {
  constexpr double kWholeFrom = 99.95;  // what would be rounded to 100
  return std::abs(number) < kWholeFrom ? fmt::format("{:#.3g}", number)
                                       : with_commas(std::llround(number));
}

std::string describe(const Evaluation& evaluation) {
  if (evaluation.is_of_classifier()) {
    return fmt::format("{} of {} right ({:.4f}), loss {:.4f}", with_commas(evaluation.correct),
                       with_commas(evaluation.samples), evaluation.top1(), evaluation.loss) +
           (evaluation.top_k > 1 ? fmt::format(", top-{} {:.4f}", evaluation.top_k,
                                               share_of(evaluation.correct_k, evaluation.samples))
                                 : "");
  }
  std::string text = fmt::format("loss {:.4f}", evaluation.loss);
  for (const auto& [name, mean] : evaluation.terms) {
    text += fmt::format(", {} {:.4f}", name, mean);
  }
  return text;
}

Evaluation evaluate(comm::Communicator& communicator, StepRunner& runner,
                    const Objective& objective, const EvaluationData& data) {
  if (data.behind != nullptr) {
    return evaluate_classifier(communicator, runner, *data.behind, data);
  }
  if (objective.classifier() != nullptr && data.top_k > 1) {
    return evaluate_classifier(communicator, runner, *objective.classifier(), data);
  }
  const auto names = objective.names();
  const std::vector<double> total =
      sum_over_chunks(communicator, runner, data, names.size(),
                      [&objective](Context& context, const Tensor& x, const Tensor& labels) {
                        return objective.compute(context, x, labels, 1.0).sums;
                      });
  const auto size = static_cast<double>(data.dataset.size());
  Evaluation result;
  result.samples = data.dataset.size();
  result.loss = total[0] / size;
  if (objective.classifier() != nullptr) {
    result.correct = static_cast<std::int64_t>(total[1]);
    return result;
  }
  for (std::size_t i = 1; i < names.size(); ++i) {
    result.terms.emplace_back(names[i], total[i] / size);
  }
  return result;
}

double mean_log_likelihood(comm::Communicator& communicator, StepRunner& runner,
                           const Objective& objective, const EvaluationData& data,
                           std::int64_t samples) {
  const std::vector<double> total =
      sum_over_chunks(communicator, runner, data, 1,
                      [&](Context& context, const Tensor& x, const Tensor& /*labels*/) {
                        return std::vector{objective.log_likelihood(context, x, samples)};
                      });
  return total[0] / static_cast<double>(data.dataset.size());
}

std::vector<float> predict(StepRunner& runner, const Network& network, const data::Dataset& dataset,
                           const data::Normalization& normalization, std::int64_t first,
                           std::int64_t count) {
  if (first < 0 || count < 0 || first + count > dataset.size()) {
    throw JobError(fmt::format("predict: samples [{}, {}) of a data set of {}", first,
                               first + count, dataset.size()));
  }
  Worker& worker = runner.worker(0);
  Context context{runner.device(), *worker.queue, nullptr, false, {}};
  constexpr std::int64_t kChunk = 256;
  std::vector<float> all;
  for (std::int64_t at = first; at < first + count; at += kChunk) {
    const std::int64_t size = std::min(kChunk, first + count - at);
    read(dataset, at, size, worker.batch);
    const Tensor x = normalized_images(context, worker.batch.pixels, size, dataset.sample_shape(),
                                       normalization);
    const Tensor probabilities = ops::softmax(context, network.forward(context, x));
    const std::vector<float> rows =
        copy_to_host<float>(runner.device(), *worker.queue, probabilities);
    all.insert(all.end(), rows.begin(), rows.end());
  }
  return all;
}

}  // namespace gentrain::trainers
