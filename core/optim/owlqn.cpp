// L-BFGS and OWL-QN: directions by the two-loop recursion, orthants, when it ends.
#include "core/optim/owlqn.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/optim/line_search.h"
#include "kernels/error.h"

namespace gentrain::optim {

namespace {

constexpr std::size_t kWindow = 20;  // values that the newest one is compared with
constexpr double kLeastGradient = 1e-8;

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

double norm(const std::vector<double>& a) {
  return std::sqrt(dot(a, a));
}

void add_scaled(std::vector<double>& into, double factor, const std::vector<double>& from) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    into[i] += factor * from[i];
  }
}

std::vector<double> difference(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result = a;
  add_scaled(result, -1, b);
  return result;
}

void check(bool good, const std::string& what) {
  if (!good) {
    throw ShapeError("L-BFGS: " + what);
  }
}

void check_options(const OwlqnOptions& options) {
  check(options.max_iterations >= 0,
        fmt::format("max_iterations is {}, at least 0 is needed", options.max_iterations));
  check(options.tolerance >= 0 && std::isfinite(options.tolerance),
        fmt::format("tolerance is {}, at least 0 is needed", options.tolerance));
  check(options.memory >= 1, fmt::format("memory is {}, at least 1 is needed", options.memory));
  check(options.search_evaluations >= 1,
        fmt::format("search_evaluations is {}, at least 1 is needed", options.search_evaluations));
  check(options.max_evaluations >= 0,
        fmt::format("max_evaluations is {}, at least 0 is needed", options.max_evaluations));
  check(options.growth > 1 && std::isfinite(options.growth),
        fmt::format("growth is {}, more than 1 is needed", options.growth));
}

void check_lengths(const OwlqnState& state) {
  const std::size_t size = state.x.size();
  const std::size_t gradient = state.values.empty() ? 0 : size;
  check(
      state.gradient.size() == gradient,
      fmt::format("a state's gradient has {} elements, {} are needed for an x of {} and {} values",
                  state.gradient.size(), gradient, size, state.values.size()));
  check(state.steps.size() == state.changes.size(),
        fmt::format("a state has {} differences of x but {} of the gradient", state.steps.size(),
                    state.changes.size()));
  for (const auto* pairs : {&state.steps, &state.changes}) {
    for (const std::vector<double>& one : *pairs) {
      check(one.size() == size,
            fmt::format("a state's x has {} elements but a difference has {}", size, one.size()));
    }
  }
}

}  // namespace

const char* name_of(Ending ending) {
  switch (ending) {
    case Ending::kNone:
      return "";
    case Ending::kIterations:
      return "max iterations";
    case Ending::kEvaluations:
      return "max evaluations";
    case Ending::kValues:
      return "function values converged";
    case Ending::kGradient:
      return "gradient converged";
    case Ending::kSearch:
      return "line search failed";
  }
  return "";
}

Owlqn::Owlqn(const OwlqnOptions& options, std::vector<double> l1, OwlqnState state)
    : options_(options), l1_(std::move(l1)), state_(std::move(state)) {
  check_options(options_);
  check_lengths(state_);
  check(l1_.empty() || l1_.size() == state_.x.size(),
        fmt::format("{} penalties for an x of {} elements", l1_.size(), state_.x.size()));
  for (std::size_t i = 0; i < l1_.size(); ++i) {
    if (!(l1_[i] >= 0 && std::isfinite(l1_[i]))) {
      check(false, fmt::format("the penalty of element {} is {}, at least 0 is needed", i, l1_[i]));
    }
  }
  forget_but(static_cast<std::size_t>(options_.memory));
  const bool failed = state_.ending == Ending::kSearch;
  state_.ending = state_.values.empty() ? Ending::kNone : ending_now();
  if (failed && !state_.values.empty() && state_.ending == Ending::kNone) {
    state_.ending = Ending::kSearch;
  }
}

bool Owlqn::step(const SmoothFunction& function) {
  const bool is_new = state_.values.empty();
  std::vector<std::vector<double>> steps;  // what is forgotten, until the function has not thrown
  std::vector<std::vector<double>> changes;
  bool moved = false;
  try {
    if (is_new) {
      begin(function);
      state_.ending = ending_now();
    }
    if (state_.ending != Ending::kNone) {
      return false;
    }
    moved = iterate(function);
    if (!moved && !state_.steps.empty() && evaluations_left()) {
      steps.swap(state_.steps);
      changes.swap(state_.changes);
      moved = iterate(function);
    }
  } catch (...) {
    if (is_new) {
      state_.gradient.clear();
      state_.values.clear();
    }
    if (!steps.empty()) {
      steps.swap(state_.steps);
      changes.swap(state_.changes);
    }
    throw;
  }
  state_.ending = ending_now();
  if (!moved && state_.ending == Ending::kNone) {
    state_.ending = Ending::kSearch;
  }
  return state_.ending == Ending::kNone;
}

void Owlqn::begin(const SmoothFunction& function) {
  std::vector<double> gradient(state_.x.size());
  ++state_.evaluations;
  const double value = function(state_.x, gradient);
  if (!std::isfinite(value) || !std::isfinite(norm(gradient))) {
    throw NumericError(
        fmt::format("L-BFGS: at the start the function is {} and its gradient's norm {}: finite "
                    "ones are needed",
                    value, norm(gradient)));
  }
  state_.gradient = std::move(gradient);
  state_.values = {value + penalty(state_.x)};
}

/// Whether a lower point was found.
bool Owlqn::iterate(const SmoothFunction& function) {
  const std::vector<double> gradient = pseudo_gradient();
  const std::vector<double> along = direction(gradient);
  const SearchPoint start{0, state_.values.back(), dot(along, gradient)};
  if (!(start.slope < 0)) {
    return false;
  }
  Point point;  // evaluated last
  Point best;   // the lowest with sufficient decrease
  point.gradient.resize(gradient.size());
  std::int64_t left = options_.search_evaluations;
  const auto evaluate = [&](double step) -> std::optional<SearchPoint> {
    if (left == 0 || !evaluations_left()) {
      return std::nullopt;
    }
    --left;
    ++state_.evaluations;
    move(along, gradient, step, point.x);
    point.value = function(point.x, point.gradient) + penalty(point.x);
    SearchPoint result{step, point.value, 0};
    for (std::size_t i = 0; i < along.size(); ++i) {
      result.slope += pseudo_gradient(i, point.x[i], point.gradient[i]) * along[i];
    }
    if (sufficient_decrease(start, result) && (best.x.empty() || point.value < best.value)) {
      best = point;
    }
    return result;
  };
  const bool first = state_.steps.empty();
  const double smooth = norm(state_.gradient);
  const double scale = smooth > kLeastGradient ? smooth : norm(gradient);
  const bool found =
      l1_.empty()
          ? strong_wolfe_search(start, first ? 1 / norm(along) : 1, options_.growth, evaluate)
          : backtracking_search(start, first ? 0.5 / scale : 1, first ? 0.1 : 0.5, evaluate);
  if (!found && best.x.empty()) {
    return false;
  }
  take(std::move(found ? point : best));
  return true;
}

void Owlqn::take(Point point) {
  std::vector<double> step = difference(point.x, state_.x);
  std::vector<double> change = difference(point.gradient, state_.gradient);
  const double curvature = dot(step, change);
  if (curvature > std::numeric_limits<double>::epsilon() * dot(change, change)) {
    forget_but(static_cast<std::size_t>(options_.memory) - 1);
    state_.steps.push_back(std::move(step));
    state_.changes.push_back(std::move(change));
  }
  state_.x = std::move(point.x);
  state_.gradient = std::move(point.gradient);
  state_.values.push_back(point.value);
}

/// At most as many pairs are left, the newest.
void Owlqn::forget_but(std::size_t pairs) {
  for (auto* kept : {&state_.steps, &state_.changes}) {
    const std::size_t surplus = kept->size() - std::min(kept->size(), pairs);
    kept->erase(kept->begin(), kept->begin() + static_cast<std::ptrdiff_t>(surplus));
  }
}

Ending Owlqn::ending_now() const {
  const std::vector<double>& values = state_.values;
  if (state_.iterations() >= options_.max_iterations) {
    return Ending::kIterations;
  }
  if (values.size() > kWindow) {
    const double largest = *std::max_element(values.end() - kWindow, values.end());
    if (largest - values.back() <= options_.tolerance * std::abs(values.front())) {
      return Ending::kValues;
    }
  }
  const double least = std::max(options_.tolerance * std::abs(values.back()), kLeastGradient);
  if (norm(pseudo_gradient()) <= least) {
    return Ending::kGradient;
  }
  return evaluations_left() ? Ending::kNone : Ending::kEvaluations;
}

bool Owlqn::evaluations_left() const {
  return options_.max_evaluations == 0 || state_.evaluations < options_.max_evaluations;
}

double Owlqn::penalty(std::span<const double> x) const {
  double sum = 0;
  for (std::size_t i = 0; i < l1_.size(); ++i) {
    sum += l1_[i] * std::abs(x[i]);
  }
  return sum;
}

/// The one-sided derivative of the whole function that descends, where there is one, else 0.
double Owlqn::pseudo_gradient(std::size_t i, double x, double gradient) const {
  const double l1 = l1_.empty() ? 0 : l1_[i];
  if (x != 0) {
    return x > 0 ? gradient + l1 : gradient - l1;
  }
  if (gradient - l1 > 0) {
    return gradient - l1;
  }
  return gradient + l1 < 0 ? gradient + l1 : 0;
}

std::vector<double> Owlqn::pseudo_gradient() const {
  std::vector<double> result(state_.x.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = pseudo_gradient(i, state_.x[i], state_.gradient[i]);
  }
  return result;
}

/// Minus the approximate inverse Hessian times the gradient.
std::vector<double> Owlqn::direction(const std::vector<double>& gradient) const {
  const std::size_t pairs = state_.steps.size();
  std::vector<double> result = gradient;
  std::vector<double> curvature(pairs);
  std::vector<double> alpha(pairs);
  for (std::size_t i = pairs; i-- > 0;) {
    curvature[i] = dot(state_.steps[i], state_.changes[i]);
    alpha[i] = dot(state_.steps[i], result) / curvature[i];
    add_scaled(result, -alpha[i], state_.changes[i]);
  }
  const double scale =
      pairs == 0 ? 1 : curvature.back() / dot(state_.changes.back(), state_.changes.back());
  for (double& element : result) {
    element *= scale;
  }
  for (std::size_t i = 0; i < pairs; ++i) {
    const double beta = dot(state_.changes[i], result) / curvature[i];
    add_scaled(result, alpha[i] - beta, state_.steps[i]);
  }
  for (std::size_t i = 0; i < result.size(); ++i) {
    const bool keep = l1_.empty() || l1_[i] == 0 || result[i] * gradient[i] > 0;
    result[i] = keep ? -result[i] : 0;
  }
  return result;
}

/// x + step * direction; penalised elements that left the orthant are zero.
void Owlqn::move(const std::vector<double>& direction, const std::vector<double>& gradient,
                 double step, std::vector<double>& x) const {
  x = state_.x;
  add_scaled(x, step, direction);
  for (std::size_t i = 0; i < l1_.size(); ++i) {
    const double orthant = state_.x[i] != 0 ? state_.x[i] : -gradient[i];
    if (l1_[i] > 0 && !(x[i] * orthant > 0)) {
      x[i] = 0;
    }
  }
}

OwlqnState minimize(const OwlqnOptions& options, std::vector<double> l1, std::vector<double> x,
                    const SmoothFunction& function) {
  OwlqnState start;
  start.x = std::move(x);
  Owlqn minimizer(options, std::move(l1), std::move(start));
  while (minimizer.step(function)) {
  }
  return minimizer.state();
}

}  // namespace gentrain::optim
