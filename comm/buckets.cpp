// Buckets and segments of an arena.
#include "comm/buckets.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/reduce.h"

namespace gentrain::comm {

std::vector<Bucket> make_buckets(std::int64_t arena_elements, std::int64_t bucket_elements,
                                 std::int64_t statistics, int ranks) {
  if (bucket_elements <= 0 || bucket_elements % kReduceBlock != 0) {
    throw ShapeError(fmt::format("a bucket of {} elements: needs a positive multiple of {}",
                                 bucket_elements, kReduceBlock));
  }
  const std::int64_t per_bucket = bucket_elements / kReduceBlock;
  const auto element = [&](std::int64_t block) {
    return std::min(block * kReduceBlock, arena_elements);
  };
  std::vector<Bucket> buckets;
  std::int64_t last = (arena_elements + kReduceBlock - 1) / kReduceBlock;
  while (last > 0) {
    const std::int64_t first = std::max<std::int64_t>(last - per_bucket, 0);
    Bucket bucket{{element(first), element(last)}, {}};
    for (int r = 0; r < ranks; ++r) {
      const Range blocks = part_of(last - first, ranks, r);
      bucket.segments.push_back({element(first + blocks.first), element(first + blocks.last)});
    }
    buckets.push_back(std::move(bucket));
    last = first;
  }
  const Range tail{arena_elements, arena_elements + statistics};
  buckets.push_back({tail, std::vector<Range>(static_cast<std::size_t>(ranks), tail)});
  return buckets;
}

Tensor without_statistics(Device& device, Queue& queue, const ParameterSet& parameters,
                          const Tensor& sum, const Range& segment) {
  if (!parameters.has_statistics()) {
    return sum;
  }
  Tensor gradient = Tensor::empty(device, sum.shape());
  device.elementwise().scale(queue, 1.0, sum.cview(), gradient.view());
  for (int i = 0; i < parameters.size(); ++i) {
    const ParameterInfo& info = parameters.info(i);
    const Range both{std::max(segment.first, info.offset),
                     std::min(segment.last, info.offset + info.shape.elements())};
    if (info.role == ParameterRole::kStatistic && both.first < both.last) {
      const Tensor statistic = gradient.slice(both.first - segment.first, {both.size()});
      device.elementwise().fill(queue, 0.0, statistic.view());
    }
  }
  return gradient;
}

}  // namespace gentrain::comm
