// Tensor: allocation, reshaping, slices and copies.
#include "core/tensor.h"

#include <utility>

#include <fmt/format.h>

#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain {

Tensor Tensor::empty(Device& device, const Shape& shape, DType dtype) {
  progress::tick();
  const std::size_t bytes = static_cast<std::size_t>(shape.elements()) * size_of(dtype);
  return over(std::make_shared<Buffer>(device.memory(), bytes), shape, dtype);
}

Tensor Tensor::over(std::shared_ptr<Buffer> buffer, const Shape& shape, DType dtype) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.dtype_ = dtype;
  tensor.buffer_ = std::move(buffer);
  return tensor;
}

Tensor Tensor::reshaped(const Shape& shape) const {
  if (shape.elements() != elements()) {
    throw ShapeError(fmt::format("reshape: {} has {} elements but {} has {}", shape_.str(),
                                 elements(), shape.str(), shape.elements()));
  }
  Tensor result = *this;
  result.shape_ = shape;
  result.grad_ = {};
  return result;
}

Tensor Tensor::slice(std::int64_t first, const Shape& shape) const {
  if (first < 0 || first > elements() - shape.elements()) {
    throw ShapeError(fmt::format("slice: {} elements from element {} on of a tensor of {}",
                                 shape.elements(), first, elements()));
  }
  Tensor result = *this;
  result.shape_ = shape;
  result.offset_ += static_cast<std::size_t>(first) * size_of(dtype_);
  result.grad_ = {};
  return result;
}

namespace {

void check_copy(const Tensor& tensor, DType dtype, std::int64_t elements) {
  if (tensor.dtype() != dtype || tensor.elements() != elements) {
    throw ShapeError(fmt::format("copy: tensor {} of {} against {} elements of {}",
                                 tensor.shape().str(), name_of(tensor.dtype()), elements,
                                 name_of(dtype)));
  }
}

}  // namespace

template <class T>
void copy_from_host(Device& device, Queue& queue, std::span<const T> source, const Tensor& target) {
  check_copy(target, kDTypeOf<T>, static_cast<std::int64_t>(source.size()));
  if (!source.empty()) {
    device.to_device(queue, source.data(), target.data(), source.size_bytes());
  }
}

template <class T>
std::vector<T> copy_to_host(Device& device, Queue& queue, const Tensor& source) {
  check_copy(source, kDTypeOf<T>, source.elements());
  std::vector<T> result(static_cast<std::size_t>(source.elements()));
  if (!result.empty()) {
    device.to_host(queue, source.data(), result.data(), source.bytes());
  }
  return result;
}

template void copy_from_host(Device&, Queue&, std::span<const float>, const Tensor&);
template void copy_from_host(Device&, Queue&, std::span<const double>, const Tensor&);
template void copy_from_host(Device&, Queue&, std::span<const std::int32_t>, const Tensor&);
template void copy_from_host(Device&, Queue&, std::span<const std::uint8_t>, const Tensor&);
template void copy_from_host(Device&, Queue&, std::span<const Bf16>, const Tensor&);
template std::vector<float> copy_to_host(Device&, Queue&, const Tensor&);
template std::vector<double> copy_to_host(Device&, Queue&, const Tensor&);
template std::vector<std::int32_t> copy_to_host(Device&, Queue&, const Tensor&);
template std::vector<std::uint8_t> copy_to_host(Device&, Queue&, const Tensor&);
template std::vector<Bf16> copy_to_host(Device&, Queue&, const Tensor&);

}  // namespace gentrain
