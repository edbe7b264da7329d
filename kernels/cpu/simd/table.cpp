// The table of one instruction set, put together from the files of this folder.
#include "kernels/cpu/simd/tables.h"

namespace gentrain::simd::GENTRAIN_SIMD_NS {

const Kernels& kernels() {
  static const Kernels table = {
      make_bf16_table(),        make_conv_columns_table(), make_conv_pool_table(),
      make_elementwise_table(), make_gemm_table(),         make_loss_table(),
      make_norm_table(),        make_pixel_table(),        make_pointwise_table(),
      make_binary_table(),      make_axes_table(),         make_pool_table(),
      make_random_table(),      make_reduce_table(),       make_update_table(),
      make_winograd_table(),    make_winograd_line_table()};
  return table;
}

}  // namespace gentrain::simd::GENTRAIN_SIMD_NS
