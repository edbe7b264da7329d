// Octaves and iterations of one image.
#include "trainers/dreamer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/optim/owlqn.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

/// Throws NumericError naming the first term that is not finite.
void require_finite(const DreamTerms& terms) {
  const auto require = [](double value, const std::string& name) {
    if (!std::isfinite(value)) {
      throw NumericError(fmt::format("the dream's loss is {} ({})", value, name));
    }
  };
  for (std::size_t i = 0; i < terms.layers.size(); ++i) {
    require(terms.layers[i], fmt::format("term of layer {}", i + 1));
  }
  require(terms.continuity, "continuity");
  require(terms.l2, "l2");
}

/// The terms of the evaluation that gave this loss.
DreamTerms terms_of(const DreamLoss& loss, double value) {
  const auto found = std::ranges::find_if(
      loss.evaluations(), [&](const DreamTerms& terms) { return terms.total() == value; });
  return found == loss.evaluations().end() ? loss.evaluations().back() : *found;
}

void add(std::vector<double>& x, const std::vector<double>& y, double factor) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] += factor * y[i];
  }
}

}  // namespace

Shape octave_size(const DreamOptions& options, std::int64_t octave, std::int64_t h,
                  std::int64_t w) {
  const double factor =
      std::pow(options.octave_scale, static_cast<double>(octave + 1 - options.octaves));
  const auto extent = [&](std::int64_t full) {
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(full) * factor));
  };
  return {extent(h), extent(w)};
}

bool can_go_on(const DreamOptions& options, const DreamState& state, std::int64_t h,
               std::int64_t w) {
  const DreamImage& image = state.image;
  return state.octave >= 0 && state.octave < options.octaves && state.iterations >= 0 &&
         state.iterations <= options.iterations &&
         Shape{image.h, image.w} == octave_size(options, state.octave, h, w) &&
         std::ssize(image.values) == image.h * image.w * 3;
}

Dreamer::Dreamer(const DreamNetwork& network, const DreamOptions& options, const DreamHands& hands)
    : network_(network),
      options_(options),
      hands_(hands),
      parted_(make_parted_device(hands.device, hands.parts, hands.run_parts)),
      queue_(parted_->make_queue()) {}

DreamLoss& Dreamer::loss_for(std::int64_t h, std::int64_t w) {
  if (executor_ != nullptr) {
    const graph::Graph& graph = executor_->graph();
    const Shape& image = graph.node(graph.inputs()[0]).shape;
    if (image[0] == h && image[1] == w) {
      return *loss_;
    }
  }
  loss_.reset();
  executor_ = network_.executor(h, w);
  loss_ = std::make_unique<DreamLoss>(DreamLoss::Setting{
      .device = *parted_,
      .queue = *queue_,
      .network = *executor_,
      .terms = network_.terms(executor_->graph()),
      .weights = options_.weights,
      .bf16 = hands_.bf16,
      .dtype = hands_.dtype,
  });
  return *loss_;
}

void Dreamer::minimise(DreamLoss& loss, std::vector<double>& x, DreamStep& step) const {
  optim::OwlqnOptions owlqn;
  owlqn.max_iterations = std::numeric_limits<std::int64_t>::max();
  owlqn.tolerance = 1e-9;
  owlqn.max_evaluations = options_.optimizer.max_evaluations;
  owlqn.growth = options_.optimizer.growth;
  optim::OwlqnState state = optim::minimize(
      owlqn, {}, std::move(x), [&](std::span<const double> at, std::span<double> gradient) {
        const double value = loss.evaluate(at, gradient);
        if (loss.evaluations().size() == 1) {
          require_finite(loss.evaluations().back());
        }
        return value;
      });
  x = std::move(state.x);
  step.before = state.values.front();
  step.after = terms_of(loss, state.values.back());
  step.evaluations = state.evaluations;
  step.ending = optim::name_of(state.ending);
}

void Dreamer::ascend(DreamLoss& loss, std::vector<double>& x, DreamStep& step) const {
  constexpr double kLeast = 1e-7;  // that a gradient is divided by
  std::vector<double> gradient(x.size());
  for (std::int64_t i = 0; i < options_.optimizer.steps; ++i) {
    const double value = loss.evaluate(x, gradient);
    require_finite(loss.evaluations().back());
    step.before = i == 0 ? value : step.before;
    double scale = 1;
    if (options_.optimizer.normalised) {
      double sum = 0;
      for (const double g : gradient) {
        sum += std::abs(g);
      }
      scale = 1 / std::max(kLeast, sum / static_cast<double>(gradient.size()));
    }
    add(x, gradient, -options_.optimizer.lr * scale);
  }
  loss.evaluate(x, gradient);
  require_finite(loss.evaluations().back());
  step.after = loss.evaluations().back();
  step.evaluations = options_.optimizer.steps + 1;
}

DreamStep Dreamer::iterate(RngKey key, DreamState& state) {
  DreamImage& image = state.image;
  DreamStep step{.octave = state.octave,
                 .iteration = state.iterations,
                 .h = image.h,
                 .w = image.w,
                 .after = {},
                 .ending = {}};
  if (state.octave + state.iterations > 0) {
    image = zoomed(image, options_.zoom);
  }
  DreamLoss& loss = loss_for(image.h, image.w);
  loss.clear();
  const std::vector<double> noise = jitter(key.fold(static_cast<std::uint64_t>(state.octave))
                                               .fold(static_cast<std::uint64_t>(state.iterations)),
                                           options_.jitter, image.values.size());
  add(image.values, noise, 1);
  if (options_.optimizer.name == DreamOptimizer::Name::kLbfgs) {
    minimise(loss, image.values, step);
  } else {
    ascend(loss, image.values, step);
  }
  add(image.values, noise, -1);
  ++state.iterations;
  return step;
}

bool Dreamer::run(const DreamImage& original, RngKey key, DreamState& state,
                  const std::function<bool(const DreamStep&, const DreamState&)>& watch) {
  const auto base_of = [&](std::int64_t octave) {
    const Shape size = octave_size(options_, octave, original.h, original.w);
    return resized(original, size[0], size[1]);
  };
  if (state.image.values.empty()) {
    state = {0, 0, base_of(0)};
  }
  while (true) {
    while (state.iterations < options_.iterations) {
      const DreamStep step = iterate(key, state);
      if (!watch(step, state)) {
        return state.octave + 1 == options_.octaves && state.iterations == options_.iterations;
      }
    }
    if (state.octave + 1 == options_.octaves) {
      return true;
    }
    // What was dreamt is carried over to the next size; the original has its own details.
    DreamImage dreamt = std::move(state.image);
    add(dreamt.values, base_of(state.octave).values, -1);
    DreamImage next = base_of(state.octave + 1);
    add(next.values, resized(dreamt, next.h, next.w).values, 1);
    state = {state.octave + 1, 0, std::move(next)};
  }
}

}  // namespace gentrain::trainers
