// The constants of the conversions.
#include "trainers/models/input_conversion.h"

#include <array>
#include <span>

#include <fmt/format.h>

#include "kernels/error.h"
#include "trainers/models/preprocessing.h"

namespace gentrain::trainers {

namespace {

constexpr double kHalf = 127.5;  // (x + 1) * kHalf is in 0..255

/// Values into a tensor of f32 or f64.
void fill(Device& device, Queue& queue, std::span<const double> values, const Tensor& target) {
  if (target.dtype() == DType::kF64) {
    copy_from_host<double>(device, queue, values, target);
  } else {
    copy_from_host<float>(device, queue, std::vector<float>(values.begin(), values.end()), target);
  }
}

InputConversion::Constants constants_of(Preprocessing preprocessing, std::int64_t channels) {
  if (channels == 1) {
    return {{kHalf}, {kHalf}};
  }
  if (preprocessing == Preprocessing::kCaffe) {
    return {{0, 0, kHalf, 0, kHalf, 0, kHalf, 0, 0},
            {kHalf - kCaffeMeans[0], kHalf - kCaffeMeans[1], kHalf - kCaffeMeans[2]}};
  }
  if (preprocessing == Preprocessing::kTorch) {
    InputConversion::Constants constants{std::vector<double>(kColours * kColours), {}};
    for (std::size_t c = 0; c < kTorchMeans.size(); ++c) {
      constants.weights[c * kTorchMeans.size() + c] = 0.5 / kTorchDeviations.at(c);
      constants.biases.push_back((0.5 - kTorchMeans.at(c)) / kTorchDeviations.at(c));
    }
    return constants;
  }
  return {{kHalf, 0, 0, 0, kHalf, 0, 0, 0, kHalf}, {kHalf, kHalf, kHalf}};
}

}  // namespace

InputConversion::InputConversion(Preprocessing preprocessing, std::int64_t channels)
    : preprocessing_(preprocessing), channels_(channels) {
  const bool coloured =
      preprocessing == Preprocessing::kCaffe || preprocessing == Preprocessing::kTorch;
  if (channels != kColours && (channels != 1 || coloured)) {
    throw JobError(fmt::format("preprocess {}: images of {} channel{}, {} needed",
                               name_of(preprocessing), channels, channels == 1 ? "" : "s",
                               coloured ? "3 are" : "1 or 3 are"));
  }
  if (preprocessing != Preprocessing::kInception) {
    conv_.emplace_back(constants_, "preprocessing",
                       nn::Conv2dOptions{.in = channels,
                                         .out = channels,
                                         .kernel_h = 1,
                                         .kernel_w = 1,
                                         .stride = {},
                                         .padding = {},
                                         .bias = true,
                                         .initializer = {}});
  }
}

Tensor InputConversion::forward(Context& context, const Tensor& x) const {
  if (conv_.empty()) {
    return x;
  }
  std::call_once(made_, [&] {
    const Constants of = constants();
    constants_.allocate(context.device, context.queue, x.dtype());
    fill(context.device, context.queue, of.weights, constants_[0]);
    fill(context.device, context.queue, of.biases, constants_[1]);
    context.queue.wait();
    constants_.mark_changed();
  });
  return conv_[0].forward(context, x, Activation::kNone);
}

InputConversion::Constants InputConversion::constants() const {
  return constants_of(preprocessing_, channels_);
}

}  // namespace gentrain::trainers
