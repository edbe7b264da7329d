// A network written layer by layer in the job: shapes are inferred, neighbours are fused by fixed
// rules.
#include <algorithm>
#include <functional>
#include <initializer_list>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/nn/layers.h"
#include "kernels/error.h"
#include "trainers/models/layer_names.h"
#include "trainers/models/network.h"

namespace gentrain::trainers {

namespace {

using LayerStage = std::function<Tensor(Context&, const Tensor&)>;

Activation activation_of(LayerKind kind) {
  switch (kind) {
    case LayerKind::kTanh:
      return Activation::kTanh;
    case LayerKind::kRelu:
      return Activation::kRelu;
    case LayerKind::kSigmoid:
      return Activation::kSigmoid;
    default:
      return Activation::kNone;
  }
}

bool is_activation(LayerKind kind) {
  return activation_of(kind) != Activation::kNone;
}

struct Extent {
  std::int64_t before = 0;  // padding
  std::int64_t after = 0;
  std::int64_t out = 0;
};

Extent extent_of(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                 bool same) {
  Extent e{pad, pad, 0};
  if (same) {
    e.out = (in + stride - 1) / stride;
    const std::int64_t total = std::max<std::int64_t>(0, (e.out - 1) * stride + kernel - in);
    e.before = total / 2;
    e.after = total - e.before;
  } else {
    e.out = in + 2 * pad < kernel ? 0 : (in + 2 * pad - kernel) / stride + 1;
  }
  return e;
}

// Of one layer and one image; sums over layers and images stay within 64 bits.
constexpr double kMostValues = 1e11;
constexpr double kMostProducts = 1e14;

/// A product. Throws ShapeError if it is above `most`.
std::int64_t count(const char* what, std::initializer_list<std::int64_t> factors, double most) {
  double approximate = 1;
  for (const std::int64_t factor : factors) {
    approximate *= static_cast<double>(factor);
  }
  if (approximate > most) {
    throw ShapeError(fmt::format("{} {} are too many, at most {:.0e} are supported",
                                 fmt::join(factors, " x "), what, most));
  }
  std::int64_t product = 1;
  for (const std::int64_t factor : factors) {
    product *= factor;
  }
  return product;
}

/// Builds the steps of a Sequential from its layers.
class Builder {
 public:
  Builder(const std::vector<LayerSpec>& layers, const InitOptions& init, const Shape& image,
          ParameterSet& parameters)
      : layers_(layers), init_{init.name, init.stddev}, parameters_(parameters), shape_(image) {}

  void build() {
    while (at_ < layers_.size()) {
      const std::size_t layer = at_;
      try {
        add(layers_[layer]);
      } catch (const ShapeError& error) {
        fail(layer, error.what());
      }
    }
  }

  [[noreturn]] void fail(std::size_t layer, const std::string& message) const {
    const LayerSpec& spec = layers_[layer];
    throw JobError(fmt::format("{}{}layer {} ({}): {}", spec.where, spec.where.empty() ? "" : ": ",
                               layer + 1, name_of(spec.kind), message));
  }

  std::vector<LayerStage> steps;
  std::vector<LayerInfo> infos;
  [[nodiscard]] const Shape& shape() const { return shape_; }

 private:
  void add(const LayerSpec& spec) {
    switch (spec.kind) {
      case LayerKind::kConv:
        return add_conv(spec);
      case LayerKind::kMaxPool:
      case LayerKind::kAveragePool:
        return add_pool(spec);
      case LayerKind::kLinear:
        return add_linear(spec);
      case LayerKind::kFlatten:
        return add_flatten();
      case LayerKind::kDropout:
        return add_dropout(spec);
      case LayerKind::kTanh:
      case LayerKind::kRelu:
      case LayerKind::kSigmoid:
        return add_activations(take_activations());
    }
  }

  void need_image() const {
    if (shape_.rank() != 3) {
      fail(at_, fmt::format("needs images [h, w, c] but gets {} per sample", shape_.str()));
    }
  }

  void info(const std::string& name, std::int64_t parameters = 0, std::int64_t products = 0) {
    infos.push_back({name, shape_, parameters, products, parameter_names(parameters_, name)});
  }

  /// The activations from here on, in order; moves behind them.
  std::vector<Activation> take_activations() {
    std::vector<Activation> taken;
    while (at_ < layers_.size() && is_activation(layers_[at_].kind)) {
      taken.push_back(activation_of(layers_[at_].kind));
      info(std::string(name_of(layers_[at_].kind)));
      ++at_;
    }
    return taken;
  }

  /// What a job's reader has checked already; a model file's description has nobody else.
  void need_window(const LayerSpec& spec) const {
    if (std::min({spec.kernel_h, spec.kernel_w, spec.stride_h, spec.stride_w}) < 1 ||
        std::min(spec.pad_h, spec.pad_w) < 0) {
      fail(at_, "extents and strides of at least 1 and a padding of at least 0 are needed");
    }
  }

  static Activation pop_first(std::vector<Activation>& activations) {
    if (activations.empty()) {
      return Activation::kNone;
    }
    const Activation first = activations.front();
    activations.erase(activations.begin());
    return first;
  }

  void add_activations(const std::vector<Activation>& activations) {
    for (const Activation activation : activations) {
      steps.emplace_back([activation](Context& context, const Tensor& x) {
        return ops::activate(context, x, activation);
      });
    }
  }

  [[nodiscard]] bool at_small_max_pool() const {
    if (at_ >= layers_.size() || layers_[at_].kind != LayerKind::kMaxPool) {
      return false;
    }
    const LayerSpec& p = layers_[at_];
    const bool even = !p.same || (shape_[0] % 2 == 0 && shape_[1] % 2 == 0);
    return p.kernel_h == 2 && p.kernel_w == 2 && p.stride_h == 2 && p.stride_w == 2 &&
           p.pad_h == 0 && p.pad_w == 0 && even && shape_[0] >= 2 && shape_[1] >= 2;
  }

  void add_conv(const LayerSpec& spec) {
    need_image();
    need_window(spec);
    const Extent h = extent_of(shape_[0], spec.kernel_h, spec.stride_h, spec.pad_h, spec.same);
    const Extent w = extent_of(shape_[1], spec.kernel_w, spec.stride_w, spec.pad_w, spec.same);
    if (h.out < 1 || w.out < 1) {
      fail(at_, fmt::format("its {}x{} kernel does not fit into {}", spec.kernel_h, spec.kernel_w,
                            shape_.str()));
    }
    const std::int64_t weights =
        count("weights", {spec.out, spec.kernel_h, spec.kernel_w, shape_[2]}, kMostValues);
    const std::int64_t outputs = count("results", {h.out, w.out, spec.out}, kMostValues);
    const std::int64_t products = count("products", {outputs, weights / spec.out}, kMostProducts);
    const nn::Conv2dOptions options{.in = shape_[2],
                                    .out = spec.out,
                                    .kernel_h = spec.kernel_h,
                                    .kernel_w = spec.kernel_w,
                                    .stride = {spec.stride_h, spec.stride_w},
                                    .padding = {h.before, h.after, w.before, w.after},
                                    .bias = spec.bias,
                                    .initializer = init_};
    const std::string name = fmt::format("conv{}", ++convs_);
    const nn::Conv2d layer(parameters_, name, options);
    shape_ = {h.out, w.out, spec.out};
    info(name, weights + (spec.bias ? spec.out : 0), products);
    ++at_;
    std::vector<Activation> activations = take_activations();
    const bool pooled = at_small_max_pool();
    if (pooled) {
      shape_ = {shape_[0] / 2, shape_[1] / 2, shape_[2]};
      info("max_pool");
      ++at_;
      const std::vector<Activation> behind = take_activations();
      activations.insert(activations.end(), behind.begin(), behind.end());
    }
    const Activation fused = pop_first(activations);
    steps.emplace_back([layer, fused, pooled](Context& context, const Tensor& x) {
      return pooled ? layer.forward_max_pool(context, x, fused) : layer.forward(context, x, fused);
    });
    add_activations(activations);
  }

  void add_pool(const LayerSpec& spec) {
    need_image();
    need_window(spec);
    const Extent h = extent_of(shape_[0], spec.kernel_h, spec.stride_h, spec.pad_h, spec.same);
    const Extent w = extent_of(shape_[1], spec.kernel_w, spec.stride_w, spec.pad_w, spec.same);
    if (h.out < 1 || w.out < 1) {
      fail(at_, fmt::format("its {}x{} window does not fit into {}", spec.kernel_h, spec.kernel_w,
                            shape_.str()));
    }
    constexpr std::int64_t kMostPixels = 255;  // see kernels/pool.h
    if (spec.kernel_h * spec.kernel_w > kMostPixels) {
      fail(at_,
           fmt::format("its {}x{} window has {} pixels, at most {} are supported", spec.kernel_h,
                       spec.kernel_w, spec.kernel_h * spec.kernel_w, kMostPixels));
    }
    if (std::max(h.before, h.after) >= spec.kernel_h ||
        std::max(w.before, w.after) >= spec.kernel_w) {
      fail(at_, fmt::format("its padding [{}, {}] is not smaller than its {}x{} window", spec.pad_h,
                            spec.pad_w, spec.kernel_h, spec.kernel_w));
    }
    const ops::Window window{spec.kernel_h, spec.kernel_w};
    const ops::Stride stride{spec.stride_h, spec.stride_w};
    const ops::Padding padding{h.before, h.after, w.before, w.after};
    const bool max = spec.kind == LayerKind::kMaxPool;
    steps.emplace_back([window, stride, padding, max](Context& context, const Tensor& x) {
      return max ? ops::max_pool2d(context, x, window, stride, padding)
                 : ops::average_pool2d(context, x, window, stride, padding);
    });
    count("results", {h.out, w.out, shape_[2]}, kMostValues);
    shape_ = {h.out, w.out, shape_[2]};
    info(std::string(name_of(spec.kind)));
    ++at_;
  }

  void add_linear(const LayerSpec& spec) {
    if (shape_.rank() != 1) {
      fail(at_,
           fmt::format("needs a row of numbers per sample but gets {}; put `flatten` before it",
                       shape_.str()));
    }
    const std::int64_t weights = count("weights", {spec.out, shape_[0]}, kMostValues);
    const std::string name = fmt::format("linear{}", ++linears_);
    const nn::Linear layer(parameters_, name, shape_[0], spec.out, spec.bias, init_);
    shape_ = {spec.out};
    info(name, weights + (spec.bias ? spec.out : 0), weights);
    ++at_;
    std::vector<Activation> activations = take_activations();
    const Activation fused = pop_first(activations);
    steps.emplace_back([layer, fused](Context& context, const Tensor& x) {
      return layer.forward(context, x, fused);
    });
    add_activations(activations);
  }

  void add_flatten() {
    shape_ = {shape_.elements()};
    steps.emplace_back([shape = shape_](Context& context, const Tensor& x) {
      return ops::reshape(context, x, {x.shape()[0], shape[0]});
    });
    info("flatten");
    ++at_;
  }

  void add_dropout(const LayerSpec& spec) {
    steps.emplace_back([rate = spec.rate, op = at_](Context& context, const Tensor& x) {
      return ops::dropout(context, x, rate, op);
    });
    info("dropout");
    ++at_;
  }

  const std::vector<LayerSpec>& layers_;
  Initializer init_;
  ParameterSet& parameters_;
  Shape shape_;
  std::size_t at_ = 0;
  int convs_ = 0;
  int linears_ = 0;
};

class Sequential final : public Network {
 public:
  explicit Sequential(Builder& builder) : steps_(std::move(builder.steps)) {
    layers_ = std::move(builder.infos);
  }
  Tensor forward(Context& context, const Tensor& x) const override {
    Tensor y = ops::into_network(context, x);
    for (const LayerStage& step : steps_) {
      y = step(context, y);
    }
    return ops::out_of_network(context, y);
  }

 private:
  std::vector<LayerStage> steps_;
};

}  // namespace

std::unique_ptr<Network> make_sequential(const std::vector<LayerSpec>& layers,
                                         const InitOptions& init, const Shape& image,
                                         std::int64_t outputs, ParameterSet& parameters) {
  if (layers.empty()) {
    throw JobError("model: there are no layers");
  }
  Builder builder(layers, init, image, parameters);
  builder.build();
  if (builder.shape() != Shape{outputs}) {
    builder.fail(layers.size() - 1,
                 fmt::format("the last layer gives {} per sample but the data needs [{}]",
                             builder.shape().str(), outputs));
  }
  return std::make_unique<Sequential>(builder);
}

}  // namespace gentrain::trainers
