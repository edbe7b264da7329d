// One counting family per interface of kernels/*.h.
#include "tests/support/counting_device.h"

#include <algorithm>

#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/pixel.h"
#include "kernels/pointwise.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "kernels/update.h"

namespace gentrain::test {

namespace {

using cpu::Operation;

/// What every family holds: the one it stands for, and the counter.
template <class Family>
class Counting : public Family {
 public:
  Counting(Family& inner, Calls& calls) : inner_(inner), calls_(calls) {}

 protected:
  Family& counted(const char* name) {
    ++calls_[name];
    return inner_;
  }
  [[nodiscard]] Family& inner() const { return inner_; }

 private:
  Family& inner_;
  Calls& calls_;
};

class CountingConv final : public Counting<ConvKernels> {
 public:
  CountingConv(ConvKernels& inner, Calls& calls, std::vector<ConvCalls>& convolutions)
      : Counting(inner, calls), convolutions_(convolutions) {}
  void forward(Queue& queue, const ConvGeometry& g, ConstView x, const Weights& w, ConstView bias,
               Activation activation, View y) override {
    counted("conv.forward", Operation::kConvForward, g)
        .forward(queue, g, x, w, bias, activation, y);
  }
  void backward_data(Queue& queue, const ConvGeometry& g, ConstView dy, const Weights& w,
                     View dx) override {
    counted("conv.backward_data", Operation::kConvBackwardData, g)
        .backward_data(queue, g, dy, w, dx);
  }
  void backward_weights(Queue& queue, const ConvGeometry& g, ConstView x, ConstView dy, View dw,
                        View dbias) override {
    counted("conv.backward_weights", Operation::kConvBackwardWeights, g)
        .backward_weights(queue, g, x, dy, dw, dbias);
  }
  [[nodiscard]] bool fuses_max_pool(const ConvGeometry& g) const override {
    return inner().fuses_max_pool(g);
  }
  void pool_forward(Queue& queue, const ConvGeometry& g, ConstView x, const Weights& w,
                    ConstView bias, Activation activation, PooledViews result) override {
    counted("conv.pool_forward").pool_forward(queue, g, x, w, bias, activation, result);
  }
  void pool_backward_data(Queue& queue, const ConvGeometry& g, ConstView dp, ConstView argmax,
                          const Weights& w, View dx) override {
    counted("conv.pool_backward_data").pool_backward_data(queue, g, dp, argmax, w, dx);
  }
  void pool_backward_weights(Queue& queue, const ConvGeometry& g, ConstView x, ConstView dp,
                             ConstView argmax, View dw, View dbias) override {
    counted("conv.pool_backward_weights").pool_backward_weights(queue, g, x, dp, argmax, dw, dbias);
  }

 private:
  ConvKernels& counted(const char* pass, Operation operation, const ConvGeometry& g) {
    const auto found =
        std::find_if(convolutions_.begin(), convolutions_.end(), [&](const ConvCalls& calls) {
          return calls.operation == operation && calls.geometry == g;
        });
    ++(found != convolutions_.end() ? *found
                                    : convolutions_.emplace_back(ConvCalls{pass, operation, g}))
          .count;
    return Counting::counted(pass);
  }
  using Counting::counted;

  std::vector<ConvCalls>& convolutions_;
};

class CountingPool final : public Counting<PoolKernels> {
 public:
  using Counting::Counting;
  void max_forward(Queue& queue, const PoolGeometry& g, ConstView x, View y, View argmax) override {
    counted("pool.max_forward").max_forward(queue, g, x, y, argmax);
  }
  void max_backward(Queue& queue, const PoolGeometry& g, ConstView dy, ConstView argmax,
                    View dx) override {
    counted("pool.max_backward").max_backward(queue, g, dy, argmax, dx);
  }
  void average_forward(Queue& queue, const PoolGeometry& g, ConstView x, View y) override {
    counted("pool.average_forward").average_forward(queue, g, x, y);
  }
  void average_backward(Queue& queue, const PoolGeometry& g, ConstView dy, View dx) override {
    counted("pool.average_backward").average_backward(queue, g, dy, dx);
  }
};

class CountingMatmul final : public Counting<MatmulKernels> {
 public:
  using Counting::Counting;
  void linear_forward(Queue& queue, ConstView x, const Weights& w, ConstView bias,
                      Activation activation, View y, ShardRows shards) override {
    counted("matmul.linear_forward").linear_forward(queue, x, w, bias, activation, y, shards);
  }
  void linear_backward_data(Queue& queue, ConstView dy, const Weights& w, View dx,
                            ShardRows shards) override {
    counted("matmul.linear_backward_data").linear_backward_data(queue, dy, w, dx, shards);
  }
  void linear_backward_weights(Queue& queue, ConstView x, ConstView dy, View dw, View dbias,
                               ShardRows shards) override {
    counted("matmul.linear_backward_weights")
        .linear_backward_weights(queue, x, dy, dw, dbias, shards);
  }
};

class CountingElementwise final : public Counting<ElementwiseKernels> {
 public:
  using Counting::Counting;
  void activate(Queue& queue, Activation activation, ConstView x, View y) override {
    counted("elementwise.activate").activate(queue, activation, x, y);
  }
  void activate_backward(Queue& queue, Activation activation, ConstView y, ConstView dy,
                         View dx) override {
    counted("elementwise.activate_backward").activate_backward(queue, activation, y, dy, dx);
  }
  void leaky_relu(Queue& queue, double slope, ConstView x, View y) override {
    counted("elementwise.leaky_relu").leaky_relu(queue, slope, x, y);
  }
  void leaky_relu_backward(Queue& queue, double slope, ConstView y, ConstView dy,
                           View dx) override {
    counted("elementwise.leaky_relu_backward").leaky_relu_backward(queue, slope, y, dy, dx);
  }
  void add_activate(Queue& queue, Activation activation, ConstView a, ConstView b,
                    View y) override {
    counted("elementwise.add_activate").add_activate(queue, activation, a, b, y);
  }
  void add(Queue& queue, ConstView a, ConstView b, View y) override {
    counted("elementwise.add").add(queue, a, b, y);
  }
  void multiply(Queue& queue, ConstView a, ConstView b, View y) override {
    counted("elementwise.multiply").multiply(queue, a, b, y);
  }
  void scale(Queue& queue, double factor, ConstView x, View y) override {
    counted("elementwise.scale").scale(queue, factor, x, y);
  }
  void fill(Queue& queue, double value, View y) override {
    counted("elementwise.fill").fill(queue, value, y);
  }
  void cast_u8(Queue& queue, ConstView x, double factor, double shift, View y) override {
    counted("elementwise.cast_u8").cast_u8(queue, x, factor, shift, y);
  }
  void cast(Queue& queue, ConstView x, View y) override {
    counted("elementwise.cast").cast(queue, x, y);
  }
};

class CountingReduce final : public Counting<ReduceKernels> {
 public:
  using Counting::Counting;
  void sum(Queue& queue, ConstView x, View y) override { counted("reduce.sum").sum(queue, x, y); }
  void square_sums(Queue& queue, ConstView x, View blocks) override {
    counted("reduce.square_sums").square_sums(queue, x, blocks);
  }
  bool all_finite(Queue& queue, ConstView x) override {
    return counted("reduce.all_finite").all_finite(queue, x);
  }
};

class CountingLoss final : public Counting<LossKernels> {
 public:
  using Counting::Counting;
  void softmax_cross_entropy(Queue& queue, ConstView logits, ConstView labels, ConstView weights,
                             View probabilities, View sums) override {
    counted("loss.softmax_cross_entropy")
        .softmax_cross_entropy(queue, logits, labels, weights, probabilities, sums);
  }
  void softmax_cross_entropy_backward(Queue& queue, ConstView probabilities, ConstView labels,
                                      ConstView weights, double scale, View dlogits) override {
    counted("loss.softmax_cross_entropy_backward")
        .softmax_cross_entropy_backward(queue, probabilities, labels, weights, scale, dlogits);
  }
  void softmax(Queue& queue, ConstView logits, View probabilities) override {
    counted("loss.softmax").softmax(queue, logits, probabilities);
  }
  void sigmoid_cross_entropy(Queue& queue, ConstView logits, ConstView targets,
                             View losses) override {
    counted("loss.sigmoid_cross_entropy").sigmoid_cross_entropy(queue, logits, targets, losses);
  }
  void sigmoid_cross_entropy_backward(Queue& queue, ConstView logits, ConstView targets,
                                      double scale, View dlogits) override {
    counted("loss.sigmoid_cross_entropy_backward")
        .sigmoid_cross_entropy_backward(queue, logits, targets, scale, dlogits);
  }
  void squared_error(Queue& queue, ConstView x, ConstView target, View losses) override {
    counted("loss.squared_error").squared_error(queue, x, target, losses);
  }
  void squared_error_backward(Queue& queue, ConstView x, ConstView target, double scale,
                              View dx) override {
    counted("loss.squared_error_backward").squared_error_backward(queue, x, target, scale, dx);
  }
  void gaussian_sample(Queue& queue, ConstView latent, ConstView noise, View z,
                       View divergence) override {
    counted("loss.gaussian_sample").gaussian_sample(queue, latent, noise, z, divergence);
  }
  void gaussian_sample_backward(Queue& queue, ConstView latent, ConstView noise, ConstView dz,
                                double scale, View dlatent) override {
    counted("loss.gaussian_sample_backward")
        .gaussian_sample_backward(queue, latent, noise, dz, scale, dlatent);
  }
};

class CountingNorm final : public Counting<NormKernels> {
 public:
  using Counting::Counting;
  void statistics(Queue& queue, ConstView x, View mean, View variance) override {
    counted("norm.statistics").statistics(queue, x, mean, variance);
  }
  void normalize(Queue& queue, const NormRule& rule, const NormSources& sources, View y) override {
    counted("norm.normalize").normalize(queue, rule, sources, y);
  }
  void normalize_backward(Queue& queue, const NormRule& rule, const NormGradientSources& sources,
                          const NormGradients& results) override {
    counted("norm.normalize_backward").normalize_backward(queue, rule, sources, results);
  }
  void prelu(Queue& queue, ConstView x, ConstView alpha, View y) override {
    counted("norm.prelu").prelu(queue, x, alpha, y);
  }
  void prelu_backward(Queue& queue, ConstView x, ConstView alpha, ConstView dy, View dx,
                      View dalpha) override {
    counted("norm.prelu_backward").prelu_backward(queue, x, alpha, dy, dx, dalpha);
  }
};

class CountingPixel final : public Counting<PixelKernels> {
 public:
  using Counting::Counting;
  void shuffle(Queue& queue, std::int64_t r, double slope, ConstView x, View y) override {
    counted("pixel.shuffle").shuffle(queue, r, slope, x, y);
  }
  void shuffle_backward(Queue& queue, std::int64_t r, double slope, ConstView y, ConstView dy,
                        View dx) override {
    counted("pixel.shuffle_backward").shuffle_backward(queue, r, slope, y, dy, dx);
  }
  void gaussian_shrink(Queue& queue, std::int64_t r, double sigma, ConstView x, View y) override {
    counted("pixel.gaussian_shrink").gaussian_shrink(queue, r, sigma, x, y);
  }
  void put_channels(Queue& queue, std::int64_t first, ConstView x, View y) override {
    counted("pixel.put_channels").put_channels(queue, first, x, y);
  }
  void take_channels(Queue& queue, std::int64_t first, ConstView x, View y) override {
    counted("pixel.take_channels").take_channels(queue, first, x, y);
  }
};

class CountingPointwise final : public Counting<PointwiseKernels> {
 public:
  using Counting::Counting;
  void forward(Queue& queue, const PointwiseRule& rule, ConstView x, View y) override {
    counted("pointwise.forward").forward(queue, rule, x, y);
  }
  void backward(Queue& queue, const PointwiseRule& rule, ConstView x, ConstView dy,
                View dx) override {
    counted("pointwise.backward").backward(queue, rule, x, dy, dx);
  }
  void binary(Queue& queue, BinaryFunction function, ConstView a, ConstView b, View y) override {
    counted("pointwise.binary").binary(queue, function, a, b, y);
  }
  void binary_backward(Queue& queue, BinaryFunction function, const BinarySources& sources, View da,
                       View db, ShardRows shards) override {
    counted("pointwise.binary_backward").binary_backward(queue, function, sources, da, db, shards);
  }
  void permute(Queue& queue, std::span<const int> axes, ConstView x, View y) override {
    counted("pointwise.permute").permute(queue, axes, x, y);
  }
  void axis_map(Queue& queue, const AxisTerms& terms, ConstView x, View y) override {
    counted("pointwise.axis_map").axis_map(queue, terms, x, y);
  }
  void axis_map_backward(Queue& queue, const AxisTerms& terms, ConstView dy, View dx) override {
    counted("pointwise.axis_map_backward").axis_map_backward(queue, terms, dy, dx);
  }
  void softmax(Queue& queue, bool log, ConstView x, View y) override {
    counted("pointwise.softmax").softmax(queue, log, x, y);
  }
  void softmax_backward(Queue& queue, bool log, ConstView y, ConstView dy, View dx) override {
    counted("pointwise.softmax_backward").softmax_backward(queue, log, y, dy, dx);
  }
};

class CountingRandom final : public Counting<RandomKernels> {
 public:
  using Counting::Counting;
  void uniform(Queue& queue, RngKey key, double low, double high, View y) override {
    counted("random.uniform").uniform(queue, key, low, high, y);
  }
  void normal(Queue& queue, RngKey key, double mean, double stddev, View y) override {
    counted("random.normal").normal(queue, key, mean, stddev, y);
  }
  void dropout(Queue& queue, RngKey key, double keep, ConstView x, View y) override {
    counted("random.dropout").dropout(queue, key, keep, x, y);
  }
};

class CountingUpdate final : public Counting<UpdateKernels> {
 public:
  using Counting::Counting;
  void sgd(Queue& queue, const SgdStep& step, ConstView gradient, View velocity, View w) override {
    counted("update.sgd").sgd(queue, step, gradient, velocity, w);
  }
  void adam(Queue& queue, const AdamStep& step, ConstView gradient, View first_moment,
            View second_moment, View w) override {
    counted("update.adam").adam(queue, step, gradient, first_moment, second_moment, w);
  }
};

}  // namespace

CountingDevice::CountingDevice(Device& device)
    : device_(device),
      conv_(std::make_unique<CountingConv>(device.conv(), calls_, convolutions_)),
      pool_(std::make_unique<CountingPool>(device.pool(), calls_)),
      matmul_(std::make_unique<CountingMatmul>(device.matmul(), calls_)),
      elementwise_(std::make_unique<CountingElementwise>(device.elementwise(), calls_)),
      reduce_(std::make_unique<CountingReduce>(device.reduce(), calls_)),
      loss_(std::make_unique<CountingLoss>(device.loss(), calls_)),
      norm_(std::make_unique<CountingNorm>(device.norm(), calls_)),
      pixel_(std::make_unique<CountingPixel>(device.pixel(), calls_)),
      pointwise_(std::make_unique<CountingPointwise>(device.pointwise(), calls_)),
      random_(std::make_unique<CountingRandom>(device.random(), calls_)),
      update_(std::make_unique<CountingUpdate>(device.update(), calls_)) {}

CountingDevice::~CountingDevice() = default;

int CountingDevice::calls(const std::string& name) const {
  const auto found = calls_.find(name);
  return found == calls_.end() ? 0 : found->second;
}

}  // namespace gentrain::test
