// Element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gentrain {

enum class DType : std::uint8_t { kF32, kF64, kI32, kU8, kBf16 };

/// The upper half of a float: its sign, its exponent and 7 bits of its fraction.
///
/// A type of images, rows and their gradients: where one of a routine's is bf16 all of them are.
/// Weights, biases and their gradients, values per channel, sums and losses stay f32. A routine
/// computes as it does in f32 and rounds each result once, to the nearest, ties to the even one;
/// convolutions and dense layers take their weights rounded to bf16.
struct Bf16 {
  std::uint16_t bits = 0;
  friend bool operator==(const Bf16&, const Bf16&) = default;
};

/// Bytes of one element.
constexpr std::size_t size_of(DType type) {
  switch (type) {
    case DType::kF64:
      return 8;
    case DType::kBf16:
      return 2;
    case DType::kU8:
      return 1;
    case DType::kF32:
    case DType::kI32:
      break;
  }
  return 4;
}

/// "f32", "f64", "i32", "u8" or "bf16".
constexpr std::string_view name_of(DType type) {
  switch (type) {
    case DType::kF32:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kI32:
      return "i32";
    case DType::kBf16:
      return "bf16";
    case DType::kU8:
      break;
  }
  return "u8";
}

/// The element type that a C++ type stands for; other types have none.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType kValue = DType::kF32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType kValue = DType::kF64;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType kValue = DType::kI32;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType kValue = DType::kU8;
};
template <>
struct DTypeOf<Bf16> {
  static constexpr DType kValue = DType::kBf16;
};
template <class T>
inline constexpr DType kDTypeOf = DTypeOf<T>::kValue;

}  // namespace gentrain
