// Functions of two tensors of f32, one of which may be repeated along axes, and their gradients.
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/pointwise.h"

namespace gentrain::cpu {

/// PointwiseKernels::binary.
void binary_forward(const simd::BinaryTable& table, BinaryFunction function, ConstView a,
                    ConstView b, View y);

/// What the gradients of a function of two tensors are made of.
struct BinaryPass {
  BinaryFunction function;
  const BinarySources& sources;
  ShardRows shards;
};

/// PointwiseKernels::binary_backward.
void binary_gradients(const simd::BinaryTable& table, Queue& queue, const BinaryPass& pass, View da,
                      View db);

}  // namespace gentrain::cpu
