// Conversions between host doubles and device tensors; the shared devices.
#include "tests/support/workbench.h"

#include <cmath>
#include <cstdlib>
#include <string>
#include <type_traits>

#include <fmt/format.h>

#include "kernels/error.h"
#include "tests/reference/reference_device.h"
#include "tests/support/bf16.h"

namespace gentrain::test {

namespace {

Isa isa_of_environment() {
  const char* text = std::getenv("GENTRAIN_TEST_ISA");
  const std::string isa = text == nullptr ? "" : text;
  if (isa.empty()) {
    return Isa::kAuto;
  }
  if (isa == "v3") {
    return Isa::kV3;
  }
  if (isa == "v4") {
    return Isa::kV4;
  }
  throw Error(fmt::format("GENTRAIN_TEST_ISA is {}: v3 or v4 needed", isa));
}

template <class T>
void copy_in(const Workbench& bench, std::span<const double> values, const Tensor& tensor) {
  std::vector<T> narrow;
  narrow.reserve(values.size());
  for (const double value : values) {
    if constexpr (std::is_same_v<T, Bf16>) {
      narrow.push_back(nearest_bf16(value));
    } else {
      narrow.push_back(static_cast<T>(value));
    }
  }
  copy_from_host<T>(bench.device(), bench.queue(), narrow, tensor);
}

template <class T>
std::vector<double> copy_out(const Workbench& bench, const Tensor& tensor) {
  std::vector<double> result;
  for (const T value : copy_to_host<T>(bench.device(), bench.queue(), tensor)) {
    if constexpr (std::is_same_v<T, Bf16>) {
      result.push_back(value_of(value));
    } else {
      result.push_back(static_cast<double>(value));
    }
  }
  return result;
}

}  // namespace

Device& reference_device() {
  static const std::unique_ptr<Device> device = make_reference_device();
  return *device;
}

Device& cpu_device() {
  static const std::unique_ptr<Device> device = make_cpu_device(isa_of_environment());
  return *device;
}

std::vector<double> random_values(std::int64_t count, RngKey key, double low, double high) {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(count); ++i) {
    const double unit = uniform_float(key.block(i / 4)[i % 4]);
    values.push_back(static_cast<float>(low + (high - low) * unit));
  }
  return values;
}

std::vector<double> absolute(std::span<const double> x) {
  std::vector<double> result;
  result.reserve(x.size());
  for (const double value : x) {
    result.push_back(std::abs(value));
  }
  return result;
}

Tensor Workbench::tensor(const Shape& shape, std::span<const double> values, DType dtype) const {
  Tensor tensor = empty(shape, dtype);
  switch (dtype) {
    case DType::kF32:
      copy_in<float>(*this, values, tensor);
      break;
    case DType::kF64:
      copy_in<double>(*this, values, tensor);
      break;
    case DType::kI32:
      copy_in<std::int32_t>(*this, values, tensor);
      break;
    case DType::kBf16:
      copy_in<Bf16>(*this, values, tensor);
      break;
    case DType::kU8:
      copy_in<std::uint8_t>(*this, values, tensor);
      break;
  }
  return tensor;
}

Tensor Workbench::random(const Shape& shape, RngKey key, DType dtype, double low,
                         double high) const {
  return tensor(shape, random_values(shape.elements(), key, low, high), dtype);
}

Tensor Workbench::full(const Shape& shape, double value, DType dtype) const {
  const std::vector<double> values(static_cast<std::size_t>(shape.elements()), value);
  return tensor(shape, values, dtype);
}

std::vector<double> Workbench::values(const Tensor& tensor) const {
  switch (tensor.dtype()) {
    case DType::kF32:
      return copy_out<float>(*this, tensor);
    case DType::kF64:
      return copy_out<double>(*this, tensor);
    case DType::kI32:
      return copy_out<std::int32_t>(*this, tensor);
    case DType::kBf16:
      return copy_out<Bf16>(*this, tensor);
    case DType::kU8:
      break;
  }
  return copy_out<std::uint8_t>(*this, tensor);
}

double Workbench::value(const Tensor& tensor) const {
  if (tensor.elements() != 1) {
    throw ShapeError(fmt::format("value: a tensor {}: one element needed", tensor.shape().str()));
  }
  return values(tensor)[0];
}

}  // namespace gentrain::test
