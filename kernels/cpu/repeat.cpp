// Merging axes, and the steps from run to run.
#include "kernels/cpu/repeat.h"

#include <algorithm>

namespace gentrain::cpu {

RepeatLoop::RepeatLoop(const Shape& a, const Shape& b) {
  for (int axis = 0; axis < a.rank(); ++axis) {
    if (a[axis] == 1 && b[axis] == 1) {
      continue;
    }
    const std::int64_t extent = a[axis] == 1 ? b[axis] : a[axis];
    const Axis next{extent, a[axis] == 1 ? 0 : 1, b[axis] == 1 ? 0 : 1};
    if (rank_ > 0 && last().step_a == next.step_a && last().step_b == next.step_b) {
      axes_[static_cast<std::size_t>(rank_) - 1].extent *= extent;
    } else {
      axes_[static_cast<std::size_t>(rank_++)] = next;
    }
  }
  rank_ = std::max(rank_, 1);  // of tensors of one element
  std::int64_t elements_a = 1;
  std::int64_t elements_b = 1;
  for (int i = rank_ - 1; i >= 0; --i) {
    Axis& axis = axes_[static_cast<std::size_t>(i)];
    const bool moves_a = axis.step_a != 0;
    const bool moves_b = axis.step_b != 0;
    axis.step_a = moves_a ? elements_a : 0;
    axis.step_b = moves_b ? elements_b : 0;
    elements_a *= moves_a ? axis.extent : 1;
    elements_b *= moves_b ? axis.extent : 1;
    runs_ *= i == rank_ - 1 ? 1 : axis.extent;
  }
  runs_ = run() == 0 ? 0 : runs_;
}

void RepeatLoop::advance(std::array<std::int64_t, Shape::kMaxRank>& index, Position& at) const {
  for (int i = rank_ - 2; i >= 0; --i) {
    const auto axis = static_cast<std::size_t>(i);
    at.a += axes_[axis].step_a;
    at.b += axes_[axis].step_b;
    if (++index[axis] < axes_[axis].extent) {
      return;
    }
    at.a -= axes_[axis].step_a * axes_[axis].extent;
    at.b -= axes_[axis].step_b * axes_[axis].extent;
    index[axis] = 0;
  }
}

}  // namespace gentrain::cpu
