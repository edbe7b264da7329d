// Constants of a graph on devices: made once for each device and type, shared by all threads.
#pragma once

#include <map>
#include <mutex>
#include <tuple>

#include "core/graph/kinds.h"
#include "core/tensor.h"

namespace gentrain::graph {

/// Thread-safe.
class ConstantCache {
 public:
  /// A constant as a tensor [1, shape] of f32 or f64, made when it is first asked for; threads that
  /// ask for it then wait. `node` tells constants apart. Throws DeviceError if the memory is not
  /// there.
  Tensor get(Device& device, Queue& queue, int node, const Constant& constant, DType dtype);

 private:
  std::mutex mutex_;
  std::map<std::tuple<const Device*, int, DType>, Tensor> tensors_;
};

}  // namespace gentrain::graph
