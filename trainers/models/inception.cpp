// InceptionV3 in Keras's order of creation, which numbers its layers.
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "trainers/models/pretrained.h"

namespace gentrain::trainers {

namespace {

struct Kernel {
  std::int64_t h, w;
};

/// A convolution of a branch: channels, kernel, and whether it halves the extents, unpadded.
struct ConvUnit {
  std::int64_t out;
  Kernel kernel;
  bool halves = false;
};

class Inception {
 public:
  explicit Inception(const Shape& image) : x_(graph_.add("input_1", graph::Input{image})) {}

  graph::Graph build() {
    stem();
    for (const std::int64_t pooled : {32, 64, 64}) {
      block({branch(x_, {{64, {1, 1}}}), branch(x_, {{48, {1, 1}}, {64, {5, 5}}}),
             branch(x_, {{64, {1, 1}}, {96, {3, 3}}, {96, {3, 3}}}), pooled_branch(pooled)});
    }
    block({branch(x_, {{384, {3, 3}, true}}),
           branch(x_, {{64, {1, 1}}, {96, {3, 3}}, {96, {3, 3}, true}}), max_pool()});
    for (const std::int64_t c : {128, 160, 160, 192}) {
      block({branch(x_, {{192, {1, 1}}}), branch(x_, {{c, {1, 1}}, {c, {1, 7}}, {192, {7, 1}}}),
             branch(x_, {{c, {1, 1}}, {c, {7, 1}}, {c, {1, 7}}, {c, {7, 1}}, {192, {1, 7}}}),
             pooled_branch(192)});
    }
    block({branch(x_, {{192, {1, 1}}, {320, {3, 3}, true}}),
           branch(x_, {{192, {1, 1}}, {192, {1, 7}}, {192, {7, 1}}, {192, {3, 3}, true}}),
           max_pool()});
    wide_block();
    wide_block();
    return std::move(graph_);
  }

 private:
  int conv(int x, const ConvUnit& unit, ops::Stride stride, bool same) {
    ++convs_;
    graph::Convolution node;
    node.out = unit.out;
    node.kernel_h = unit.kernel.h;
    node.kernel_w = unit.kernel.w;
    node.stride = stride;
    node.padding.same = same;
    node.bias = false;
    const int y = graph_.add(fmt::format("conv2d_{}", convs_), node, {x});
    const int normed = graph_.add(fmt::format("batch_normalization_{}", convs_),
                                  graph::BatchNormalization{.epsilon = 1e-3, .gamma = false}, {y});
    return graph_.add(fmt::format("activation_{}", convs_), graph::Activate{}, {normed});
  }

  int branch(int x, std::initializer_list<ConvUnit> units) {
    for (const ConvUnit& unit : units) {
      x = unit.halves ? conv(x, unit, {2, 2}, false) : conv(x, unit, {1, 1}, true);
    }
    return x;
  }

  int max_pool() {
    return graph_.add(
        fmt::format("max_pooling2d_{}", ++max_pools_),
        graph::Pooling{.pooling = graph::PoolingKind::kMax, .window = {3, 3}, .padding = {}}, {x_});
  }

  int pooled_branch(std::int64_t out) {
    graph::Pooling node;
    node.pooling = graph::PoolingKind::kAverage;
    node.window = {3, 3};
    node.stride = {1, 1};
    node.padding.same = true;
    const int pooled =
        graph_.add(fmt::format("average_pooling2d_{}", ++average_pools_), node, {x_});
    return branch(pooled, {{out, {1, 1}}});
  }

  void stem() {
    x_ = conv(x_, {32, {3, 3}}, {2, 2}, false);
    x_ = conv(x_, {32, {3, 3}}, {1, 1}, false);
    x_ = conv(x_, {64, {3, 3}}, {1, 1}, true);
    x_ = max_pool();
    x_ = conv(x_, {80, {1, 1}}, {1, 1}, false);
    x_ = conv(x_, {192, {3, 3}}, {1, 1}, false);
    x_ = max_pool();
  }

  /// The branches of mixedN side by side, in the order in which they were made.
  void block(std::initializer_list<int> branches) {
    x_ = graph_.add(fmt::format("mixed{}", blocks_++), graph::Concatenation{}, branches);
  }

  /// mixed9 and mixed10, two of whose branches fork.
  void wide_block() {
    const int one = branch(x_, {{320, {1, 1}}});
    const int three = branch(x_, {{384, {1, 1}}});
    const int three_wide = branch(three, {{384, {1, 3}}});
    const int three_high = branch(three, {{384, {3, 1}}});
    const int threes = graph_.add(fmt::format("mixed9_{}", wide_blocks_), graph::Concatenation{},
                                  {three_wide, three_high});
    const int twice = branch(x_, {{448, {1, 1}}, {384, {3, 3}}});
    const int twice_wide = branch(twice, {{384, {1, 3}}});
    const int twice_high = branch(twice, {{384, {3, 1}}});
    const int twices = graph_.add(fmt::format("concatenate_{}", ++wide_blocks_),
                                  graph::Concatenation{}, {twice_wide, twice_high});
    block({one, threes, twices, pooled_branch(192)});
  }

  graph::Graph graph_;
  int x_;
  int convs_ = 0;
  int max_pools_ = 0;
  int average_pools_ = 0;
  int blocks_ = 0;
  int wide_blocks_ = 0;
};

}  // namespace

graph::Graph inception_v3(const Shape& image) {
  return Inception(image).build();
}

}  // namespace gentrain::trainers
