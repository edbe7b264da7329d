// Max pooling on values, for the pooling family and for the convolution that is fused with it.
#pragma once

#include "kernels/pool.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

struct MaxPooled {
  Values y;
  Values argmax;  // kw * row + column of the first largest value in its window
};

MaxPooled max_pool(const PoolGeometry& g, const Values& x);
/// The gradient at x: dy summed where the largest values were.
Values max_unpool(const PoolGeometry& g, const Values& dy, const Values& argmax);

}  // namespace gentrain::reference
