// Elements of any type in another order of axes.
#pragma once

#include <span>

#include "kernels/view.h"

namespace gentrain::cpu {

/// Axis i of y is axis axes[i] of x; types of 2 or 4 bytes. The shapes must fit.
void permute(std::span<const int> axes, ConstView x, View y);

}  // namespace gentrain::cpu
