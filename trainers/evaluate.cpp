// Evaluation and prediction in fixed chunks.
#include "trainers/evaluate.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

/// Sums of one chunk: what travels between ranks.
struct ChunkSums {
  double loss = 0;
  double correct = 0;
};

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

Shape batch_shape(std::int64_t samples, const Shape& sample) {
  std::vector<std::int64_t> extents{samples};
  extents.insert(extents.end(), sample.extents().begin(), sample.extents().end());
  return Shape(extents);
}

ChunkSums run_chunk(Device& device, Worker& worker, const Network& network,
                    const data::Dataset& dataset, const data::Normalization& normalization,
                    const comm::Range& samples) {
  Context context{device, *worker.queue, nullptr, false, {}};
  read(dataset, samples.first, samples.size(), worker.batch);
  const Tensor x = normalized_images(context, worker.batch.pixels, samples.size(),
                                     dataset.sample_shape(), normalization);
  const Tensor labels = Tensor::empty(device, {samples.size()}, DType::kI32);
  copy_from_host<std::int32_t>(device, *worker.queue, worker.batch.labels, labels);
  const auto result = ops::softmax_cross_entropy(context, network.forward(context, x), labels, 1.0);
  const std::vector<float> sums = copy_to_host<float>(device, *worker.queue, result.sums);
  return {static_cast<double>(sums[0]), static_cast<double>(sums[1])};
}

}  // namespace

Tensor normalized_images(Context& context, std::span<const std::uint8_t> pixels,
                         std::int64_t samples, const Shape& sample_shape,
                         const data::Normalization& normalization) {
  const Tensor bytes =
      Tensor::empty(context.device, batch_shape(samples, sample_shape), DType::kU8);
  copy_from_host<std::uint8_t>(context.device, context.queue, pixels, bytes);
  return ops::from_bytes(context, bytes, normalization.factor(), normalization.shift());
}

Evaluation evaluate(comm::Communicator& communicator, StepRunner& runner, const Network& network,
                    const data::Dataset& dataset, const data::Normalization& normalization,
                    std::int64_t chunk) {
  const comm::PhaseScope phase(communicator.activity(), comm::Phase::kEvaluating);
  const std::int64_t chunks = (dataset.size() + chunk - 1) / chunk;
  const comm::Range mine = comm::part_of(chunks, communicator.size(), communicator.rank());
  std::vector<ChunkSums> sums(static_cast<std::size_t>(mine.size()));
  std::atomic<std::int64_t> next{mine.first};
  runner.pool().run([&](int index) {
    while (!runner.pool().failed()) {
      const std::int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= mine.last) {
        return;
      }
      const comm::Range samples{i * chunk, std::min((i + 1) * chunk, dataset.size())};
      sums[static_cast<std::size_t>(i - mine.first)] = run_chunk(
          runner.device(), runner.worker(index), network, dataset, normalization, samples);
    }
  });
  std::string text(sums.size() * sizeof(ChunkSums), '\0');
  if (!sums.empty()) {
    std::memcpy(text.data(), sums.data(), text.size());
  }
  ChunkSums total;
  for (const std::string& part : communicator.all_gather_text(text)) {
    for (std::size_t at = 0; at < part.size(); at += sizeof(ChunkSums)) {
      ChunkSums one;
      std::memcpy(&one, part.data() + at, sizeof one);
      total.loss += one.loss;
      total.correct += one.correct;
    }
  }
  Evaluation result;
  result.samples = dataset.size();
  result.correct = static_cast<std::int64_t>(total.correct);
  result.loss = total.loss / static_cast<double>(dataset.size());
  return result;
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
