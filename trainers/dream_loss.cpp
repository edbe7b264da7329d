// Layers by the network's own gradients, the image's terms in closed form.
#include "trainers/dream_loss.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/ops/inner_squares.h"
#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::trainers {

double DreamTerms::total() const {
  return std::accumulate(layers.begin(), layers.end(), 0.0) + continuity + l2;
}

DreamLoss::DreamLoss(Setting setting)
    : setting_(std::move(setting)), tape_(setting_.device, setting_.queue) {
  for (const DreamTerm& term : setting_.terms) {
    nodes_.push_back(term.node);
  }
  const graph::Graph& graph = setting_.network.graph();
  const Shape& image = graph.node(graph.inputs()[0]).shape;
  h_ = image[0];
  w_ = image[1];
}

Tensor DreamLoss::into_device(std::span<const double> x) const {
  Tensor image = Tensor::empty(setting_.device, {1, h_, w_, 3}, setting_.dtype);
  if (setting_.dtype == DType::kF64) {
    copy_from_host<double>(setting_.device, setting_.queue, x, image);
  } else {
    const std::vector<float> floats(x.begin(), x.end());
    copy_from_host<float>(setting_.device, setting_.queue, floats, image);
  }
  return image;
}

void DreamLoss::add_layers(std::span<const double> x, DreamTerms& terms,
                           std::span<double> gradient) {
  Context context{setting_.device, setting_.queue, &tape_, false, {}};
  context.bf16 = setting_.bf16;
  tape_.begin({});
  Tensor image = into_device(x);
  tape_.watch(image);
  Tensor loss;
  {
    const std::vector<Tensor> maps = setting_.network.compute(context, {&image, 1}, nodes_);
    for (std::size_t i = 0; i < maps.size(); ++i) {
      const DreamTerm& term = setting_.terms[i];
      const ops::InnerSquares squares =
          ops::inner_square_sum(context, maps[i], kDreamBorder, term.channels, term.scale);
      terms.layers.push_back(term.scale * squares.sum);
      loss = loss.defined() ? ops::add(context, loss, squares.loss) : squares.loss;
    }
  }
  tape_.backward(loss);
  const Tensor of_image = tape_.gradient(image);
  const auto add = [&](const auto& values) {
    std::transform(values.begin(), values.end(), gradient.begin(), gradient.begin(),
                   [](auto value, double sum) { return sum + static_cast<double>(value); });
  };
  if (of_image.defined() && setting_.dtype == DType::kF64) {
    add(copy_to_host<double>(setting_.device, setting_.queue, of_image));
  } else if (of_image.defined()) {
    add(copy_to_host<float>(setting_.device, setting_.queue, of_image));
  }
  tape_.begin({});  // lets go of the maps
}

double DreamLoss::evaluate(std::span<const double> x, std::span<double> gradient) {
  if (std::ssize(x) != h_ * w_ * 3 || gradient.size() != x.size()) {
    throw ShapeError("a dream's loss was asked for an image of another size");
  }
  std::ranges::fill(gradient, 0.0);
  DreamTerms terms;
  add_layers(x, terms, gradient);
  terms.continuity = add_continuity(x, h_, w_, setting_.weights.continuity, gradient);
  terms.l2 = add_l2(x, setting_.weights.l2, gradient);
  evaluations_.push_back(terms);
  return terms.total();
}

}  // namespace gentrain::trainers
