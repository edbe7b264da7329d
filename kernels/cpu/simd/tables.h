// What each source file of this folder gives to table.cpp: the table of its routines, compiled for
// GENTRAIN_SIMD_NS.
#pragma once

#include "kernels/cpu/simd.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

Bf16Table make_bf16_table();
ConvColumnsTable make_conv_columns_table();
ConvPoolTable make_conv_pool_table();
ElementwiseTable make_elementwise_table();
GemmTable make_gemm_table();
LossTable make_loss_table();
NormTable make_norm_table();
PixelTable make_pixel_table();
PointwiseTable make_pointwise_table();
BinaryTable make_binary_table();
AxesTable make_axes_table();
PoolTable make_pool_table();
RandomTable make_random_table();
ReduceTable make_reduce_table();
UpdateTable make_update_table();
WinogradTable make_winograd_table();
WinogradLineTable make_winograd_line_table();

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
