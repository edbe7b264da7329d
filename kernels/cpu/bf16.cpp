// The families that work on images and rows, around those for f32.
#include "kernels/cpu/bf16.h"

#include "kernels/cpu/bf16_views.h"

namespace gentrain::cpu {

namespace {

class Bf16Conv final : public AroundF32<ConvKernels> {
 public:
  using AroundF32::AroundF32;

  void forward(Queue& queue, const ConvGeometry& g, ConstView x, const Weights& w, ConstView bias,
               Activation activation, View y) override {
    if (!is_bf16(x)) {
      f32_->forward(queue, g, x, w, bias, activation, y);
      return;
    }
    Bf16Call call("convolution forward", queue, backend_);
    f32_->forward(queue, g, call.read("x", x), call.round(w), bias, activation, call.write("y", y));
    call.finish();
  }

  void backward_data(Queue& queue, const ConvGeometry& g, ConstView dy, const Weights& w,
                     View dx) override {
    if (!is_bf16(dy)) {
      f32_->backward_data(queue, g, dy, w, dx);
      return;
    }
    Bf16Call call("convolution backward data", queue, backend_);
    f32_->backward_data(queue, g, call.read("dy", dy), call.round(w), call.write("dx", dx));
    call.finish();
  }

  void backward_weights(Queue& queue, const ConvGeometry& g, ConstView x, ConstView dy, View dw,
                        View dbias) override {
    if (!is_bf16(x)) {
      f32_->backward_weights(queue, g, x, dy, dw, dbias);
      return;
    }
    Bf16Call call("convolution backward weights", queue, backend_);
    f32_->backward_weights(queue, g, call.read("x", x), call.read("dy", dy), dw, dbias);
  }

  [[nodiscard]] bool fuses_max_pool(const ConvGeometry& g) const override {
    return f32_->fuses_max_pool(g);
  }

  void pool_forward(Queue& queue, const ConvGeometry& g, ConstView x, const Weights& w,
                    ConstView bias, Activation activation, PooledViews result) override {
    if (!is_bf16(x)) {
      f32_->pool_forward(queue, g, x, w, bias, activation, result);
      return;
    }
    Bf16Call call("fused convolution and max pooling forward", queue, backend_);
    f32_->pool_forward(queue, g, call.read("x", x), call.round(w), bias, activation,
                       {call.write("y", result.y), result.argmax});
    call.finish();
  }

  void pool_backward_data(Queue& queue, const ConvGeometry& g, ConstView dp, ConstView argmax,
                          const Weights& w, View dx) override {
    if (!is_bf16(dp)) {
      f32_->pool_backward_data(queue, g, dp, argmax, w, dx);
      return;
    }
    Bf16Call call("fused convolution and max pooling backward data", queue, backend_);
    f32_->pool_backward_data(queue, g, call.read("dp", dp), argmax, call.round(w),
                             call.write("dx", dx));
    call.finish();
  }

  void pool_backward_weights(Queue& queue, const ConvGeometry& g, ConstView x, ConstView dp,
                             ConstView argmax, View dw, View dbias) override {
    if (!is_bf16(x)) {
      f32_->pool_backward_weights(queue, g, x, dp, argmax, dw, dbias);
      return;
    }
    Bf16Call call("fused convolution and max pooling backward weights", queue, backend_);
    f32_->pool_backward_weights(queue, g, call.read("x", x), call.read("dp", dp), argmax, dw,
                                dbias);
  }
};

class Bf16Pool final : public AroundF32<PoolKernels> {
 public:
  using AroundF32::AroundF32;

  void max_forward(Queue& queue, const PoolGeometry& g, ConstView x, View y, View argmax) override {
    if (!is_bf16(x)) {
      f32_->max_forward(queue, g, x, y, argmax);
      return;
    }
    Bf16Call call("max pooling forward", queue, backend_);
    f32_->max_forward(queue, g, call.read("x", x), call.write("y", y), argmax);
    call.finish();
  }

  void max_backward(Queue& queue, const PoolGeometry& g, ConstView dy, ConstView argmax,
                    View dx) override {
    if (!is_bf16(dy)) {
      f32_->max_backward(queue, g, dy, argmax, dx);
      return;
    }
    Bf16Call call("max pooling backward", queue, backend_);
    f32_->max_backward(queue, g, call.read("dy", dy), argmax, call.write("dx", dx));
    call.finish();
  }

  void average_forward(Queue& queue, const PoolGeometry& g, ConstView x, View y) override {
    if (!is_bf16(x)) {
      f32_->average_forward(queue, g, x, y);
      return;
    }
    Bf16Call call("average pooling forward", queue, backend_);
    f32_->average_forward(queue, g, call.read("x", x), call.write("y", y));
    call.finish();
  }

  void average_backward(Queue& queue, const PoolGeometry& g, ConstView dy, View dx) override {
    if (!is_bf16(dy)) {
      f32_->average_backward(queue, g, dy, dx);
      return;
    }
    Bf16Call call("average pooling backward", queue, backend_);
    f32_->average_backward(queue, g, call.read("dy", dy), call.write("dx", dx));
    call.finish();
  }
};

class Bf16Matmul final : public AroundF32<MatmulKernels> {
 public:
  using AroundF32::AroundF32;

  void linear_forward(Queue& queue, ConstView x, const Weights& w, ConstView bias,
                      Activation activation, View y, ShardRows shards) override {
    if (!is_bf16(x)) {
      f32_->linear_forward(queue, x, w, bias, activation, y, shards);
      return;
    }
    Bf16Call call("linear forward", queue, backend_);
    f32_->linear_forward(queue, call.read("x", x), call.round(w), bias, activation,
                         call.write("y", y), shards);
    call.finish();
  }

  void linear_backward_data(Queue& queue, ConstView dy, const Weights& w, View dx,
                            ShardRows shards) override {
    if (!is_bf16(dy)) {
      f32_->linear_backward_data(queue, dy, w, dx, shards);
      return;
    }
    Bf16Call call("linear backward data", queue, backend_);
    f32_->linear_backward_data(queue, call.read("dy", dy), call.round(w), call.write("dx", dx),
                               shards);
    call.finish();
  }

  void linear_backward_weights(Queue& queue, ConstView x, ConstView dy, View dw, View dbias,
                               ShardRows shards) override {
    if (!is_bf16(x)) {
      f32_->linear_backward_weights(queue, x, dy, dw, dbias, shards);
      return;
    }
    Bf16Call call("linear backward weights", queue, backend_);
    f32_->linear_backward_weights(queue, call.read("x", x), call.read("dy", dy), dw, dbias, shards);
  }
};

class Bf16Norm final : public AroundF32<NormKernels> {
 public:
  using AroundF32::AroundF32;

  void statistics(Queue& queue, ConstView x, View mean, View variance) override {
    if (!is_bf16(x)) {
      f32_->statistics(queue, x, mean, variance);
      return;
    }
    Bf16Call call("batch statistics", queue, backend_);
    f32_->statistics(queue, call.read("x", x), mean, variance);
  }

  void normalize(Queue& queue, const NormRule& rule, const NormSources& sources, View y) override {
    if (!is_bf16(sources.x)) {
      f32_->normalize(queue, rule, sources, y);
      return;
    }
    Bf16Call call("normalize", queue, backend_);
    NormSources wide = sources;
    wide.x = call.read("x", sources.x);
    wide.residual = call.read("residual", sources.residual);
    f32_->normalize(queue, rule, wide, call.write("y", y));
    call.finish();
  }

  void normalize_backward(Queue& queue, const NormRule& rule, const NormGradientSources& sources,
                          const NormGradients& results) override {
    if (!is_bf16(sources.x)) {
      f32_->normalize_backward(queue, rule, sources, results);
      return;
    }
    Bf16Call call("normalize backward", queue, backend_);
    NormGradientSources wide = sources;
    wide.x = call.read("x", sources.x);
    wide.y = call.read("y", sources.y);
    wide.dy = call.read("dy", sources.dy);
    f32_->normalize_backward(queue, rule, wide,
                             {call.write("dx", results.dx), results.dgamma, results.dbeta,
                              call.write("dresidual", results.dresidual)});
    call.finish();
  }

  void prelu(Queue& queue, ConstView x, ConstView alpha, View y) override {
    if (!is_bf16(x)) {
      f32_->prelu(queue, x, alpha, y);
      return;
    }
    Bf16Call call("prelu", queue, backend_);
    f32_->prelu(queue, call.read("x", x), alpha, call.write("y", y));
    call.finish();
  }

  void prelu_backward(Queue& queue, ConstView x, ConstView alpha, ConstView dy, View dx,
                      View dalpha) override {
    if (!is_bf16(x)) {
      f32_->prelu_backward(queue, x, alpha, dy, dx, dalpha);
      return;
    }
    Bf16Call call("prelu backward", queue, backend_);
    f32_->prelu_backward(queue, call.read("x", x), alpha, call.read("dy", dy), call.write("dx", dx),
                         dalpha);
    call.finish();
  }
};

class Bf16Pixel final : public AroundF32<PixelKernels> {
 public:
  using AroundF32::AroundF32;

  void shuffle(Queue& queue, std::int64_t r, double slope, ConstView x, View y) override {
    if (!is_bf16(x)) {
      f32_->shuffle(queue, r, slope, x, y);
      return;
    }
    Bf16Call call("pixel shuffle", queue, backend_);
    f32_->shuffle(queue, r, slope, call.read("x", x), call.write("y", y));
    call.finish();
  }

  void shuffle_backward(Queue& queue, std::int64_t r, double slope, ConstView y, ConstView dy,
                        View dx) override {
    if (!is_bf16(dy)) {
      f32_->shuffle_backward(queue, r, slope, y, dy, dx);
      return;
    }
    Bf16Call call("pixel shuffle backward", queue, backend_);
    f32_->shuffle_backward(queue, r, slope, call.read("y", y), call.read("dy", dy),
                           call.write("dx", dx));
    call.finish();
  }

  void gaussian_shrink(Queue& queue, std::int64_t r, double sigma, ConstView x, View y) override {
    if (!is_bf16(x)) {
      f32_->gaussian_shrink(queue, r, sigma, x, y);
      return;
    }
    Bf16Call call("gaussian shrink", queue, backend_);
    f32_->gaussian_shrink(queue, r, sigma, call.read("x", x), call.write("y", y));
    call.finish();
  }

  void put_channels(Queue& queue, std::int64_t first, ConstView x, View y) override {
    f32_->put_channels(queue, first, x, y);  // moves elements of either type
  }

  void take_channels(Queue& queue, std::int64_t first, ConstView x, View y) override {
    f32_->take_channels(queue, first, x, y);
  }
};

}  // namespace

std::unique_ptr<ConvKernels> with_bf16(std::unique_ptr<ConvKernels> f32, const Backend& backend) {
  return std::make_unique<Bf16Conv>(std::move(f32), backend);
}

std::unique_ptr<PoolKernels> with_bf16(std::unique_ptr<PoolKernels> f32, const Backend& backend) {
  return std::make_unique<Bf16Pool>(std::move(f32), backend);
}

std::unique_ptr<MatmulKernels> with_bf16(std::unique_ptr<MatmulKernels> f32,
                                         const Backend& backend) {
  return std::make_unique<Bf16Matmul>(std::move(f32), backend);
}

std::unique_ptr<NormKernels> with_bf16(std::unique_ptr<NormKernels> f32, const Backend& backend) {
  return std::make_unique<Bf16Norm>(std::move(f32), backend);
}

std::unique_ptr<PixelKernels> with_bf16(std::unique_ptr<PixelKernels> f32, const Backend& backend) {
  return std::make_unique<Bf16Pixel>(std::move(f32), backend);
}

}  // namespace gentrain::cpu
