// The table of constants. Copies to a device are short, so one lock is for all.
#include "core/graph/constants.h"

#include "core/graph/axes.h"

namespace gentrain::graph {

Tensor ConstantCache::get(Device& device, Queue& queue, int node, const Constant& constant,
                          DType dtype) {
  const std::lock_guard lock(mutex_);
  Tensor& tensor = tensors_[{&device, node, dtype}];
  if (!tensor.defined()) {
    const std::vector<float>& values = *constant.values;
    Tensor made = Tensor::empty(device, of_samples(1, constant.shape), dtype);
    if (dtype == DType::kF64) {
      copy_from_host<double>(device, queue, std::vector<double>(values.begin(), values.end()),
                             made);
    } else {
      copy_from_host<float>(device, queue, values, made);
    }
    tensor = made;
  }
  return tensor;
}

}  // namespace gentrain::graph
