// Widening and rounding around a call.
#include "kernels/cpu/bf16_views.h"

#include <fmt/format.h>

#include "kernels/cpu/queue.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/weights_cache.h"
#include "kernels/error.h"

namespace gentrain::cpu {

Bf16Call::Bf16Call(std::string_view routine, Queue& queue, const Backend& backend)
    : routine_(routine), memory_(cpu_queue(queue).memory()), backend_(backend) {}

View Bf16Call::floats(std::string_view name, ConstView view) {
  if (!is_bf16(view)) {
    throw ShapeError(fmt::format("{}: {} has type {}: bf16 needed, as other arguments have it",
                                 routine_, name, name_of(view.dtype)));
  }
  const auto bytes = static_cast<std::size_t>(view.elements()) * sizeof(float);
  buffers_.push_back(std::make_shared<Buffer>(memory_, bytes));
  return {buffers_.back()->data(), DType::kF32, view.shape};
}

ConstView Bf16Call::read(std::string_view name, ConstView view) {
  if (!view.present()) {
    return {};
  }
  const View wide = floats(name, view);
  backend_.simd->bf16.widen(view.as<std::uint16_t>(), wide.as<float>(), view.elements());
  return wide;
}

View Bf16Call::write(std::string_view name, View view) {
  if (!view.present()) {
    return {};
  }
  results_.push_back({floats(name, view), view});
  return results_.back().from;
}

Weights Bf16Call::round(const Weights& weights) {
  const ConstView values = weights.values;
  if (!values.present() || values.dtype != DType::kF32) {
    return weights;  // for the routine to refuse
  }
  const auto bytes = static_cast<std::size_t>(values.elements()) * sizeof(float);
  const auto fill = [&](void* rounded) {
    backend_.simd->bf16.round(values.as<float>(), static_cast<float*>(rounded), values.elements());
  };
  if (weights.version == 0) {
    buffers_.push_back(std::make_shared<Buffer>(memory_, bytes));
    fill(buffers_.back()->data());
  } else {
    buffers_.push_back(backend_.weights->get(weights, kBf16Layout, bytes, fill));
  }
  return {{buffers_.back()->data(), DType::kF32, values.shape}, weights.version};
}

void Bf16Call::finish() {
  for (const Rounding& result : results_) {
    backend_.simd->bf16.narrow(result.from.as<float>(), result.to.as<std::uint16_t>(),
                               result.to.elements());
  }
}

}  // namespace gentrain::cpu
