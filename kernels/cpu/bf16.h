// Kernel families that take bf16 tensors too, made of those for f32: a call whose images or rows
// are bf16 has them widened, runs on floats and has its results rounded, once and to the nearest.
// So a result has the bits of the f32 routine's on the same values, rounded.
#pragma once

#include <memory>

#include "kernels/cpu/backend.h"

namespace gentrain::cpu {

std::unique_ptr<ConvKernels> with_bf16(std::unique_ptr<ConvKernels> f32, const Backend& backend);
std::unique_ptr<PoolKernels> with_bf16(std::unique_ptr<PoolKernels> f32, const Backend& backend);
std::unique_ptr<MatmulKernels> with_bf16(std::unique_ptr<MatmulKernels> f32,
                                         const Backend& backend);
std::unique_ptr<ElementwiseKernels> with_bf16(std::unique_ptr<ElementwiseKernels> f32,
                                              const Backend& backend);
std::unique_ptr<ReduceKernels> with_bf16(std::unique_ptr<ReduceKernels> f32,
                                         const Backend& backend);
std::unique_ptr<NormKernels> with_bf16(std::unique_ptr<NormKernels> f32, const Backend& backend);
std::unique_ptr<PixelKernels> with_bf16(std::unique_ptr<PixelKernels> f32, const Backend& backend);
std::unique_ptr<PointwiseKernels> with_bf16(std::unique_ptr<PointwiseKernels> f32,
                                            const Backend& backend);
std::unique_ptr<RandomKernels> with_bf16(std::unique_ptr<RandomKernels> f32,
                                         const Backend& backend);

}  // namespace gentrain::cpu
