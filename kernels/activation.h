// The pointwise functions that layers know by name.
#pragma once

#include <cstdint>
#include <string_view>

namespace gentrain {

enum class Activation : std::uint8_t { kNone, kTanh, kRelu, kSigmoid };

constexpr std::string_view name_of(Activation activation) {
  switch (activation) {
    case Activation::kTanh:
      return "tanh";
    case Activation::kRelu:
      return "relu";
    case Activation::kSigmoid:
      return "sigmoid";
    case Activation::kNone:
      break;
  }
  return "none";
}

}  // namespace gentrain
