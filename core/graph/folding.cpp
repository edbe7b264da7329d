// Folding on the host, and the cache by version. A thread that still reads an older version keeps
// its tensors alive.
#include "core/graph/folding.h"

#include <cmath>

#include "kernels/progress.h"

namespace gentrain::graph {

namespace {

std::vector<double> to_host(Device& device, Queue& queue, const Tensor& x) {
  if (x.dtype() == DType::kF64) {
    return copy_to_host<double>(device, queue, x);
  }
  const std::vector<float> values = copy_to_host<float>(device, queue, x);
  return {values.begin(), values.end()};
}

Tensor to_device(Device& device, Queue& queue, const std::vector<double>& values,
                 const Tensor& like) {
  const Tensor tensor = Tensor::empty(device, like.shape(), like.dtype());
  if (like.dtype() == DType::kF64) {
    copy_from_host<double>(device, queue, values, tensor);
  } else {
    copy_from_host<float>(device, queue, std::vector<float>(values.begin(), values.end()), tensor);
  }
  tensor.buffer().mark_changed();
  return tensor;
}

}  // namespace

Folded fold(Device& device, Queue& queue, const FoldSources& sources) {
  std::vector<double> weight = to_host(device, queue, sources.weight);
  const std::vector<double> mean = to_host(device, queue, sources.mean);
  const std::vector<double> variance = to_host(device, queue, sources.variance);
  const std::size_t channels = mean.size();
  std::vector<double> bias = sources.beta.defined() ? to_host(device, queue, sources.beta)
                                                    : std::vector<double>(channels, 0);
  const std::vector<double> gamma = sources.gamma.defined() ? to_host(device, queue, sources.gamma)
                                                            : std::vector<double>(channels, 1);
  const std::vector<double> before = sources.bias.defined() ? to_host(device, queue, sources.bias)
                                                            : std::vector<double>(channels, 0);
  const std::size_t taps = weight.size() / channels;
  for (std::size_t c = 0; c < channels; ++c) {
    const double scale = gamma[c] / std::sqrt(variance[c] + sources.epsilon);
    bias[c] += (before[c] - mean[c]) * scale;
    for (std::size_t i = c * taps; i < (c + 1) * taps; ++i) {
      weight[i] *= scale;
    }
  }
  progress::tick();
  return {to_device(device, queue, weight, sources.weight),
          to_device(device, queue, bias, sources.mean)};
}

FoldCache::FoldCache(int count) {
  for (int i = 0; i < count; ++i) {
    entries_.push_back(std::make_unique<Entry>());
  }
}

FoldCache::Versions FoldCache::versions_of(const FoldSources& sources) {
  const auto version = [](const Tensor& x) { return x.defined() ? x.weights().version : 0; };
  return {version(sources.weight), version(sources.bias), version(sources.gamma),
          version(sources.beta),   version(sources.mean), version(sources.variance)};
}

Folded FoldCache::get(Device& device, Queue& queue, Pair pair, const FoldSources& sources) {
  Entry& entry = *entries_[static_cast<std::size_t>(pair.convolution)];
  const std::lock_guard lock(entry.mutex);
  const Versions versions = versions_of(sources);
  if (!entry.folded.weight.defined() || entry.versions != versions || entry.norm != pair.norm) {
    entry.folded = {};  // the memory of the last ones, unless somebody still reads them
    entry.folded = fold(device, queue, sources);
    entry.versions = versions;
    entry.norm = pair.norm;
    ++entry.made;
  }
  return entry.folded;
}

std::uint64_t FoldCache::made() const {
  std::uint64_t made = 0;
  for (const auto& entry : entries_) {
    const std::lock_guard lock(entry->mutex);
    made += entry->made;
  }
  return made;
}

}  // namespace gentrain::graph
