// The networks of SRGAN.
#include "trainers/models/srgan.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/ops/norm.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "trainers/models/preprocessing.h"

namespace gentrain::trainers {

namespace {

using Variant = SrganOptions::Variant;

constexpr double kSlope = 0.2;  // of the leaky ReLU
constexpr std::array<std::int64_t, 8> kTimesWidth = {1, 1, 2, 2, 4, 4, 8, 8};

std::int64_t checked_width(std::int64_t width) {
  if (width < 4 || width % 4 != 0) {
    throw JobError(fmt::format("model srgan: width is {} but must be a multiple of 4", width));
  }
  return width;
}

std::int64_t blocks_of(const SrganOptions& options) {
  constexpr std::int64_t kOfBook = 5;
  constexpr std::int64_t kOfPaper = 16;
  if (options.blocks < 0) {
    throw JobError(fmt::format("model srgan: blocks is {} but must be at least 0", options.blocks));
  }
  return options.blocks > 0                   ? options.blocks
         : options.variant == Variant::kPaper ? kOfPaper
                                              : kOfBook;
}

std::int64_t halved(std::int64_t extent) {
  return (extent + 1) / 2;
}

nn::Conv2d make_conv(ParameterSet& parameters, const std::string& name, const SrganConv& conv,
                     const Initializer& init) {
  const std::int64_t border = conv.kernel / 2;
  return {parameters,
          name,
          {.in = conv.in,
           .out = conv.out,
           .kernel_h = conv.kernel,
           .kernel_w = conv.kernel,
           .stride = {conv.stride, conv.stride},
           .padding = {border, border, border, border},
           .bias = false,
           .initializer = init}};
}

/// What `check` lists of a convolution whose result has h x w pixels.
LayerInfo conv_info(std::string name, const SrganConv& conv, std::int64_t h, std::int64_t w) {
  const std::int64_t weights = conv.out * conv.kernel * conv.kernel * conv.in;
  std::vector<std::string> names{name + "/weight"};
  return {std::move(name), {h, w, conv.out}, weights, h * w * weights, std::move(names)};
}

LayerInfo norm_info(std::string name, std::int64_t channels, std::int64_t h, std::int64_t w) {
  std::vector<std::string> names{name + "/gamma", name + "/beta", name + "/running_mean",
                                 name + "/running_var"};
  return {std::move(name), {h, w, channels}, 2 * channels, 0, std::move(names)};
}

/// ReLU, or PReLU with parameters of its own.
class Rectifier {
 public:
  Rectifier(Variant variant, ParameterSet& parameters, const std::string& name,
            std::int64_t channels) {
    if (variant == Variant::kPaper) {
      prelu_.emplace(parameters, name, channels);
      info_ = {name, {}, channels, 0, {name + "/alpha"}};
    }
  }

  [[nodiscard]] bool is_relu() const { return !prelu_; }
  /// What the layer before it can do on the way.
  [[nodiscard]] Activation fused() const {
    return is_relu() ? Activation::kRelu : Activation::kNone;
  }
  /// Behind a layer that did what fused() says.
  Tensor rest(Context& context, const Tensor& x) const {
    return is_relu() ? x : prelu_->forward(context, x);
  }
  void list(std::vector<LayerInfo>& to, const Shape& output) const {
    if (!is_relu()) {
      to.push_back(info_);
      to.back().output = output;
    }
  }

 private:
  std::optional<nn::PRelu> prelu_;
  LayerInfo info_;
};

}  // namespace

struct Generator::Layers {
  struct Block {
    Block(const SrganOptions& options, const Initializer& init, ParameterSet& set,
          const std::string& at)
        : name(at),
          conv1(make_conv(set, at + "/conv1", {options.width, options.width}, init)),
          norm1(set, at + "/norm1", options.width),
          rectifier(options.variant, set, at + "/prelu", options.width),
          conv2(make_conv(set, at + "/conv2", {options.width, options.width}, init)),
          norm2(set, at + "/norm2", options.width) {}
    std::string name;
    nn::Conv2d conv1;
    nn::BatchNorm2d norm1;
    Rectifier rectifier;
    nn::Conv2d conv2;
    nn::BatchNorm2d norm2;
  };

  Layers(const SrganOptions& options, const Initializer& init, ParameterSet& set)
      : width(checked_width(options.width)),
        kernel(options.variant == Variant::kPaper ? 9 : 3),
        last_width(options.variant == Variant::kPaper ? width : width / 4),
        first(make_conv(set, "generator/first", {kColours, width, kernel}, init)),
        first_rectifier(options.variant, set, "generator/first_prelu", width),
        blocks(make_blocks(options, init, set)),
        middle(make_conv(set, "generator/middle", {width, width}, init)),
        middle_norm(set, "generator/middle_norm", width),
        up1(make_conv(set, "generator/up1", {width, 4 * width}, init)),
        up1_rectifier(options.variant, set, "generator/up1_prelu", width),
        up2(make_conv(set, "generator/up2", {width, 4 * last_width}, init)),
        up2_rectifier(options.variant, set, "generator/up2_prelu", last_width),
        last(make_conv(set, "generator/last", {last_width, kColours, kernel}, init)) {}

  static std::vector<Block> make_blocks(const SrganOptions& options, const Initializer& init,
                                        ParameterSet& set) {
    std::vector<Block> blocks;
    for (std::int64_t i = 0; i < blocks_of(options); ++i) {
      blocks.emplace_back(options, init, set, fmt::format("generator/block{}", i + 1));
    }
    return blocks;
  }

  std::int64_t width;
  std::int64_t kernel;
  std::int64_t last_width;  // channels before the last convolution
  nn::Conv2d first;
  Rectifier first_rectifier;
  std::vector<Block> blocks;
  nn::Conv2d middle;
  nn::BatchNorm2d middle_norm;
  nn::Conv2d up1;
  Rectifier up1_rectifier;
  nn::Conv2d up2;
  Rectifier up2_rectifier;
  nn::Conv2d last;
};

Generator::Generator(const SrganOptions& options, const Initializer& init, ParameterSet& parameters)
    : layers_(std::make_unique<Layers>(options, init, parameters)) {}
Generator::~Generator() = default;

Tensor Generator::forward(Context& context, const Tensor& low) const {
  const Layers& l = *layers_;
  ops::BatchNormOptions norm{.weight = context.batch_share};
  Tensor x = l.first.forward(context, ops::into_network(context, low), l.first_rectifier.fused());
  x = l.first_rectifier.rest(context, x);
  const Tensor skip = x;
  for (const Layers::Block& block : l.blocks) {
    norm.activation = block.rectifier.fused();
    Tensor inner = block.conv1.forward(context, x, Activation::kNone);
    inner = block.rectifier.rest(context, block.norm1.forward(context, inner, norm));
    norm.activation = Activation::kNone;
    x = block.norm2.forward(context, block.conv2.forward(context, inner, Activation::kNone), norm,
                            x);
  }
  x = l.middle_norm.forward(context, l.middle.forward(context, x, Activation::kNone), norm, skip);
  for (const auto& [conv, rectifier] :
       {std::pair(&l.up1, &l.up1_rectifier), std::pair(&l.up2, &l.up2_rectifier)}) {
    x = ops::pixel_shuffle(context, conv->forward(context, x, Activation::kNone), 2,
                           rectifier->fused());
    x = rectifier->rest(context, x);
  }
  return ops::out_of_network(context, l.last.forward(context, x, Activation::kNone));
}

std::int64_t Generator::reach() const {
  const std::int64_t outer = layers_->kernel / 2;  // of the first and the last convolution
  constexpr std::int64_t kOfOther = 1;
  const auto blocks = static_cast<std::int64_t>(layers_->blocks.size());
  const std::int64_t doubled = halved(outer) + kOfOther;         // in maps twice as large: up2
  const std::int64_t after_blocks = halved(doubled) + kOfOther;  // up1
  return after_blocks + (1 + 2 * blocks) * kOfOther + outer;
}

std::vector<LayerInfo> Generator::layers(std::int64_t h, std::int64_t w) const {
  const Layers& l = *layers_;
  std::vector<LayerInfo> infos;
  const std::int64_t c = l.width;
  infos.push_back(conv_info("generator/first", {kColours, c, l.kernel}, h, w));
  l.first_rectifier.list(infos, {h, w, c});
  for (const Layers::Block& block : l.blocks) {
    infos.push_back(conv_info(block.name + "/conv1", {c, c}, h, w));
    infos.push_back(norm_info(block.name + "/norm1", c, h, w));
    block.rectifier.list(infos, {h, w, c});
    infos.push_back(conv_info(block.name + "/conv2", {c, c}, h, w));
    infos.push_back(norm_info(block.name + "/norm2", c, h, w));
  }
  infos.push_back(conv_info("generator/middle", {c, c}, h, w));
  infos.push_back(norm_info("generator/middle_norm", c, h, w));
  infos.push_back(conv_info("generator/up1", {c, 4 * c}, h, w));
  infos.push_back({"pixel_shuffle", {2 * h, 2 * w, c}, 0, 0, {}});
  l.up1_rectifier.list(infos, {2 * h, 2 * w, c});
  infos.push_back(conv_info("generator/up2", {c, 4 * l.last_width}, 2 * h, 2 * w));
  infos.push_back({"pixel_shuffle", {4 * h, 4 * w, l.last_width}, 0, 0, {}});
  l.up2_rectifier.list(infos, {4 * h, 4 * w, l.last_width});
  infos.push_back(conv_info("generator/last", {l.last_width, kColours, l.kernel}, 4 * h, 4 * w));
  return infos;
}

struct Discriminator::Layers {
  struct ConvNorm {
    std::string name;
    SrganConv shape;
    std::int64_t h = 0;  // of the result
    std::int64_t w = 0;
    nn::Conv2d conv;
    std::optional<nn::BatchNorm2d> norm;
  };

  Layers(const SrganOptions& options, const Initializer& init, std::int64_t h, std::int64_t w,
         ParameterSet& set)
      : variant(options.variant),
        stages(make_stages(options, init, h, w, set)),
        features(stages.back().h * stages.back().w * stages.back().shape.out),
        hidden(16 * options.width),
        dense1(set, "discriminator/dense1", features, hidden, true, init),
        dense2(set, "discriminator/dense2", hidden, 1, true, init) {}

  static std::vector<ConvNorm> make_stages(const SrganOptions& options, const Initializer& init,
                                           std::int64_t h, std::int64_t w, ParameterSet& set) {
    std::vector<ConvNorm> stages;
    std::int64_t in = kColours;
    for (std::size_t i = 0; i < kTimesWidth.size(); ++i) {
      const bool halves = i % 2 == 1;
      const SrganConv shape{in, kTimesWidth[i] * checked_width(options.width), 3, halves ? 2 : 1};
      h = halves ? halved(h) : h;
      w = halves ? halved(w) : w;
      const std::string name = fmt::format("discriminator/conv{}", i + 1);
      stages.push_back({name, shape, h, w, make_conv(set, name, shape, init), std::nullopt});
      if (i > 0) {
        stages.back().norm.emplace(set, fmt::format("discriminator/norm{}", i + 1), shape.out);
      }
      in = shape.out;
    }
    return stages;
  }

  Variant variant;
  std::vector<ConvNorm> stages;
  std::int64_t features;
  std::int64_t hidden;
  nn::Linear dense1;
  nn::Linear dense2;
};

Discriminator::Discriminator(const SrganOptions& options, const Initializer& init, std::int64_t h,
                             std::int64_t w, ParameterSet& parameters)
    : layers_(std::make_unique<Layers>(options, init, h, w, parameters)) {}
Discriminator::~Discriminator() = default;

Tensor Discriminator::forward(Context& context, const Tensor& images, int uses) const {
  const Layers& l = *layers_;
  const bool norm_first = l.variant == Variant::kPaper;
  ops::BatchNormOptions norm{.weight = context.batch_share / uses};
  if (norm_first) {
    norm.activation = Activation::kRelu;
    norm.slope = kSlope;
  }
  Tensor x = ops::into_network(context, images);
  for (const Layers::ConvNorm& stage : l.stages) {
    x = stage.conv.forward(context, x, Activation::kNone);
    if (!norm_first || !stage.norm) {
      x = ops::leaky_relu(context, x, kSlope);
    }
    if (stage.norm) {
      x = stage.norm->forward(context, x, norm);
    }
  }
  x = ops::reshape(context, x, {images.shape()[0], l.features});
  x = ops::leaky_relu(context, l.dense1.forward(context, x, Activation::kNone), kSlope);
  return ops::out_of_network(context, l.dense2.forward(context, x, Activation::kNone));
}

std::vector<LayerInfo> Discriminator::layers() const {
  const Layers& l = *layers_;
  std::vector<LayerInfo> infos;
  for (std::size_t i = 0; i < l.stages.size(); ++i) {
    const Layers::ConvNorm& stage = l.stages[i];
    infos.push_back(conv_info(stage.name, stage.shape, stage.h, stage.w));
    if (stage.norm) {
      infos.push_back(
          norm_info(fmt::format("discriminator/norm{}", i + 1), stage.shape.out, stage.h, stage.w));
    }
  }
  const auto dense = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    infos.push_back({name, {out}, (in + 1) * out, in * out, {name + "/weight", name + "/bias"}});
  };
  dense("discriminator/dense1", l.features, l.hidden);
  dense("discriminator/dense2", l.hidden, 1);
  return infos;
}

}  // namespace gentrain::trainers
