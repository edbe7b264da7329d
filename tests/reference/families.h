// The kernel families of the reference backend, one per source file.
#pragma once

#include <memory>

#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/pixel.h"
#include "kernels/pointwise.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "kernels/update.h"

namespace gentrain::reference {

std::unique_ptr<ConvKernels> make_conv();
std::unique_ptr<PoolKernels> make_pool();
std::unique_ptr<MatmulKernels> make_matmul();
std::unique_ptr<ElementwiseKernels> make_elementwise();
std::unique_ptr<ReduceKernels> make_reduce();
std::unique_ptr<LossKernels> make_loss();
std::unique_ptr<NormKernels> make_norm();
std::unique_ptr<PixelKernels> make_pixel();
std::unique_ptr<PointwiseKernels> make_pointwise();
std::unique_ptr<RandomKernels> make_random();
std::unique_ptr<UpdateKernels> make_update();

}  // namespace gentrain::reference
