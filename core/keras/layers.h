// The layers that are known: each adds its nodes and says what arrays it needs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/keras/builder.h"

namespace gentrain::keras {

/// Adds the nodes of one call and returns the index of the one that gives its output, whose name is
/// call.node. Throws IoError with the reason alone: a type that is not known, attributes or values
/// that are not; ShapeError for inputs that do not fit.
int add_layer(LayerCall& call);

// What add_layer chooses from. Functions of several types tell them by call.type.

int add_dense(LayerCall& call);                   // Dense
int add_convolution(LayerCall& call);             // Conv2D, Convolution2D
int add_depthwise_convolution(LayerCall& call);   // DepthwiseConv2D
int add_separable_convolution(LayerCall& call);   // SeparableConv2D
int add_transposed_convolution(LayerCall& call);  // Conv2DTranspose

int add_pooling(LayerCall& call);         // MaxPooling2D, AveragePooling2D
int add_global_pooling(LayerCall& call);  // GlobalMaxPooling2D, GlobalAveragePooling2D
int add_zero_padding(LayerCall& call);    // ZeroPadding2D
int add_cropping(LayerCall& call);        // Cropping2D
int add_upsampling(LayerCall& call);      // UpSampling2D

int add_flatten(LayerCall& call);  // Flatten
int add_reshape(LayerCall& call);  // Reshape
int add_permute(LayerCall& call);  // Permute
int add_repeat(LayerCall& call);   // RepeatVector

int add_merge(LayerCall& call);        // Add, Subtract, Multiply, Average, Maximum, Minimum
int add_concatenate(LayerCall& call);  // Concatenate
int add_old_merge(LayerCall& call);    // Merge

int add_activation(LayerCall& call);        // Activation
int add_activation_layer(LayerCall& call);  // ReLU, LeakyReLU, ELU, ThresholdedReLU, Softmax
int add_prelu(LayerCall& call);             // PReLU

int add_batch_normalization(LayerCall& call);  // BatchNormalization
int add_rescaling(LayerCall& call);            // Rescaling
int add_normalization(LayerCall& call);        // Normalization

int add_dropout(LayerCall& call);        // Dropout
int add_training_only(LayerCall& call);  // noise, regularisation

/// What several of them read.

/// `data_format` or `dim_ordering`: whether channels come before rows and columns.
bool reads_channels_first(Attributes& attributes);
/// `padding` or `border_mode`: whether it is "same", or else "valid".
bool reads_same_padding(Attributes& attributes);
/// The activation of a layer with weights.
std::optional<graph::NodeKind> reads_activation(LayerCall& call);
/// Variances to what Normalization divides by: max(sqrt(variance), 1e-7).
void make_deviations(std::vector<float>& variances);
/// Throws ShapeError unless it is an image, of either order.
void need_image(const Shape& shape);

}  // namespace gentrain::keras
