// Elements of tensors out of bytes, after their number has been checked.
#include "core/onnx/constant.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/ranges.h>

namespace gentrain::onnx {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 48;

/// Bytes of an element; 0 of a type that is no number or not known.
std::int64_t width_of(ElementType type) {
  switch (type) {
    case ElementType::kUint8:
    case ElementType::kInt8:
    case ElementType::kBool:
      return 1;
    case ElementType::kUint16:
    case ElementType::kInt16:
    case ElementType::kFloat16:
    case ElementType::kBfloat16:
      return 2;
    case ElementType::kFloat:
    case ElementType::kInt32:
    case ElementType::kUint32:
      return 4;
    case ElementType::kInt64:
    case ElementType::kUint64:
    case ElementType::kDouble:
      return 8;
    default:
      return 0;
  }
}

/// IEEE 754 binary16, subnormal numbers included.
float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (bits >> 10U) & 31U;
  const std::uint32_t fraction = bits & 1023U;
  if (exponent == 0) {
    const float value = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -value : value;
  }
  const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (wide << 23U) | (fraction << 13U));
}

float bfloat_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

template <class Stored, class Kept, class Convert>
void convert_all(const std::string& bytes, std::vector<Kept>& values, Convert convert) {
  values.resize(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof stored, sizeof stored);
    values[i] = convert(stored);
  }
}

template <class Stored>
void to_integers(const std::string& bytes, Constant& constant) {
  constant.real = false;
  convert_all<Stored>(bytes, constant.integers,
                      [](Stored value) { return static_cast<std::int64_t>(value); });
}

/// Values beyond those of an int64 become the largest one.
void to_integers_from_unsigned(const std::string& bytes, Constant& constant) {
  constant.real = false;
  convert_all<std::uint64_t>(bytes, constant.integers, [](std::uint64_t value) {
    return static_cast<std::int64_t>(
        std::min<std::uint64_t>(value, std::numeric_limits<std::int64_t>::max()));
  });
}

void convert(ElementType type, const std::string& bytes, Constant& constant) {
  switch (type) {
    case ElementType::kFloat:
      constant.reals.resize(bytes.size() / sizeof(float));
      if (!bytes.empty()) {
        std::memcpy(constant.reals.data(), bytes.data(), bytes.size());
      }
      return;
    case ElementType::kDouble:
      return convert_all<double>(bytes, constant.reals,
                                 [](double value) { return static_cast<float>(value); });
    case ElementType::kFloat16:
      return convert_all<std::uint16_t>(bytes, constant.reals, half_to_float);
    case ElementType::kBfloat16:
      return convert_all<std::uint16_t>(bytes, constant.reals, bfloat_to_float);
    case ElementType::kUint8:
    case ElementType::kBool:
      return to_integers<std::uint8_t>(bytes, constant);
    case ElementType::kInt8:
      return to_integers<std::int8_t>(bytes, constant);
    case ElementType::kUint16:
      return to_integers<std::uint16_t>(bytes, constant);
    case ElementType::kInt16:
      return to_integers<std::int16_t>(bytes, constant);
    case ElementType::kInt32:
      return to_integers<std::int32_t>(bytes, constant);
    case ElementType::kUint32:
      return to_integers<std::uint32_t>(bytes, constant);
    case ElementType::kUint64:
      return to_integers_from_unsigned(bytes, constant);
    default:
      return to_integers<std::int64_t>(bytes, constant);
  }
}

}  // namespace

std::string text_of(std::span<const std::int64_t> dims) {
  std::vector<std::string> texts;
  texts.reserve(dims.size());
  for (const std::int64_t extent : dims) {
    texts.push_back(extent == kSamples ? "N" : fmt::to_string(extent));
  }
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

std::int64_t count_of(std::span<const std::int64_t> dims, const std::string& what) {
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t extent : dims) {
    if (extent < 0) {
      refuse("{} has the extents {}: none may be negative", what, text_of(dims));
    }
    empty = empty || extent == 0;
    if (extent > 0 && count > kMostElements / extent) {
      refuse("{} has the extents {}, whose product is too large", what, text_of(dims));
    }
    count *= std::max<std::int64_t>(extent, 1);
  }
  return empty ? 0 : count;
}

void Budget::charge(std::int64_t values) {
  if (values > left_) {
    refuse("it would take {} values, which is out of proportion to the file", values);
  }
  left_ -= values;
}

ConstantPointer to_constant(Tensor& tensor, ExternalData& external, Budget& budget) {
  const std::string what = fmt::format("tensor {}", tensor.name);
  const std::int64_t width = width_of(tensor.type);
  if (width == 0) {
    refuse("{} has the element type {}, which is no number that is supported", what,
           static_cast<int>(tensor.type));
  }
  const std::int64_t bytes = count_of(tensor.dims, what) * width;
  auto constant = std::make_shared<Constant>();
  constant->name = tensor.name;
  constant->dims = tensor.dims;
  if (tensor.external) {
    tensor.bytes = external.read(tensor, bytes, budget);
  }
  if (static_cast<std::int64_t>(tensor.bytes.size()) != bytes) {
    refuse("{} {} needs {} bytes but the file has {}", what, text_of(tensor.dims), bytes,
           tensor.bytes.size());
  }
  convert(tensor.type, tensor.bytes, *constant);
  tensor.bytes = std::string();
  return constant;
}

}  // namespace gentrain::onnx
