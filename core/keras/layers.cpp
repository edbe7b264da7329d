// Which function adds a layer of which type.
#include "core/keras/layers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/keras/activations.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

using AddLayer = int (*)(LayerCall&);

constexpr std::array<std::pair<std::string_view, AddLayer>, 45> kLayers = {{
    {"Dense", add_dense},
    {"Conv2D", add_convolution},
    {"Convolution2D", add_convolution},
    {"DepthwiseConv2D", add_depthwise_convolution},
    {"SeparableConv2D", add_separable_convolution},
    {"Conv2DTranspose", add_transposed_convolution},
    {"MaxPooling2D", add_pooling},
    {"AveragePooling2D", add_pooling},
    {"GlobalMaxPooling2D", add_global_pooling},
    {"GlobalAveragePooling2D", add_global_pooling},
    {"ZeroPadding2D", add_zero_padding},
    {"Cropping2D", add_cropping},
    {"UpSampling2D", add_upsampling},
    {"Flatten", add_flatten},
    {"Reshape", add_reshape},
    {"Permute", add_permute},
    {"RepeatVector", add_repeat},
    {"Add", add_merge},
    {"Subtract", add_merge},
    {"Multiply", add_merge},
    {"Average", add_merge},
    {"Maximum", add_merge},
    {"Minimum", add_merge},
    {"Concatenate", add_concatenate},
    {"Merge", add_old_merge},
    {"Activation", add_activation},
    {"ReLU", add_activation_layer},
    {"LeakyReLU", add_activation_layer},
    {"ELU", add_activation_layer},
    {"ThresholdedReLU", add_activation_layer},
    {"Softmax", add_activation_layer},
    {"PReLU", add_prelu},
    {"BatchNormalization", add_batch_normalization},
    {"BatchNormalizationV1", add_batch_normalization},
    {"BatchNormalizationV2", add_batch_normalization},
    {"Rescaling", add_rescaling},
    {"Normalization", add_normalization},
    {"Dropout", add_dropout},
    {"SpatialDropout1D", add_training_only},
    {"SpatialDropout2D", add_training_only},
    {"GaussianNoise", add_training_only},
    {"GaussianDropout", add_training_only},
    {"AlphaDropout", add_training_only},
    {"ActivityRegularization", add_training_only},
    {"Identity", add_activation},
}};

}  // namespace

int add_layer(LayerCall& call) {
  const auto* const found =
      std::ranges::find(kLayers, call.type, &decltype(kLayers)::value_type::first);
  if (found == kLayers.end()) {
    throw IoError(fmt::format("layers of the type {} are not supported", call.type));
  }
  const int node = found->second(call);
  call.attributes.finish();
  return node;
}

bool reads_channels_first(Attributes& attributes) {
  const std::string format = attributes.text({"data_format", "dim_ordering"}, "channels_last");
  if (format == "channels_first" || format == "th") {
    return true;
  }
  if (format != "channels_last" && format != "tf") {
    throw IoError(
        fmt::format("data_format is '{}': channels_last or channels_first is needed", format));
  }
  return false;
}

bool reads_same_padding(Attributes& attributes) {
  const std::string padding = attributes.text({"padding", "border_mode"}, "valid");
  if (padding != "same" && padding != "valid") {
    throw IoError(fmt::format("padding is '{}': valid or same is needed", padding));
  }
  return padding == "same";
}

std::optional<graph::NodeKind> reads_activation(LayerCall& call) {
  const json* value = call.attributes.take({"activation"});
  return value == nullptr ? std::nullopt : read_activation(*value, call.builder.version);
}

void make_deviations(std::vector<float>& variances) {
  constexpr float kLeast = 1e-7F;
  for (float& value : variances) {
    value = std::max(std::sqrt(value), kLeast);
  }
}

void need_image(const Shape& shape) {
  constexpr int kAxes = 3;
  if (shape.rank() != kAxes) {
    throw ShapeError(fmt::format("it gets {} of a sample: an image is needed", shape.str()));
  }
}

}  // namespace gentrain::keras
