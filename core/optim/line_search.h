// Line searches of quasi-Newton methods: how far to go along a direction of descent.
//
// Both look for a step with the strong Wolfe conditions: f(t) <= f(0) + 1e-4 t f'(0) and
// |f'(t)| <= 0.9 |f'(0)|.
#pragma once

#include <functional>
#include <optional>

namespace gentrain::optim {

/// A function along a direction, at a step t >= 0.
struct SearchPoint {
  double step = 0;
  double value = 0;
  double slope = 0;  // the derivative by the step
};

/// Evaluates the function at a step; nothing once no evaluations are left.
using AlongDirection = std::function<std::optional<SearchPoint>(double step)>;

/// Whether a point lies low enough below the start (step 0, slope < 0): the first Wolfe condition,
/// named after Armijo. Never so where value or slope is not finite.
bool sufficient_decrease(const SearchPoint& start, const SearchPoint& point);

/// Multiplies the step by `shrink` (0 < shrink < 1, shrink * 2.1 != 1) or by 2.1 until the strong
/// Wolfe conditions hold. True if they do at the point evaluated last; false if evaluations ended
/// before, or the step left [1e-10, 1e10].
/// Source: Okazaki's libLBFGS, as Breeze's BacktrackingLineSearch has it.
bool backtracking_search(const SearchPoint& start, double first_step, double shrink,
                         const AlongDirection& along);

/// Multiplies the step by `growth` > 1 until it brackets a minimum, then narrows the bracket by
/// cubic interpolation. True if the strong Wolfe conditions hold at the point evaluated last; false
/// if evaluations ended before.
/// Source: Nocedal and Wright 2006, "Numerical optimization", algorithms 3.5 and 3.6.
bool strong_wolfe_search(const SearchPoint& start, double first_step, double growth,
                         const AlongDirection& along);

}  // namespace gentrain::optim
