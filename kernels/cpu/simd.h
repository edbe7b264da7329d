// The table of own vectorised kernels, compiled for x86-64-v3 and x86-64-v4, one of them chosen at
// run time. Only pointers and counts cross this border.
#pragma once

#include "kernels/cpu/simd/bf16.h"
#include "kernels/cpu/simd/conv_columns.h"
#include "kernels/cpu/simd/conv_pool.h"
#include "kernels/cpu/simd/elementwise.h"
#include "kernels/cpu/simd/gemm.h"
#include "kernels/cpu/simd/loss.h"
#include "kernels/cpu/simd/norm.h"
#include "kernels/cpu/simd/pixel.h"
#include "kernels/cpu/simd/pointwise.h"
#include "kernels/cpu/simd/pool.h"
#include "kernels/cpu/simd/random.h"
#include "kernels/cpu/simd/reduce.h"
#include "kernels/cpu/simd/update.h"
#include "kernels/cpu/simd/winograd.h"
#include "kernels/cpu/simd/winograd_line.h"

namespace gentrain::simd {

struct Kernels {
  Bf16Table bf16;
  ConvColumnsTable conv_columns;
  ConvPoolTable conv_pool;
  ElementwiseTable elementwise;
  GemmTable gemm;
  LossTable loss;
  NormTable norm;
  PixelTable pixel;
  PointwiseTable pointwise;
  BinaryTable binary;
  AxesTable axes;
  PoolTable pool;
  RandomTable random;
  ReduceTable reduce;
  UpdateTable update;
  WinogradTable winograd;
  WinogradLineTable winograd_line;
};

namespace v3 {
const Kernels& kernels();
}
namespace v4 {
const Kernels& kernels();
}

}  // namespace gentrain::simd
