// Update: freezing by pattern, the optimizer on the segments that the exchange hands over.
#include "trainers/update.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/optim/schedule.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

std::vector<bool> select_trainable(const ParameterSet& parameters, const StageOptions& stage) {
  std::vector<bool> trainable(static_cast<std::size_t>(parameters.size()), false);
  for (const Pattern& pattern : stage.trainable) {
    bool found = false;
    for (int i = 0; i < parameters.size(); ++i) {
      if (matches(pattern.text, parameters.info(i).name)) {
        trainable[static_cast<std::size_t>(i)] = true;
        found = true;
      }
    }
    if (!found) {
      std::vector<std::string> names;
      names.reserve(static_cast<std::size_t>(parameters.size()));
      for (int i = 0; i < parameters.size(); ++i) {
        names.push_back(parameters.info(i).name);
      }
      throw JobError(fmt::format(
          "{}{}stage {}: the trainable pattern '{}' matches no parameter (there are {})",
          pattern.where, pattern.where.empty() ? "" : ": ", stage.name, pattern.text,
          fmt::join(names, ", ")));
    }
  }
  return trainable;
}

/// Arena ranges of the trainable parameters, neighbours joined; the whole arena if all are
/// trainable.
std::vector<comm::Range> trained_ranges(const ParameterSet& parameters,
                                        const std::vector<bool>& trainable) {
  std::vector<comm::Range> ranges;
  for (int i = 0; i < parameters.size(); ++i) {
    if (!trainable[static_cast<std::size_t>(i)]) {
      continue;
    }
    const std::int64_t first = parameters.info(i).offset;
    const std::int64_t last =
        i + 1 < parameters.size() ? parameters.info(i + 1).offset : parameters.arena_elements();
    if (!ranges.empty() && ranges.back().last == first) {
      ranges.back().last = last;
    } else {
      ranges.push_back({first, last});
    }
  }
  return ranges;
}

}  // namespace

bool matches(const std::string& pattern, const std::string& text) {
  std::size_t p = 0;
  std::size_t t = 0;
  std::size_t star = std::string::npos;
  std::size_t retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t]) && pattern[p] != '*') {
      ++p;
      ++t;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      retry = t;
    } else if (star != std::string::npos) {
      p = star + 1;
      t = ++retry;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    ++p;
  }
  return p == pattern.size();
}

Update::Update(const UpdateSetting& setting, Queue& queue, ParameterSet& parameters,
               const StageOptions& stage, std::int64_t statistics)
    : communicator_(setting.communicator),
      device_(setting.device),
      parameters_(parameters),
      stage_(stage),
      trainable_(select_trainable(parameters, stage)),
      trained_(trained_ranges(parameters, trainable_)) {
  comm::ExchangeOptions options;
  options.mode = setting.mode;
  options.shards = setting.shards;
  options.statistics = statistics;
  options.needs_norm = stage.clip_norm > 0;
  options.workers = setting.workers;
  exchange_ =
      std::make_unique<comm::Exchange>(setting.communicator, setting.device, parameters, options);
  std::vector<std::pair<std::int64_t, std::int64_t>> owned;
  for (const comm::Range& segment : exchange_->owned_segments()) {
    owned.emplace_back(segment.first, segment.last);
  }
  optimizer_ = std::make_unique<optim::Optimizer>(setting.device, queue, stage.optimizer, owned);
}

void Update::begin(Queue& queue, std::int64_t step) {
  step_ = step;
  lr_ = optim::learning_rate(stage_.schedule, stage_.optimizer.lr, step);
  exchange_->begin(
      queue,
      [this, &queue](const comm::Range& elements, const Tensor& gradient, double norm) {
        apply(queue, elements, gradient, norm);
      },
      trainable_);
}

void Update::apply(Queue& queue, const comm::Range& elements, const Tensor& gradient, double norm) {
  const bool clip = stage_.clip_norm > 0 && norm > stage_.clip_norm;
  const double scale = clip ? stage_.clip_norm / norm : 1.0;
  for (const comm::Range& trained : trained_) {
    const std::int64_t first = std::max(trained.first, elements.first);
    const std::int64_t last = std::min(trained.last, elements.last);
    if (first >= last) {
      continue;
    }
    const Shape shape{last - first};
    optimizer_->apply(queue, first, gradient.slice(first - elements.first, shape),
                      parameters_.arena().slice(first, shape), lr_, step_, scale);
  }
}

std::vector<std::vector<float>> Update::gather_state(Queue& queue) const {
  const std::size_t states = optimizer_->state_names().size();
  std::vector<std::vector<float>> whole(
      states, std::vector<float>(static_cast<std::size_t>(parameters_.arena_elements())));
  std::string mine;
  const auto append = [&mine](const void* data, std::size_t size) {
    mine.append(static_cast<const char*>(data), size);
  };
  for (const auto& segment : optimizer_->segments()) {
    const std::int64_t range[2] = {segment.first, segment.last};
    append(range, sizeof range);
    for (const Tensor& state : segment.state) {
      append(copy_to_host<float>(device_, queue, state).data(), state.bytes());
    }
  }
  for (const std::string& part : communicator_.all_gather_text(mine)) {
    std::size_t at = 0;
    while (at < part.size()) {
      std::int64_t range[2];
      std::memcpy(range, part.data() + at, sizeof range);
      at += sizeof range;
      const std::size_t bytes = static_cast<std::size_t>(range[1] - range[0]) * sizeof(float);
      for (std::size_t i = 0; i < states; ++i) {
        std::memcpy(whole[i].data() + range[0], part.data() + at, bytes);
        at += bytes;
      }
    }
  }
  return whole;
}

}  // namespace gentrain::trainers
