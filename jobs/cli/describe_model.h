// What a job says of its model: keys, ranges and documentation, as describe.h has them of the rest.
#pragma once

#include "jobs/cli/schema.h"

namespace gentrain::jobs {

template <>
inline constexpr auto kChoices<trainers::PretrainedOptions::Top> =
    std::to_array<Choice<trainers::PretrainedOptions::Top>>(
        {{trainers::PretrainedOptions::Top::kHead, "head"},
         {trainers::PretrainedOptions::Top::kOriginal, "original"},
         {trainers::PretrainedOptions::Top::kNone, "none"}});
template <>
inline constexpr auto kChoices<trainers::ImportedOptions::Top> =
    std::to_array<Choice<trainers::ImportedOptions::Top>>(
        {{trainers::ImportedOptions::Top::kHead, "head"},
         {trainers::ImportedOptions::Top::kOriginal, "original"}});
template <>
inline constexpr auto kChoices<trainers::Preprocessing> =
    std::to_array<Choice<trainers::Preprocessing>>({{trainers::Preprocessing::kNone, "none"},
                                                    {trainers::Preprocessing::kInception,
                                                     "inception"},
                                                    {trainers::Preprocessing::kCaffe, "caffe"},
                                                    {trainers::Preprocessing::kTorch, "torch"}});
/// model.batch_norm: PretrainedOptions::batch_statistics.
enum class BatchNormMode : std::uint8_t { kFrozen, kTrain };
template <>
inline constexpr auto kChoices<BatchNormMode> = std::to_array<Choice<BatchNormMode>>(
    {{BatchNormMode::kFrozen, "frozen"}, {BatchNormMode::kTrain, "train"}});

/// What stands behind a network that is not trained from nothing, and its batch norms.
template <class V>
void describe_top(V& v, trainers::ModelOptions& m) {
  constexpr std::string_view kTop =
      "inception_v3, vgg16, vgg19, squeezenet: what stands behind the convolutions. head: "
      "global average pooling, a dense layer with ReLU of `model.hidden` outputs, one for the "
      "classes; original: what the published network has; none: nothing, which gives maps and "
      "no classes. With `model.file` original, the default, is the file's own output, and head "
      "stands behind `model.layer`";
  if (is_imported(m)) {
    v.field("top", m.imported.top, kTop);
  } else {
    v.field("top", m.pretrained.top, kTop);
  }
  trainers::PretrainedOptions& p = m.pretrained;
  auto norm = p.batch_statistics ? BatchNormMode::kTrain : BatchNormMode::kFrozen;
  v.field("batch_norm", norm,
          "inception_v3, `model.file`: what trained batch norms normalise with. frozen: their "
          "statistics of "
          "before the training, as constants, while beta learns; train: those of each shard, and "
          "the running ones follow");
  p.batch_statistics = norm == BatchNormMode::kTrain;
}

template <class V>
void describe(V& v, trainers::ImportedOptions& i) {
  v.field("layer", i.layer,
          "file, with top head: the layer that the head stands behind, by the file's name (a layer "
          "of Keras, a value of ONNX): global average pooling if it gives maps, then the dense "
          "layers. Without it the file's output");
  v.field("preprocess", i.preprocess,
          "file: what the network takes, which the file does not say. none: pixels in 0..255; "
          "inception: in -1..1; caffe: BGR in 0..255 minus the means 103.939, 116.779 and 123.68; "
          "torch: RGB in 0..1 minus (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225)");
}

template <class V>
void describe(V& v, trainers::ModelOptions& m) {
  v.one_of(
      "name", m.name, trainers::kModelNames,
      "A built-in model: the classifier lenet, the variational autoencoder vae, srgan, which makes "
      "images four times as large, or a network that ImageNet weights exist for (see `weights`), "
      "which takes pixels in -1..1. `model: lenet` is short for `model: {name: lenet}`. One of "
      "`name`, `layers` and `file` must be set");
  v.field("file", m.imported.file,
          "A classifier out of a whole model that Keras 1, 2 or 3 (.h5, .keras) or an ONNX tool "
          "(.onnx) wrote, with its weights, of one image; `data.size` is the size that it takes "
          "where the job says none. `weights: random` draws its weights anew");
  v.layers("layers", m.layers, "A sequential network, layer by layer; see below");
  v.field("latent", m.vae.latent, between(1, kMostOutputs), "vae: numbers that stand for an image");
  constexpr std::string_view kHidden =
      "vae: outputs of the dense layer on either side. inception_v3, vgg16, vgg19, squeezenet: "
      "outputs of the head's first dense layer, 1024 by default; 0: there is none; the same with "
      "`model.file`";
  if (is_pretrained(m) || is_imported(m)) {
    v.field("hidden", m.pretrained.hidden, between(0, kMostOutputs), kHidden);
  } else {
    v.field("hidden", m.vae.hidden, between(1, kMostOutputs), kHidden);
  }
  describe_top(v, m);
  describe(v, m.imported);
  v.field("variant", m.srgan.variant,
          "srgan: the networks of the book (ReLU, 5 blocks) or of the paper (PReLU, 16 blocks)");
  v.field("width", m.srgan.width, between(4, kMostOutputs),
          "srgan: channels of the generator, a multiple of 4; the discriminator has up to 8 times "
          "as many");
  v.field("blocks", m.srgan.blocks, between(0, kMostBlocks),
          "srgan: residual blocks; 0: those of the variant");
  v.field("blur", m.srgan.blur, between(0, trainers::kLargestBlur),
          "srgan: how the small images that the generator sees come from the large ones. 0: means "
          "of 4 x 4 pixels; from 0.1 on means by a Gaussian, this its standard deviation in pixels "
          "of the large image");
  v.field("ema", m.srgan.ema, below_one(),
          "srgan: averages of the generator's weights are kept, ema times themselves and 1 - ema "
          "times the weights behind each step (0.999, for one), from the initial weights on; "
          "evaluations, pictures and the trained model's images are by them. 0: there are none");
}

template <class V>
void describe(V& v, trainers::ContentOptions& c) {
  v.field("network", c.network,
          "srgan: what compares a generated image with the original in the stage gan: maps of "
          "VGG19 or VGG16, or the pixels themselves");
  v.field("weights", c.weights,
          "Keras file with the network's weights; random: drawn, for tests and benchmarks. Without "
          "it the first `vgg19*.h5` (`vgg16*.h5`) is taken, by name, that has all layers which the "
          "maps need: of `$GENTRAIN_DATA/weights`, else of `data/weights`");
  v.texts(
      "maps", c.maps,
      "The layers whose maps are compared, by Keras's names; none: the last convolutions of the "
      "first three blocks");
  v.numbers("map_weights", c.map_weights, at_least(0), "A weight for each map; none: 1 each");
  v.field("before_activation", c.before_activation, "Whether maps are taken before their ReLU");
  v.field(
      "pixel_weight", c.pixel_weight, at_least(0),
      "Of the mean squared difference of the pixels in -1..1, which is compared beside the maps");
  v.field("preprocess", c.preprocess,
          "caffe: as the ImageNet weights were trained, (x + 1) * 127.5, BGR, minus the means; "
          "none: pixels in -1..1");
  v.field("scale", c.scale,
          "mean_square: each map's squared difference is divided by its mean square over 256 "
          "training images; none: it is not");
  v.field(
      "cache", c.cache,
      "Whether the maps of training images are kept as files in `data.cache`: computed once, by "
      "whichever run needs them first, and read from then on; changes no result. With the maps "
      "above 3.9 MiB for each image of 96 x 96 pixels; the log says how much for all. `gentrain "
      "cache` lists and clears them");
}

template <class V>
void describe(V& v, trainers::AdversarialOptions& a) {
  v.field("loss", a.loss, "srgan: least squares (1 real, 0 generated), or sigmoid cross entropy");
  v.field("weight", a.weight, at_least(0), "Beside the content loss, which has 1");
  v.field(
      "updates", a.updates,
      "together: both networks' gradients from one forward pass, with the weights of before the "
      "step; alternating: the discriminator's update, then the generator's through the new "
      "discriminator, which costs a forward pass of each more");
}

template <class V>
void describe(V& v, trainers::InitOptions& i) {
  v.field(
      "name", i.name,
      "Initial weights. uniform_fan_in: uniform in +-1/sqrt(fan_in), biases too; xavier: "
      "uniform in +-sqrt(6 / (fan_in + fan_out)); kaiming: normal, sqrt(2 / fan_in); normal: "
      "`stddev`; biases 0 with these three. `init: xavier` is short for `init: {name: xavier}`");
  v.field("stddev", i.stddev, at_least(0), "normal: standard deviation, above 0 there");
}

template <class V>
void describe(V& v, trainers::InitFromOptions& i) {
  v.field(
      "name", i.file,
      "A model or checkpoint whose weights are the initial ones. `init_from: FILE` is short for "
      "`init_from: {name: FILE}`");
  v.patterns("parameters", i.parameters,
             "Parameters that are taken from it: patterns over their names, as `trainable`; each "
             "must be there with the same shape. The others are initialised by `init`");
}

template <class V>
void describe(V& v, trainers::WeightsOptions& w) {
  v.field("file", w.file,
          "inception_v3, vgg16, vgg19, squeezenet: a Keras file, read by layer name, or a whole "
          "model in a .keras archive or an ONNX file of the same names; random: none, the "
          "architecture alone, also of `model.file`. Without it the first file by name that begins "
          "as the model "
          "(`inception_v3*.h5`): of `$GENTRAIN_DATA/weights`, else of `data/weights`. "
          "`weights: FILE` is short for `weights: {file: FILE}`");
  v.patterns(
      "allow_missing", w.allow_missing,
      "Parameters (`conv2d_82/weight`) and layers (`conv2d_82`) that the file need not have: "
      "patterns as `trainable`; they are initialised by `init` then, as the head is");
  v.patterns("allow_extra", w.allow_extra,
             "Layers of the file that the network has not, beside those of the original top");
  v.patterns("reinit", w.reinit,
             "Parameters and layers that are initialised whatever the file has");
  v.patterns(
      "reinit_zeros", w.reinit_zeros,
      "Parameters and layers of which values that are 0 in the file are initialised. A batch "
      "norm behind a convolution that is not all the file's gets its statistics from 256 "
      "training images before the first stage");
}

/// The values of a layer of the kind that `l` is of.
template <class V>
void describe(V& v, trainers::LayerSpec& l) {
  using trainers::LayerKind;
  if (l.kind == LayerKind::kConv) {
    v.field("out", l.out, between(1, kMostOutputs), "Output channels");
    v.extent("kernel", l.kernel_h, l.kernel_w, "Extents of the kernel");
    v.extent("stride", l.stride_h, l.stride_w, "Pixels between two positions");
    v.padding("padding", l, "Zeros on both sides; same: as many as make the result h / stride");
    v.field("bias", l.bias, "Whether a bias is added");
  } else if (l.kind == LayerKind::kMaxPool || l.kind == LayerKind::kAveragePool) {
    v.extent("size", l.kernel_h, l.kernel_w, "Extents of the window, at most 255 pixels");
    v.extent("stride", l.stride_h, l.stride_w, "Pixels between two windows", "size");
    v.padding("padding", l,
              "Border that windows may reach over, smaller than they are; it never counts");
  } else if (l.kind == LayerKind::kLinear) {
    v.field("out", l.out, between(1, kMostOutputs), "Outputs");
    v.field("bias", l.bias, "Whether a bias is added");
  } else if (l.kind == LayerKind::kDropout) {
    v.field("rate", l.rate, below_one(), "Share of the values that are zeroed in training");
  }
}

}  // namespace gentrain::jobs
