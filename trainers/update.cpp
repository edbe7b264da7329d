// Update: freezing by pattern, the optimizer on the segments that the exchange hands over.
#include "trainers/update.h"

#include <algorithm>
#include <array>
#include <sstream>

#include <fmt/format.h>

#include "comm/backoff.h"
#include "core/optim/schedule.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

/// Elements whose update is worth waking workers for.
constexpr std::int64_t kManyElements = 1 << 15;

/// What Update::own_state() gives, as it is sent.
std::vector<comm::ConstBytes> pieces_of(const std::vector<std::vector<float>>& states) {
  std::vector<comm::ConstBytes> pieces;
  pieces.reserve(states.size());
  for (const std::vector<float>& state : states) {
    pieces.push_back({state.data(), state.size() * sizeof(float)});
  }
  return pieces;
}

/// Where the pieces of a rank with these segments (see Update::segments_text()) belong in the
/// arena-shaped states: none where there are no states.
std::vector<comm::Bytes> places_of(const std::string& segments,
                                   std::vector<std::vector<float>>& states) {
  std::vector<comm::Bytes> places;
  std::istringstream in(segments);
  for (comm::Range range; in >> range.first >> range.last;) {
    for (std::vector<float>& state : states) {
      places.push_back(
          {state.data() + range.first, static_cast<std::size_t>(range.size()) * sizeof(float)});
    }
  }
  return places;
}

}  // namespace

void Update::add_wishes(const Wishes& wishes, comm::ShardGradients& gradients) {
  const std::span<float> slots = gradients.statistics().last(kWishStatistics);
  slots[0] = wishes.stop ? 1.0F : 0.0F;
  slots[1] = wishes.checkpoint ? 1.0F : 0.0F;
}

std::vector<float> Update::all_statistics() const {
  std::vector<float> sums = exchange_->statistics();
  for (std::size_t i = 0; i < of_parts_before_.size(); ++i) {
    sums[i] += of_parts_before_[i];
  }
  return sums;
}

std::vector<float> Update::statistics() const {
  std::vector<float> sums = all_statistics();
  sums.resize(sums.size() - kWishStatistics);
  return sums;
}

Wishes Update::wishes() const {
  const std::vector<float> sums = all_statistics();
  return {sums[sums.size() - 2] > 0, sums[sums.size() - 1] > 0};
}

namespace {

bool may_be_selected(const ParameterInfo& info) {
  return info.role != ParameterRole::kAverage;
}

std::vector<std::string> selectable_names(const ParameterSet& parameters) {
  std::vector<std::string> names;
  for (int i = 0; i < parameters.size(); ++i) {
    if (may_be_selected(parameters.info(i))) {
      names.push_back(parameters.info(i).name);
    }
  }
  return names;
}

}  // namespace

std::vector<bool> select_parameters(const ParameterSet& parameters,
                                    const std::vector<Pattern>& patterns, const std::string& what) {
  std::vector<bool> selected(static_cast<std::size_t>(parameters.size()), false);
  for (const Pattern& pattern : patterns) {
    bool found = false;
    for (int i = 0; i < parameters.size(); ++i) {
      if (may_be_selected(parameters.info(i)) && matches(pattern.text, parameters.info(i).name)) {
        selected[static_cast<std::size_t>(i)] = true;
        found = true;
      }
    }
    if (!found) {
      throw JobError(fmt::format("{}{}{} pattern '{}' matches no parameter (there are {})",
                                 pattern.where, pattern.where.empty() ? "" : ": ", what,
                                 pattern.text,
                                 listed_near(pattern.text, selectable_names(parameters))));
    }
  }
  return selected;
}

Update::Update(const UpdateSetting& setting, Queue& queue, ParameterSet& parameters,
               const StageOptions& stage, std::int64_t statistics,
               const std::vector<std::vector<Pattern>>& parts)
    : communicator_(setting.communicator),
      device_(setting.device),
      parameters_(parameters),
      stage_(stage),
      trainable_(select_parameters(parameters, stage.trainable,
                                   fmt::format("stage {}: the trainable", stage.name))) {
  const std::vector<bool> frozen = select_parameters(
      parameters, stage.freeze.parameters, fmt::format("stage {}: the freeze", stage.name));
  std::transform(trainable_.begin(), trainable_.end(), frozen.begin(), trainable_.begin(),
                 [](bool trained, bool kept) { return trained && !kept; });
  find_parts(parts);
  find_rules();
  find_trained();
  check_rules();
  find_averages();
  comm::ExchangeOptions options;
  options.mode = setting.mode;
  options.shards = setting.shards;
  options.statistics = statistics + static_cast<std::int64_t>(kWishStatistics);
  options.needs_norm = stage.clip_norm > 0;
  options.workers = setting.workers;
  options.side_by_side = setting.side_by_side;
  exchange_ =
      std::make_unique<comm::Exchange>(setting.communicator, setting.device, parameters, options);
  std::vector<std::pair<std::int64_t, std::int64_t>> owned;
  for (const comm::Range& segment : exchange_->owned_segments()) {
    owned.emplace_back(segment.first, segment.last);
  }
  optimizer_ = std::make_unique<optim::Optimizer>(setting.device, queue, rules_, owned);
  gather_tag_ = communicator_.reserve_tags(1, false);
}

void Update::find_parts(const std::vector<std::vector<Pattern>>& parts) {
  const std::string what = fmt::format("stage {}: the loss's", stage_.name);
  std::vector<bool> reached(trainable_.size(), false);
  for (const std::vector<Pattern>& patterns : parts) {
    std::vector<bool> part = select_parameters(parameters_, patterns, what);
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (part[i] && reached[i]) {
        throw Error(fmt::format("stage {}: {} is in two parts of a step", stage_.name,
                                parameters_.info(static_cast<int>(i)).name));
      }
      reached[i] = reached[i] || part[i];
      part[i] = part[i] && trainable_[i];
    }
    parts_.push_back(std::move(part));
  }
  bool any = false;
  for (std::size_t i = 0; i < trainable_.size(); ++i) {
    trainable_[i] = trainable_[i] && reached[i];
    any = any || trainable_[i];
  }
  if (!any) {
    throw JobError(
        fmt::format("stage {}: its loss depends on no trainable parameter", stage_.name));
  }
}

/// The stage's own rule, and those of networks by themselves.
void Update::find_rules() {
  rules_ = {stage_.optimizer};
  for (const auto& own : {stage_.generator_optimizer, stage_.discriminator_optimizer}) {
    rules_.push_back(own.value_or(stage_.optimizer));
  }
}

/// What of the arena is trained, neighbours of one kind joined.
void Update::find_trained() {
  for (int i = 0; i < parameters_.size(); ++i) {
    if (!trainable_[static_cast<std::size_t>(i)]) {
      continue;
    }
    const ParameterInfo& info = parameters_.info(i);
    const std::int64_t last =
        i + 1 < parameters_.size() ? parameters_.info(i + 1).offset : parameters_.arena_elements();
    const std::size_t rule = matches("generator/*", info.name)       ? 1
                             : matches("discriminator/*", info.name) ? 2
                                                                     : 0;
    std::size_t part = 0;
    while (!parts_[part][static_cast<std::size_t>(i)]) {
      ++part;
    }
    const Trained one{{info.offset, last}, part, info.role, rule, info.decay};
    const Trained* before = trained_.empty() ? nullptr : &trained_.back();
    if (before != nullptr && before->elements.last == info.offset && before->part == part &&
        before->role == one.role && before->rule == one.rule && before->decay == one.decay) {
      trained_.back().elements.last = last;
    } else {
      trained_.push_back(one);
    }
  }
}

/// A rule for a network of which nothing is trained is a mistake.
void Update::check_rules() const {
  constexpr std::array<const char*, 2> kNetworks = {"generator", "discriminator"};
  for (std::size_t i = 0; i < kNetworks.size(); ++i) {
    const bool given =
        (i == 0 ? stage_.generator_optimizer : stage_.discriminator_optimizer).has_value();
    const bool used = std::any_of(trained_.begin(), trained_.end(), [&](const Trained& trained) {
      return trained.rule == i + 1 && trained.role == ParameterRole::kTrained;
    });
    if (given && !used) {
      throw JobError(fmt::format(
          "stage {0}: optimizer.{1} has no effect: no parameter {1}/... is trained there",
          stage_.name, kNetworks.at(i)));
    }
  }
}

/// Averages and what they follow, neighbours joined.
void Update::find_averages() {
  for (int i = 0; i < parameters_.size(); ++i) {
    const ParameterInfo& info = parameters_.info(i);
    averaged_.push_back(info.role == ParameterRole::kAverage);
    if (!averaged_.back()) {
      continue;
    }
    const std::int64_t last =
        i + 1 < parameters_.size() ? parameters_.info(i + 1).offset : parameters_.arena_elements();
    const std::int64_t of = parameters_.info(info.average_of).offset;
    const Average* before = averages_.empty() ? nullptr : &averages_.back();
    if (before != nullptr && before->elements.last == info.offset &&
        before->of + before->elements.size() == of && before->decay == info.decay) {
      averages_.back().elements.last = last;
    } else {
      averages_.push_back({{info.offset, last}, of, info.decay});
    }
  }
}

void Update::end(Queue& queue) {
  if (averages_.empty() || part_ + 1 < parts_.size()) {
    return;
  }
  const Tensor& arena = parameters_.arena();
  for (const Average& average : averages_) {
    const Shape shape{average.elements.size()};
    optim::follow(device_, queue, arena.slice(average.of, shape),
                  arena.slice(average.elements.first, shape), average.decay);
  }
  queue.wait();
  parameters_.mark_changed(averaged_);
}

double Update::learning_rate(std::size_t rule) const {
  return optim::learning_rate(stage_.schedule, rules_[rule].lr, step_);
}

void Update::begin(Queue& queue, std::int64_t step, std::size_t part, const InParts& in_parts) {
  if (part == 0) {
    of_parts_before_.clear();
  } else {
    of_parts_before_ = all_statistics();
  }
  step_ = step;
  part_ = part;
  exchange_->begin(
      queue,
      [this, &queue, in_parts](const comm::Range& elements, const Tensor& gradient, double norm) {
        if (!in_parts || elements.size() < kManyElements) {
          apply(queue, elements, gradient, norm);
          return;
        }
        in_parts([&](int index, int parts, Queue& own) {
          const comm::Range mine = comm::part_of(elements.size(), parts, index);
          apply(own, {elements.first + mine.first, elements.first + mine.last},
                gradient.slice(mine.first, {mine.size()}), norm);
        });
      },
      parts_.at(part));
}

void Update::apply(Queue& queue, const comm::Range& elements, const Tensor& gradient, double norm) {
  const bool clip = stage_.clip_norm > 0 && norm > stage_.clip_norm;
  const double scale = clip ? stage_.clip_norm / norm : 1.0;
  for (const Trained& trained : trained_) {
    const std::int64_t first = std::max(trained.elements.first, elements.first);
    const std::int64_t last = std::min(trained.elements.last, elements.last);
    if (first >= last || trained.part != part_) {
      continue;
    }
    const Shape shape{last - first};
    const Tensor part = gradient.slice(first - elements.first, shape);
    const Tensor values = parameters_.arena().slice(first, shape);
    if (trained.role == ParameterRole::kStatistic) {
      optim::follow(device_, queue, part, values, trained.decay);
    } else {
      optimizer_->apply(queue, first, part, values,
                        {trained.rule, learning_rate(trained.rule), step_, scale});
    }
  }
}

std::string Update::segments_text() const {
  std::string text;
  for (const auto& segment : optimizer_->segments()) {
    text += fmt::format("{} {} ", segment.first, segment.last);
  }
  return text;
}

std::vector<std::vector<float>> Update::own_state(Queue& queue) const {
  std::vector<std::vector<float>> pieces;
  for (const auto& segment : optimizer_->segments()) {
    for (const Tensor& state : segment.state) {
      pieces.push_back(copy_to_host<float>(device_, queue, state));
    }
  }
  return pieces;
}

std::vector<std::vector<float>> Update::arena_of_state(Queue& queue,
                                                       std::vector<std::vector<float>> into) const {
  into.resize(optimizer_->state_names().size());
  for (std::vector<float>& state : into) {
    state.resize(static_cast<std::size_t>(parameters_.arena_elements()));
    // The segments of all ranks cover each parameter but the averages.
    std::fill(state.begin() + parameters_.exchanged_elements(), state.end(), 0.0F);
  }
  for (const auto& segment : optimizer_->segments()) {
    for (std::size_t i = 0; i < segment.state.size(); ++i) {
      device_.to_host(queue, segment.state[i].data(), into[i].data() + segment.first,
                      segment.state[i].bytes());
    }
  }
  return into;
}

std::vector<std::vector<float>> Update::gather_state(Queue& queue, int root,
                                                     std::vector<std::vector<float>> into) const {
  const int rank = communicator_.rank();
  const auto takes = [root](int r) { return root == kEveryRank || root == r; };
  std::vector<std::vector<float>> whole;
  if (takes(rank)) {
    whole = arena_of_state(queue, std::move(into));
  }
  if (communicator_.size() == 1) {
    return whole;
  }
  const std::vector<std::string> segments = communicator_.all_gather_text(segments_text());
  const auto mine = rank == root ? std::vector<std::vector<float>>() : own_state(queue);
  std::vector<std::vector<comm::ConstBytes>> send(segments.size());
  std::vector<std::vector<comm::Bytes>> receive(segments.size());
  for (int r = 0; r < communicator_.size(); ++r) {
    if (r == rank) {
      continue;
    }
    const auto other = static_cast<std::size_t>(r);
    if (takes(r)) {
      send[other] = pieces_of(mine);
    }
    receive[other] = places_of(segments[other], whole);
  }
  const auto transfer = communicator_.all_to_all(send, receive, gather_tag_);
  for (comm::Backoff backoff; !transfer->poll();) {
    backoff.pause();
  }
  return whole;
}

void Update::set_state(Queue& queue, std::size_t which, std::span<const float> whole) {
  for (const auto& segment : optimizer_->segments()) {
    copy_from_host<float>(device_, queue,
                          whole.subspan(static_cast<std::size_t>(segment.first),
                                        static_cast<std::size_t>(segment.last - segment.first)),
                          segment.state.at(which));
  }
}

}  // namespace gentrain::trainers
