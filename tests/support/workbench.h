// A device with a queue, and the way in and out for tests: tensors from host values or from Philox
// keys, and values back as doubles.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "kernels/device.h"
#include "kernels/philox.h"

namespace gentrain::test {

/// The reference device of this process.
Device& reference_device();
/// The CPU device of this process. The environment variable GENTRAIN_TEST_ISA chooses its
/// instruction set: v3, v4 or, when absent, the processor's best. Throws Error for another value.
Device& cpu_device();

/// `count` numbers in [low, high) as f32 holds them: a pure function of the key.
std::vector<double> random_values(std::int64_t count, RngKey key, double low = -1, double high = 1);
/// |x|, element by element.
std::vector<double> absolute(std::span<const double> x);

class Workbench {
 public:
  explicit Workbench(Device& device) : device_(&device), queue_(device.make_queue()) {}

  [[nodiscard]] Device& device() const { return *device_; }
  [[nodiscard]] Queue& queue() const { return *queue_; }

  [[nodiscard]] Tensor empty(const Shape& shape, DType dtype) const {
    return Tensor::empty(*device_, shape, dtype);
  }
  /// A tensor of the given values, rounded to the type. Throws ShapeError if their number differs.
  [[nodiscard]] Tensor tensor(const Shape& shape, std::span<const double> values,
                              DType dtype) const;
  [[nodiscard]] Tensor random(const Shape& shape, RngKey key, DType dtype, double low = -1,
                              double high = 1) const;
  /// Every element the same.
  [[nodiscard]] Tensor full(const Shape& shape, double value, DType dtype) const;
  /// The elements of a tensor of any type.
  [[nodiscard]] std::vector<double> values(const Tensor& tensor) const;
  /// The only element of a tensor.
  [[nodiscard]] double value(const Tensor& tensor) const;

 private:
  Device* device_;
  std::unique_ptr<Queue> queue_;
};

}  // namespace gentrain::test
