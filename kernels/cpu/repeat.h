// Two tensors of which either may be repeated along axes where it has extent 1, as a loop over runs
// of elements: axes along which both do the same are one.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/shape.h"

namespace gentrain::cpu {

/// The loop over all elements of the shape that two tensors have together, row-major.
class RepeatLoop {
 public:
  /// The shapes must fit (repeated_shape).
  RepeatLoop(const Shape& a, const Shape& b);

  /// Where a run begins: in each tensor and in the result.
  struct Position {
    std::int64_t a, b, y;
  };

  /// Elements of a run.
  [[nodiscard]] std::int64_t run() const { return last().extent; }
  /// Whether a run is one element of a tensor, again and again.
  [[nodiscard]] bool repeats_a() const { return last().step_a == 0; }
  [[nodiscard]] bool repeats_b() const { return last().step_b == 0; }

  /// visit(Position) for each run, in order.
  template <class Visit>
  void for_each_run(const Visit& visit) const {
    std::array<std::int64_t, Shape::kMaxRank> index{};
    Position at{0, 0, 0};
    for (std::int64_t i = 0; i < runs_; ++i) {
      visit(at);
      at.y += run();
      advance(index, at);
    }
  }

 private:
  struct Axis {
    std::int64_t extent = 1;
    std::int64_t step_a = 1;
    std::int64_t step_b = 1;
  };
  [[nodiscard]] const Axis& last() const { return axes_[static_cast<std::size_t>(rank_) - 1]; }
  void advance(std::array<std::int64_t, Shape::kMaxRank>& index, Position& at) const;

  std::array<Axis, Shape::kMaxRank> axes_{};
  int rank_ = 0;
  std::int64_t runs_ = 1;
};

}  // namespace gentrain::cpu
