// bf16 by its definition: the nearest of all bf16 numbers.
#pragma once

#include "kernels/dtype.h"

namespace gentrain::test {

double value_of(Bf16 x);
/// The nearest, of two equally near ones that with an even last bit; infinity from half a step
/// above the largest on. A quiet NaN for NaN.
Bf16 nearest_bf16(double x);

}  // namespace gentrain::test
