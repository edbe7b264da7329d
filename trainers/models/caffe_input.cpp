// The constants of the conversion.
#include "trainers/models/caffe_input.h"

#include <span>

namespace gentrain::trainers {

namespace {

constexpr double kHalf = 127.5;

/// Values into a tensor of f32 or f64.
void fill(Device& device, Queue& queue, std::span<const double> values, const Tensor& target) {
  if (target.dtype() == DType::kF64) {
    copy_from_host<double>(device, queue, values, target);
  } else {
    copy_from_host<float>(device, queue, std::vector<float>(values.begin(), values.end()), target);
  }
}

}  // namespace

CaffeInput::CaffeInput() {
  conv_.emplace_back(constants_, "preprocessing",
                     nn::Conv2dOptions{.in = 3,
                                       .out = 3,
                                       .kernel_h = 1,
                                       .kernel_w = 1,
                                       .stride = {},
                                       .padding = {},
                                       .bias = true,
                                       .initializer = {}});
}

Tensor CaffeInput::forward(Context& context, const Tensor& x) const {
  std::call_once(made_, [&] {
    constants_.allocate(context.device, context.queue, x.dtype());
    fill(context.device, context.queue, weights(), constants_[0]);
    fill(context.device, context.queue, biases(), constants_[1]);
    context.queue.wait();
    constants_.mark_changed();
  });
  return conv_[0].forward(context, x, Activation::kNone);
}

std::array<double, 9> CaffeInput::weights() {
  return {0.0, 0.0, kHalf, 0.0, kHalf, 0.0, kHalf, 0.0, 0.0};
}

std::array<double, 3> CaffeInput::biases() {
  return {kHalf - 103.939, kHalf - 116.779, kHalf - 123.68};
}

}  // namespace gentrain::trainers
