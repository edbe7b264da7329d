// Shape rules of what slides over images: convolutions and pooling.
#include <algorithm>

#include <fmt/format.h>

#include "core/graph/shape_rules.h"
#include "core/graph/shapes.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

/// Of a pooling window, see kernels/pool.h.
constexpr std::int64_t kMostAlongAxis = 255;
constexpr std::int64_t kMostExtent = std::int64_t{1} << 28;  // of windows, strides, padding

const Shape& only_image(std::span<const Shape> inputs) {
  const Shape& image = only(inputs);
  if (image.rank() != 3) {
    throw ShapeError(
        fmt::format("an image [h, w, c] for each sample is needed but it gets {}", image.str()));
  }
  return image;
}

/// What slides: a window with the pixels between its weights, and how.
struct Slide {
  std::string_view what;
  ops::Window window;
  ops::Stride stride;
  ops::Padding padding;
  ops::Dilation dilation;
};

void need_window(const Slide& slide) {
  const auto& [what, window, stride, padding, dilation] = slide;
  if (std::min({window.h, window.w, stride.h, stride.w, dilation.h, dilation.w}) < 1 ||
      std::min({padding.top, padding.bottom, padding.left, padding.right}) < 0) {
    throw ShapeError(
        fmt::format("its {} of {} x {}, stride {} x {}, dilation {} x {}, padding [{}, {}, {}, "
                    "{}]: extents, strides and dilations of at least 1 and a padding of at least 0 "
                    "are needed",
                    what, window.h, window.w, stride.h, stride.w, dilation.h, dilation.w,
                    padding.top, padding.bottom, padding.left, padding.right));
  }
  if (std::max({window.h, window.w, stride.h, stride.w, dilation.h, dilation.w, padding.top,
                padding.bottom, padding.left, padding.right}) > kMostExtent) {
    throw ShapeError(
        fmt::format("its {}, stride, dilation or padding is too large: extents of at most {} are "
                    "supported",
                    what, kMostExtent));
  }
}

struct Extents {
  std::int64_t h, w;
  friend bool operator==(const Extents&, const Extents&) = default;
};

/// Extents of what a window gives that slides over an image, all checked by need_window.
Extents slide_over(const Shape& image, const Slide& slide) {
  const ops::Padding& padding = slide.padding;
  const ops::Window window = covered(slide.window, slide.dilation);
  const std::int64_t h = image[0] + padding.top + padding.bottom;
  const std::int64_t w = image[1] + padding.left + padding.right;
  if (h < window.h || w < window.w) {
    throw ShapeError(fmt::format(
        "its {} of {} x {} does not fit into {} with padding [{}, {}, {}, {}]", slide.what,
        window.h, window.w, image.str(), padding.top, padding.bottom, padding.left, padding.right));
  }
  return {(h - window.h) / slide.stride.h + 1, (w - window.w) / slide.stride.w + 1};
}

/// The same with a padding that may depend on the image.
Extents slide_over(const Shape& image, Slide slide, const PaddingRule& rule) {
  slide.padding = rule.explicit_padding;
  need_window(slide);
  slide.padding = padding_of(rule, image, covered(slide.window, slide.dilation), slide.stride);
  return slide_over(image, slide);
}

void need_groups(std::int64_t groups, std::int64_t channels, std::int64_t out) {
  if (out < 1) {
    throw ShapeError(fmt::format("it has {} outputs, at least 1 is needed", out));
  }
  if (groups < 1 || channels % groups != 0 || out % groups != 0) {
    throw ShapeError(
        fmt::format("its {} groups do not divide the {} channels of its input and its {} outputs",
                    groups, channels, out));
  }
}

struct Pair {
  std::int64_t before, after;
};

Pair same_padding(std::int64_t extent, std::int64_t window, std::int64_t stride) {
  const std::int64_t out = (extent + stride - 1) / stride;
  const std::int64_t total = std::max<std::int64_t>(0, (out - 1) * stride + window - extent);
  return {total / 2, total - total / 2};
}

}  // namespace

Shape ShapeRule::operator()(const Convolution& node) const {
  const Shape& image = only_image(inputs);
  need_groups(node.groups, image[2], node.out);
  const ops::Window window{node.kernel_h, node.kernel_w};
  const Extents to =
      slide_over(image, {"kernel", window, node.stride, {}, node.dilation}, node.padding);
  const std::int64_t depth = image[2] / node.groups;
  need_countable("weights", {node.out, window.h, window.w, depth}, kMostValues);
  need_countable("values", {to.h, to.w, node.out}, kMostValues);
  need_countable("products", {to.h, to.w, node.out, window.h, window.w, depth}, kMostProducts);
  return {to.h, to.w, node.out};
}

Shape ShapeRule::operator()(const TransposedConvolution& node) const {
  const Shape& image = only_image(inputs);
  need_groups(node.groups, image[2], node.out);
  const ops::Window window{node.kernel_h, node.kernel_w};
  const Slide slide{"kernel", window, node.stride, node.padding, node.dilation};
  need_window(slide);
  if (std::min(node.to_h, node.to_w) < 1) {
    throw ShapeError(fmt::format("its result has {} x {} pixels, at least 1 x 1 are needed",
                                 node.to_h, node.to_w));
  }
  need_countable("values", {node.to_h, node.to_w, node.out}, kMostValues);
  const Extents back = slide_over({node.to_h, node.to_w, node.out}, slide);
  if (back != Extents{image[0], image[1]}) {
    throw ShapeError(
        fmt::format("a convolution of its result of {} x {} pixels gives {} x {} pixels, but its "
                    "input is {}",
                    node.to_h, node.to_w, back.h, back.w, image.str()));
  }
  const std::int64_t depth = node.out / node.groups;
  need_countable("weights", {image[2], window.h, window.w, depth}, kMostValues);
  need_countable("products", {image[0], image[1], image[2], window.h, window.w, depth},
                 kMostProducts);
  return {node.to_h, node.to_w, node.out};
}

Shape ShapeRule::operator()(const Pooling& node) const {
  const Shape& image = only_image(inputs);
  const Extents to = slide_over(image, {"window", node.window, node.stride, {}, {}}, node.padding);
  if (std::max(node.window.h, node.window.w) > kMostAlongAxis) {
    throw ShapeError(
        fmt::format("its window of {} x {} pixels is too large, at most {} rows and columns are "
                    "supported",
                    node.window.h, node.window.w, kMostAlongAxis));
  }
  const ops::Padding padding = padding_of(node.padding, image, node.window, node.stride);
  if (std::max(padding.top, padding.bottom) >= node.window.h ||
      std::max(padding.left, padding.right) >= node.window.w) {
    throw ShapeError(fmt::format(
        "its padding [{}, {}, {}, {}] is not smaller than its window of {} x {}", padding.top,
        padding.bottom, padding.left, padding.right, node.window.h, node.window.w));
  }
  need_countable("values", {to.h, to.w, image[2]}, kMostValues);
  return {to.h, to.w, image[2]};
}

Shape ShapeRule::operator()(const GlobalPooling& /*node*/) const {
  const Shape& image = only_image(inputs);
  if (std::max(image[0], image[1]) > kMostExtent) {
    throw ShapeError(fmt::format("it gets {}: at most {} rows and columns are supported",
                                 image.str(), kMostExtent));
  }
  return {image[2]};
}

ops::Window covered(const ops::Window& kernel, const ops::Dilation& dilation) {
  return {(kernel.h - 1) * dilation.h + 1, (kernel.w - 1) * dilation.w + 1};
}

ops::Padding padding_of(const PaddingRule& rule, const Shape& image, const ops::Window& window,
                        const ops::Stride& stride) {
  if (!rule.same) {
    return rule.explicit_padding;
  }
  const Pair rows = same_padding(image[0], window.h, stride.h);
  const Pair columns = same_padding(image[1], window.w, stride.w);
  return {rows.before, rows.after, columns.before, columns.after};
}

}  // namespace gentrain::graph
