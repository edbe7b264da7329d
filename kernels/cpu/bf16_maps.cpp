// Functions of one and two tensors and routines along axes, around those for f32.
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/bf16_views.h"

namespace gentrain::cpu {

namespace {

class Bf16Pointwise final : public AroundF32<PointwiseKernels> {
 public:
  using AroundF32::AroundF32;

  void forward(Queue& queue, const PointwiseRule& rule, ConstView x, View y) override {
    if (!is_bf16(y)) {
      f32_->forward(queue, rule, x, y);
      return;
    }
    Bf16Call call("pointwise", queue, backend_);
    f32_->forward(queue, rule, call.read("x", x), call.write("y", y));
    call.finish();
  }

  void backward(Queue& queue, const PointwiseRule& rule, ConstView x, ConstView dy,
                View dx) override {
    if (!is_bf16(dx)) {
      f32_->backward(queue, rule, x, dy, dx);
      return;
    }
    Bf16Call call("pointwise backward", queue, backend_);
    f32_->backward(queue, rule, call.read("x", x), call.read("dy", dy), call.write("dx", dx));
    call.finish();
  }

  void binary(Queue& queue, BinaryFunction function, ConstView a, ConstView b, View y) override {
    if (!is_bf16(a) && !is_bf16(b)) {
      f32_->binary(queue, function, a, b, y);
      return;
    }
    Bf16Call call("binary", queue, backend_);
    f32_->binary(queue, function, widened(call, "a", a), widened(call, "b", b), call.write("y", y));
    call.finish();
  }

  void binary_backward(Queue& queue, BinaryFunction function, const BinarySources& sources, View da,
                       View db, ShardRows shards) override {
    if (!is_bf16(sources.dy)) {
      f32_->binary_backward(queue, function, sources, da, db, shards);
      return;
    }
    Bf16Call call("binary backward", queue, backend_);
    const BinarySources floats{widened(call, "a", sources.a), widened(call, "b", sources.b),
                               call.read("dy", sources.dy)};
    f32_->binary_backward(queue, function, floats, is_bf16(da) ? call.write("da", da) : da,
                          is_bf16(db) ? call.write("db", db) : db, shards);
    call.finish();
  }

  void permute(Queue& queue, std::span<const int> axes, ConstView x, View y) override {
    f32_->permute(queue, axes, x, y);  // moves elements of either type
  }

  void axis_map(Queue& queue, const AxisTerms& terms, ConstView x, View y) override {
    if (!is_bf16(y)) {
      f32_->axis_map(queue, terms, x, y);
      return;
    }
    Bf16Call call("axis map", queue, backend_);
    f32_->axis_map(queue, terms, call.read("x", x), call.write("y", y));
    call.finish();
  }

  void axis_map_backward(Queue& queue, const AxisTerms& terms, ConstView dy, View dx) override {
    if (!is_bf16(dx)) {
      f32_->axis_map_backward(queue, terms, dy, dx);
      return;
    }
    Bf16Call call("axis map backward", queue, backend_);
    f32_->axis_map_backward(queue, terms, call.read("dy", dy), call.write("dx", dx));
    call.finish();
  }

  void softmax(Queue& queue, bool log, ConstView x, View y) override {
    if (!is_bf16(y)) {
      f32_->softmax(queue, log, x, y);
      return;
    }
    Bf16Call call("softmax", queue, backend_);
    f32_->softmax(queue, log, call.read("x", x), call.write("y", y));
    call.finish();
  }

  void softmax_backward(Queue& queue, bool log, ConstView y, ConstView dy, View dx) override {
    if (!is_bf16(dx)) {
      f32_->softmax_backward(queue, log, y, dy, dx);
      return;
    }
    Bf16Call call("softmax backward", queue, backend_);
    f32_->softmax_backward(queue, log, call.read("y", y), call.read("dy", dy),
                           call.write("dx", dx));
    call.finish();
  }

 private:
  /// As floats: a parameter or a constant already is.
  static ConstView widened(Bf16Call& call, const char* name, ConstView view) {
    return is_bf16(view) ? call.read(name, view) : view;
  }
};

}  // namespace

std::unique_ptr<PointwiseKernels> with_bf16(std::unique_ptr<PointwiseKernels> f32,
                                            const Backend& backend) {
  return std::make_unique<Bf16Pointwise>(std::move(f32), backend);
}

}  // namespace gentrain::cpu
