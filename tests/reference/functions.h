// The functions of PointwiseRule by their formulas, in double.
#pragma once

#include "kernels/pointwise.h"

namespace gentrain::reference {

double value_at(const PointwiseRule& rule, double x);
/// At a kink as PointwiseKernels::backward says; NaN for NaN.
double derivative_at(const PointwiseRule& rule, double x);

}  // namespace gentrain::reference
