// Built-in networks that ImageNet weights exist for, as graphs. Layers and blocks are named, and
// numbered, as Keras Applications names them, so that conv2d_N here is conv2d_N of a weights file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/graph/graph.h"
#include "trainers/models/options.h"

namespace gentrain::trainers {

/// Names of the networks, in ModelOptions::name.
inline constexpr std::array<std::string_view, 4> kPretrainedNames = {"inception_v3", "vgg16",
                                                                     "vgg19", "squeezenet"};

/// Nodes of a network with the top kRegression: what the regression sees, and itself.
inline constexpr const char* kFeaturesNode = "features";
inline constexpr const char* kRegressionNode = "regression";

/// InceptionV3: 94 convolutions conv2d_1 to conv2d_94 without bias, each with
/// batch_normalization_N (no gamma, epsilon 1e-3) and activation_N, and blocks mixed0 to mixed10.
/// 21,802,784 parameters, running statistics included. Its output is mixed10 [h / 32 - 1 or so,
/// likewise, 2048]; of 299 x 299 pixels [8, 8, 2048].
///
/// image [h, w, c]; the weights take [299, 299, 3], RGB in -1..1
///
/// Throws ShapeError naming the layer if the image is too small: 75 x 75 pixels are needed.
/// Source: Szegedy et al. 2015, arXiv:1512.00567; the layers of Keras Applications.
graph::Graph inception_v3(const Shape& image);

/// VGG16 and VGG19: block1_conv1 to block5_conv3 or block5_conv4, ReLU part of each, and
/// block1_pool to block5_pool. 14,714,688 and 20,024,384 parameters. Their output is block5_pool
/// [h / 32, w / 32, 512].
///
/// image [h, w, c]; the weights take [224, 224, 3], BGR in 0..255 minus (103.939, 116.779, 123.68)
///
/// Throws ShapeError naming the layer if the image has fewer than 32 x 32 pixels.
/// Source: Simonyan and Zisserman 2015, arXiv:1409.1556.
graph::Graph vgg16(const Shape& image);
graph::Graph vgg19(const Shape& image);

/// SqueezeNet 1.1: conv1, fire2 to fire9 (fire2/squeeze1x1, fire2/expand1x1, fire2/expand3x3, their
/// activations fire2/relu_squeeze1x1 and so on, fire2/concat) and pool1, pool3, pool5. 722,496
/// parameters. Its output is fire9/concat [h / 16 or so, likewise, 512].
///
/// image [h, w, c]; the weights take [227, 227, 3] as those of VGG
///
/// Throws ShapeError naming the layer if the image is too small.
/// Source: Iandola et al. 2016, arXiv:1602.07360; version 1.1 as in its Keras port.
graph::Graph squeezenet(const Shape& image);

/// A network with what `options.pretrained` says behind it:
/// - kHead: global_average_pooling, head_dense (ReLU; not with hidden = 0), head_logits, the output
/// - kOriginal: Inception's global average pooling avg_pool and dense `predictions`; VGG's flatten,
///   fc1, fc2 and `predictions`; SqueezeNet's drop9, conv10, relu_conv10 and
///   global_average_pooling2d_1; then `probabilities`, a softmax, the output
/// - kNone: nothing
/// - kRegression: of the network and its original top only what options.pretrained.layer needs;
///   `features`, its output pooled or flattened, the dense layer `regression`, and `probabilities`,
///   a softmax, the output
///
/// image   [h, w, c]
/// classes outputs of head and top, at least 1; with kNone of no meaning
///
/// Throws JobError for an unknown name (lists the known ones) and for a layer that is not there or
/// gives no maps to pool; ShapeError naming the layer where an image is too small.
graph::Graph make_graph(const ModelOptions& options, const Shape& image, std::int64_t classes);

}  // namespace gentrain::trainers
