// Pointwise operations, sums and reshapes.
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "core/ops/parts.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/reduce.h"

namespace gentrain::ops {

namespace {

void check_same(const char* op, const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) {
    throw ShapeError(
        fmt::format("{}: shapes {} and {} differ", op, a.shape().str(), b.shape().str()));
  }
}

}  // namespace

Tensor activate(Context& context, const Tensor& x, Activation activation) {
  if (activation == Activation::kNone) {
    return x;
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, x.shape(), x.dtype());
  device.elementwise().activate(queue, activation, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("activate", y, {x},
                         [&device, &queue, activation, y](const Tensor& dy, GradSink& sink) {
                           const Tensor dx = in_place_of(device, dy);
                           device.elementwise().activate_backward(queue, activation, y.cview(),
                                                                  dy.cview(), dx.view());
                           sink.put(0, dx);
                         });
  }
  return y;
}

Tensor probe(Context& context, const Tensor& x, double& square_sum) {
  one_shard_only(context, "probe");
  Tensor y = x.reshaped(x.shape());
  if (context.tape != nullptr) {
    Device& device = context.device;
    Queue& queue = context.queue;
    context.tape->record(
        "probe", y, {x}, [&device, &queue, &square_sum](const Tensor& dy, GradSink& sink) {
          const std::int64_t blocks = (dy.elements() + kReduceBlock - 1) / kReduceBlock;
          const Tensor sums = Tensor::empty(device, {blocks}, DType::kF64);
          device.reduce().square_sums(queue, dy.cview(), sums.view());
          const std::vector<double> parts = copy_to_host<double>(device, queue, sums);
          square_sum = std::accumulate(parts.begin(), parts.end(), 0.0);
          sink.put(0, dy);
        });
  }
  return y;
}

Tensor leaky_relu(Context& context, const Tensor& x, double slope) {
  if (!(slope > 0)) {
    throw ShapeError(fmt::format("leaky_relu: slope is {}: above 0 needed", slope));
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, x.shape(), x.dtype());
  device.elementwise().leaky_relu(queue, slope, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record(
        "leaky_relu", y, {x}, [&device, &queue, slope, y](const Tensor& dy, GradSink& sink) {
          const Tensor dx = in_place_of(device, dy);
          device.elementwise().leaky_relu_backward(queue, slope, y.cview(), dy.cview(), dx.view());
          sink.put(0, dx);
        });
  }
  return y;
}

Tensor add(Context& context, const Tensor& a, const Tensor& b, Activation activation) {
  check_same("add", a, b);
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, a.shape(), a.dtype());
  device.elementwise().add_activate(queue, activation, a.cview(), b.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record(
        "add", y, {a, b},
        [&device, &queue, activation, y = activation == Activation::kNone ? Tensor{} : y](
            const Tensor& dy, GradSink& sink) {
          const Tensor dz = before_activation(device, queue, activation, y, dy);
          sink.put(0, dz);
          sink.put(1, dz);
        });
  }
  return y;
}

Tensor multiply(Context& context, const Tensor& a, const Tensor& b) {
  check_same("multiply", a, b);
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, a.shape(), a.dtype());
  device.elementwise().multiply(queue, a.cview(), b.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("multiply", y, {a, b},
                         [&device, &queue, a, b](const Tensor& dy, GradSink& sink) {
                           if (sink.wants(0)) {
                             const Tensor da = sink.make(0);
                             device.elementwise().multiply(queue, dy.cview(), b.cview(), da.view());
                             sink.put(0, da);
                           }
                           if (sink.wants(1)) {
                             const Tensor db = sink.make(1);
                             device.elementwise().multiply(queue, dy.cview(), a.cview(), db.view());
                             sink.put(1, db);
                           }
                         });
  }
  return y;
}

Tensor scale(Context& context, const Tensor& x, double factor) {
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, x.shape(), x.dtype());
  device.elementwise().scale(queue, factor, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("scale", y, {x},
                         [&device, &queue, factor](const Tensor& dy, GradSink& sink) {
                           const Tensor dx = sink.make(0);
                           device.elementwise().scale(queue, factor, dy.cview(), dx.view());
                           sink.put(0, dx);
                         });
  }
  return y;
}

Tensor sum(Context& context, const Tensor& x) {
  one_shard_only(context, "sum");
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, {}, x.dtype());
  device.reduce().sum(queue, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("sum", y, {x}, [&device, &queue, x](const Tensor& dy, GradSink& sink) {
      const Tensor dx = sink.make(0);
      double seed = 0;
      if (dy.dtype() == DType::kF64) {
        seed = copy_to_host<double>(device, queue, dy)[0];
      } else {
        seed = static_cast<double>(copy_to_host<float>(device, queue, dy)[0]);
      }
      device.elementwise().fill(queue, seed, dx.view());
      sink.put(0, dx);
    });
  }
  return y;
}

Tensor reshape(Context& context, const Tensor& x, const Shape& shape) {
  Tensor y = x.reshaped(shape);
  if (context.tape != nullptr) {
    context.tape->record("reshape", y, {x}, [from = x.shape()](const Tensor& dy, GradSink& sink) {
      sink.put(0, dy.reshaped(from));
    });
  }
  return y;
}

namespace {

Tensor cast(Context& context, const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) {
    return x;
  }
  Device& device = context.device;
  Queue& queue = context.queue;
  Tensor y = Tensor::empty(device, x.shape(), dtype);
  device.elementwise().cast(queue, x.cview(), y.view());
  if (context.tape != nullptr) {
    context.tape->record("cast", y, {x}, [&device, &queue](const Tensor& dy, GradSink& sink) {
      const Tensor dx = sink.make(0);
      device.elementwise().cast(queue, dy.cview(), dx.view());
      sink.put(0, dx);
    });
  }
  return y;
}

}  // namespace

Tensor into_network(Context& context, const Tensor& x) {
  return context.bf16 ? cast(context, x, DType::kBf16) : x;
}

Tensor out_of_network(Context& context, const Tensor& y) {
  return y.dtype() == DType::kBf16 ? cast(context, y, DType::kF32) : y;
}

Tensor from_bytes(Context& context, const Tensor& x, double factor, double shift) {
  Tensor y = Tensor::empty(context.device, x.shape());
  context.device.elementwise().cast_u8(context.queue, x.cview(), factor, shift, y.view());
  return y;
}

bool all_finite(Context& context, const Tensor& x) {
  return context.device.reduce().all_finite(context.queue, x.cview());
}

void copy(Context& context, const Tensor& source, const Tensor& target) {
  check_same("copy", source, target);
  context.device.elementwise().scale(context.queue, 1.0, source.cview(), target.view());
}

}  // namespace gentrain::ops
