// One shape rule for each kind of node.
#include "core/graph/shapes.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain::graph {

namespace {

// Of one node and one sample; sums over nodes and samples stay within 64 bits.
constexpr double kMostValues = 1e11;
constexpr double kMostProducts = 1e14;
constexpr std::int64_t kMostPixels = 255;  // of a pooling window, see kernels/pool.h
constexpr std::size_t kMostListed = 8;     // shapes in a message

/// Throws ShapeError if the factors' product is above `most`.
void need_countable(std::string_view what, std::initializer_list<std::int64_t> factors,
                    double most) {
  double product = 1;
  for (const std::int64_t factor : factors) {
    product *= static_cast<double>(factor);
  }
  if (product > most) {
    throw ShapeError(fmt::format("{} {} are too many, at most {:.0e} are supported",
                                 fmt::join(factors, " x "), what, most));
  }
}

std::string list(std::span<const Shape> shapes) {
  std::vector<std::string> texts;
  for (const Shape& shape : shapes.first(std::min(shapes.size(), kMostListed))) {
    texts.push_back(shape.str());
  }
  return fmt::format("{}{}", fmt::join(texts, ", "), shapes.size() > kMostListed ? ", ..." : "");
}

const Shape& only(std::span<const Shape> inputs) {
  if (inputs.size() != 1) {
    throw ShapeError(fmt::format("one input is needed but there are {}", inputs.size()));
  }
  return inputs[0];
}

const Shape& only_image(std::span<const Shape> inputs) {
  const Shape& image = only(inputs);
  if (image.rank() != 3) {
    throw ShapeError(
        fmt::format("an image [h, w, c] for each sample is needed but it gets {}", image.str()));
  }
  return image;
}

const Shape& only_row(std::span<const Shape> inputs) {
  const Shape& row = only(inputs);
  if (row.rank() != 1) {
    throw ShapeError(fmt::format("a row [k] for each sample is needed but it gets {}", row.str()));
  }
  return row;
}

void need_window(std::string_view what, const ops::Window& window, const ops::Stride& stride,
                 const PaddingRule& rule) {
  const ops::Padding& padding = rule.explicit_padding;
  if (std::min({window.h, window.w, stride.h, stride.w}) < 1 ||
      std::min({padding.top, padding.bottom, padding.left, padding.right}) < 0) {
    throw ShapeError(
        fmt::format("its {} of {} x {}, stride {} x {}, padding [{}, {}, {}, {}]: extents and "
                    "strides of at least 1 and a padding of at least 0 are needed",
                    what, window.h, window.w, stride.h, stride.w, padding.top, padding.bottom,
                    padding.left, padding.right));
  }
  if (std::max({window.h, window.w, stride.h, stride.w, padding.top, padding.bottom, padding.left,
                padding.right}) > Shape::kMaxElements / 4) {
    throw ShapeError(fmt::format("its {}, stride or padding is too large", what));
  }
}

struct Extents {
  std::int64_t h, w;
};

/// Extents of what a window gives that slides over an image.
Extents slide(std::string_view what, const Shape& image, const ops::Window& window,
              const ops::Stride& stride, const PaddingRule& rule) {
  need_window(what, window, stride, rule);
  const ops::Padding padding = padding_of(rule, image, window, stride);
  const std::int64_t h = image[0] + padding.top + padding.bottom;
  const std::int64_t w = image[1] + padding.left + padding.right;
  if (h < window.h || w < window.w) {
    throw ShapeError(
        fmt::format("its {} of {} x {} does not fit into {} with padding [{}, {}, {}, "
                    "{}]",
                    what, window.h, window.w, image.str(), padding.top, padding.bottom,
                    padding.left, padding.right));
  }
  return {(h - window.h) / stride.h + 1, (w - window.w) / stride.w + 1};
}

void need_outputs(std::int64_t out) {
  if (out < 1) {
    throw ShapeError(fmt::format("it has {} outputs, at least 1 is needed", out));
  }
}

struct ShapeRule {
  std::span<const Shape> inputs;

  Shape operator()(const Input& node) const {
    if (!inputs.empty()) {
      throw ShapeError(
          fmt::format("an input of the graph has no inputs but there are {}", inputs.size()));
    }
    const Shape& shape = node.shape;
    if ((shape.rank() != 3 && shape.rank() != 1) || shape.elements() == 0) {
      throw ShapeError(
          fmt::format("its shape is {}: [h, w, c] or [k] that is not empty needed", shape.str()));
    }
    return shape;
  }

  Shape operator()(const Convolution& node) const {
    const Shape& image = only_image(inputs);
    need_outputs(node.out);
    const ops::Window window{node.kernel_h, node.kernel_w};
    const Extents to = slide("kernel", image, window, node.stride, node.padding);
    need_countable("weights", {node.out, window.h, window.w, image[2]}, kMostValues);
    need_countable("values", {to.h, to.w, node.out}, kMostValues);
    need_countable("products", {to.h, to.w, node.out, window.h, window.w, image[2]}, kMostProducts);
    return {to.h, to.w, node.out};
  }

  Shape operator()(const BatchNormalization& node) const {
    const Shape& shape = only(inputs);
    if (!(node.epsilon > 0) || !(node.decay >= 0 && node.decay < 1)) {
      throw ShapeError(
          fmt::format("epsilon is {} and decay {}: above 0, and at least 0 and below 1 needed",
                      node.epsilon, node.decay));
    }
    return shape;
  }

  Shape operator()(const Activate& node) const {
    if (!(node.slope >= 0) || (node.slope != 0 && node.activation != Activation::kRelu)) {
      throw ShapeError(
          fmt::format("slope is {}: at least 0 needed, and 0 but of relu", node.slope));
    }
    return only(inputs);
  }

  Shape operator()(const Pooling& node) const {
    const Shape& image = only_image(inputs);
    const Extents to = slide("window", image, node.window, node.stride, node.padding);
    if (node.window.h > kMostPixels || node.window.w > kMostPixels ||
        node.window.h * node.window.w > kMostPixels) {
      throw ShapeError(
          fmt::format("its window of {} x {} pixels is too large, at most {} are "
                      "supported",
                      node.window.h, node.window.w, kMostPixels));
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

  Shape operator()(const GlobalPooling& /*node*/) const {
    const Shape& image = only_image(inputs);
    if (std::max(image[0], image[1]) > kMostPixels) {
      throw ShapeError(fmt::format("it gets {}: at most {} rows and columns are supported",
                                   image.str(), kMostPixels));
    }
    return {image[2]};
  }

  Shape operator()(const Dense& node) const {
    const Shape& row = only_row(inputs);
    need_outputs(node.out);
    need_countable("weights", {node.out, row[0]}, kMostValues);
    return {node.out};
  }

  Shape operator()(const Flatten& /*node*/) const { return {only(inputs).elements()}; }

  Shape operator()(const Dropout& node) const {
    if (!(node.rate >= 0 && node.rate < 1)) {
      throw ShapeError(fmt::format("rate is {}: at least 0 and below 1 needed", node.rate));
    }
    return only(inputs);
  }

  Shape operator()(const Concatenation& /*node*/) const {
    need_several();
    const auto first = inputs[0].extents();
    std::vector<std::int64_t> extents(first.begin(), first.end());
    extents.back() = 0;
    for (const Shape& shape : inputs) {
      if (shape.rank() != inputs[0].rank() ||
          !std::equal(first.begin(), first.end() - 1, shape.extents().begin())) {
        throw ShapeError(
            fmt::format("its inputs {} must be equal but for their channels", list(inputs)));
      }
      extents.back() += shape[shape.rank() - 1];
    }
    return Shape(extents);
  }

  Shape operator()(const Addition& /*node*/) const {
    need_several();
    for (const Shape& shape : inputs) {
      if (shape != inputs[0]) {
        throw ShapeError(fmt::format("its inputs {} must have one shape", list(inputs)));
      }
    }
    return inputs[0];
  }

  Shape operator()(const Softmax& /*node*/) const { return only_row(inputs); }

 private:
  void need_several() const {
    if (inputs.size() < 2) {
      throw ShapeError(
          fmt::format("two inputs or more are needed but there are {}", inputs.size()));
    }
  }
};

struct Pair {
  std::int64_t before, after;
};

Pair same_padding(std::int64_t extent, std::int64_t window, std::int64_t stride) {
  const std::int64_t out = (extent + stride - 1) / stride;
  const std::int64_t total = std::max<std::int64_t>(0, (out - 1) * stride + window - extent);
  return {total / 2, total - total / 2};
}

}  // namespace

Shape infer_shape(const NodeKind& kind, std::span<const Shape> inputs) {
  return std::visit(ShapeRule{inputs}, kind);
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

std::int64_t products_of(const NodeKind& kind, const Shape& input, const Shape& output) {
  if (const auto* conv = std::get_if<Convolution>(&kind)) {
    return output.elements() * conv->kernel_h * conv->kernel_w * input[2];
  }
  return std::holds_alternative<Dense>(kind) ? output.elements() * input.elements() : 0;
}

}  // namespace gentrain::graph
