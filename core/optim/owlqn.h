// Minimiser of a smooth function, or of one plus L1 penalties, on host vectors in f64: L-BFGS, and
// its orthant-wise variant OWL-QN. One iteration at a time; its state is plain vectors, from which
// it goes on with the same bits.
// Source: Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization";
// Andrew and Gao 2007, "Scalable training of L1-regularized log-linear models".
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace gentrain::optim {

/// The smooth part: returns f(x) and fills the gradient, which has x's length.
using SmoothFunction = std::function<double(std::span<const double> x, std::span<double> gradient)>;

struct OwlqnOptions {
  std::int64_t max_iterations = 100;  // >= 0
  /// Ends once the gradient's Euclidean norm is at most max(tolerance |value|, 1e-8), or once the
  /// value lies at most tolerance |first value| below the largest of the last 20 iterations: so
  /// Breeze's FirstOrderMinimizer does it. With L1 the gradient is the pseudo-gradient. >= 0.
  double tolerance = 1e-6;
  int memory = 10;  // pairs of differences that the curvature is taken from, >= 1
  /// Most evaluations of the function in one search along a direction, >= 1.
  std::int64_t search_evaluations = 20;
  /// Most evaluations of the function in all, 0: no limit. It is kept to strictly: a search that it
  /// ends leaves the best point that the search found. (SciPy's maxfun lets a search end first.)
  std::int64_t max_evaluations = 0;
  /// Without L1: by how much a step grows while the function still falls steeply, > 1. Breeze has
  /// 1.5; with few evaluations and an unknown scale larger ones get further.
  double growth = 1.5;
};

/// Why a minimisation has ended.
enum class Ending : std::uint8_t {
  kNone,         // it has not
  kIterations,   // max_iterations
  kEvaluations,  // max_evaluations
  kValues,       // values fall no more: tolerance
  kGradient,     // the gradient is small: tolerance
  kSearch,       // no lower point was found along the gradient either
};
/// "max iterations", "function values converged"; "" for kNone.
const char* name_of(Ending ending);

/// All that a minimisation is between two iterations. A new one has x alone.
struct OwlqnState {
  std::vector<double> x;
  std::vector<double> gradient;              // of the smooth part at x
  std::vector<std::vector<double>> steps;    // differences of x, the oldest first
  std::vector<std::vector<double>> changes;  // of the gradient, likewise
  std::vector<double> values;                // L1 included: at the start, after each iteration
  std::int64_t evaluations = 0;
  Ending ending = Ending::kNone;

  [[nodiscard]] std::int64_t iterations() const {
    return values.empty() ? 0 : static_cast<std::int64_t>(values.size()) - 1;
  }
  friend bool operator==(const OwlqnState&, const OwlqnState&) = default;
};

/// For a checkpoint: all numbers as they lie in memory, and back.
std::vector<std::byte> to_bytes(const OwlqnState& state);
/// Throws IoError naming `source` for bytes that are not of a state, or not all of one.
OwlqnState owlqn_state_from(std::span<const std::byte> bytes, const std::string& source);

/// Deterministic: the same function, state and options give the same bits.
///
/// Without L1: L-BFGS with a strong Wolfe search, first along gradient / |gradient|. With L1: as
/// Breeze has OWL-QN, which Spark uses: the direction is that of L-BFGS for the pseudo-gradient,
/// elements that do not descend by it set to zero; steps are projected on the orthant of x, by a
/// backtracking search whose first step of all is 0.5 / |gradient|, that of the smooth part, or of
/// the pseudo-gradient where the former is at most 1e-8. Elements without a penalty are neither set
/// to zero nor projected, and pairs without curvature are left out. A search that finds no Wolfe
/// point gives the lowest one with sufficient decrease; where there is none, the memory is
/// forgotten and the search begins once more, along the gradient.
class Owlqn {
 public:
  /// l1     penalty of each element's absolute value, >= 0; empty: none
  /// state  a new one, or what another object has come to; limits may be others since. Of more
  ///        pairs than `memory` the newest stay. One that ended by kSearch has ended under all
  ///        limits: set `ending` to kNone to search again.
  ///
  /// Throws ShapeError for lengths that differ (which), an option out of range or a penalty that is
  /// negative or not finite.
  Owlqn(const OwlqnOptions& options, std::vector<double> l1, OwlqnState state);

  /// One iteration, the first time after an evaluation at the start. False once it has ended: why
  /// stands in the state. What the function throws goes through; the state is then that of before
  /// but for `evaluations`. Throws NumericError if the function is not finite at the start.
  bool step(const SmoothFunction& function);

  [[nodiscard]] const OwlqnState& state() const { return state_; }

 private:
  struct Point {
    std::vector<double> x, gradient;
    double value = 0;
  };

  void begin(const SmoothFunction& function);
  bool iterate(const SmoothFunction& function);
  void take(Point point);
  void forget_but(std::size_t pairs);
  [[nodiscard]] Ending ending_now() const;
  [[nodiscard]] bool evaluations_left() const;
  [[nodiscard]] double penalty(std::span<const double> x) const;
  [[nodiscard]] double pseudo_gradient(std::size_t i, double x, double gradient) const;
  [[nodiscard]] std::vector<double> pseudo_gradient() const;
  [[nodiscard]] std::vector<double> direction(const std::vector<double>& gradient) const;
  void move(const std::vector<double>& direction, const std::vector<double>& gradient, double step,
            std::vector<double>& x) const;

  OwlqnOptions options_;
  std::vector<double> l1_;
  OwlqnState state_;
};

/// Steps until the end.
OwlqnState minimize(const OwlqnOptions& options, std::vector<double> l1, std::vector<double> x,
                    const SmoothFunction& function);

}  // namespace gentrain::optim
