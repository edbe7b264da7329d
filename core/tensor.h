// Tensor: a shared handle on a dense, row-major piece of device memory, and its place in a gradient
// computation. Copies of a handle share the elements; no strides, no hidden copies.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/buffer.h"
#include "kernels/device.h"
#include "kernels/view.h"

namespace gentrain {

/// Where the gradient of a tensor goes: nowhere, to a parameter of a set, or to a node of a tape.
struct GradRef {
  enum class Kind : std::uint8_t { kNone, kParameter, kNode };
  Kind kind = Kind::kNone;
  std::int32_t index = -1;  // of the parameter in its set, of the node on its tape
  std::uint64_t owner = 0;  // id of the parameter set; serial number of the tape's recording
};

class Tensor {
 public:
  /// No tensor: defined() is false.
  Tensor() = default;
  /// Uninitialised elements.
  static Tensor empty(Device& device, const Shape& shape, DType dtype = DType::kF32);
  /// The elements that lie in a buffer, which must be large enough.
  static Tensor over(std::shared_ptr<Buffer> buffer, const Shape& shape, DType dtype);

  [[nodiscard]] bool defined() const { return buffer_ != nullptr; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] std::int64_t elements() const { return shape_.elements(); }
  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(elements()) * size_of(dtype_);
  }

  /// The same elements under another shape and without history (ops::reshape keeps it).
  /// Throws ShapeError if the number of elements differs.
  [[nodiscard]] Tensor reshaped(const Shape& shape) const;
  /// `shape.elements()` elements from element `first` on, sharing memory, without history.
  /// Throws ShapeError if they are not inside.
  [[nodiscard]] Tensor slice(std::int64_t first, const Shape& shape) const;

  [[nodiscard]] ConstView cview() const { return {data(), dtype_, shape_}; }
  [[nodiscard]] View view() const { return {data(), dtype_, shape_}; }
  /// This tensor as weights: with the version of its part of the buffer, or of the whole.
  [[nodiscard]] Weights weights() const {
    return {cview(),
            part_ < 0 ? buffer_->version() : buffer_->version(static_cast<std::size_t>(part_))};
  }
  [[nodiscard]] void* data() const { return static_cast<std::byte*>(buffer_->data()) + offset_; }
  [[nodiscard]] Buffer& buffer() const { return *buffer_; }
  /// Whether no other tensor has its buffer (others may have its memory if that has an owner).
  [[nodiscard]] bool is_alone() const { return buffer_.use_count() == 1; }

  [[nodiscard]] const GradRef& grad_ref() const { return grad_; }
  void set_grad_ref(const GradRef& ref) { grad_ = ref; }
  /// Says that the elements are those of a part of the buffer (Buffer::divide).
  void set_part(std::int32_t part) { part_ = part; }

 private:
  std::shared_ptr<Buffer> buffer_;
  std::size_t offset_ = 0;  // bytes
  Shape shape_;
  DType dtype_ = DType::kF32;
  std::int32_t part_ = -1;  // of the buffer; -1: not one
  GradRef grad_;
};

/// Copies of elements between host and device; the element type must be the tensor's and the number
/// of elements equal (ShapeError).
template <class T>
void copy_from_host(Device& device, Queue& queue, std::span<const T> source, const Tensor& target);
template <class T>
std::vector<T> copy_to_host(Device& device, Queue& queue, const Tensor& source);

}  // namespace gentrain
