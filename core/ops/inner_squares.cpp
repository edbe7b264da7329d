// The sum of inner squares: few passes over one map of many that a network has, so the host does
// it.
#include "core/ops/inner_squares.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/autograd.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::ops {

namespace {

/// Which elements of a map count.
struct Inside {
  std::int64_t n = 0, h = 1, w = 1, c = 0;
  std::int64_t border = 0;
  std::vector<bool> channels;  // by channel; empty: all

  /// Calls row(first) for the first element of each inner row of pixels, in order.
  template <class Row>
  void each_row(const Row& row) const {
    for (std::int64_t image = 0; image < n; ++image) {
      for (std::int64_t y = border; y < h - border; ++y) {
        row(static_cast<std::size_t>(((image * h + y) * w + border) * c));
      }
    }
  }
  [[nodiscard]] std::size_t row_elements() const {
    return static_cast<std::size_t>((w - 2 * border) * c);
  }
  [[nodiscard]] bool counts(std::size_t element_of_row) const {
    return channels.empty() || channels[element_of_row % static_cast<std::size_t>(c)];
  }
};

Inside inside_of(const Shape& shape, std::int64_t border, std::span<const std::int64_t> channels) {
  Inside inside;
  if (shape.rank() == 4) {
    inside = {shape[0], shape[1], shape[2], shape[3], border, {}};
  } else if (shape.rank() == 2) {
    inside = {shape[0], 1, 1, shape[1], 0, {}};
  } else {
    throw ShapeError(
        fmt::format("inner_square_sum: x must be [n, h, w, c] or [n, c] but is {}", shape.str()));
  }
  if (border < 0 || inside.h <= 2 * inside.border || inside.w <= 2 * inside.border) {
    throw ShapeError(
        fmt::format("inner_square_sum: x is {}, of which a border of {} pixels leaves nothing",
                    shape.str(), border));
  }
  inside.channels.resize(channels.empty() ? 0 : static_cast<std::size_t>(inside.c));
  for (const std::int64_t channel : channels) {
    if (channel < 0 || channel >= inside.c) {
      throw ShapeError(fmt::format("inner_square_sum: there is no channel {} of {}: {} are there",
                                   channel, shape.str(), inside.c));
    }
    if (inside.channels[static_cast<std::size_t>(channel)]) {
      throw ShapeError(fmt::format("inner_square_sum: channel {} is given twice", channel));
    }
    inside.channels[static_cast<std::size_t>(channel)] = true;
  }
  return inside;
}

template <class T>
double sum_of_squares(const std::vector<T>& x, const Inside& inside) {
  double sum = 0;
  inside.each_row([&](std::size_t first) {
    double row = 0;
    for (std::size_t i = 0; i < inside.row_elements(); ++i) {
      if (inside.counts(i)) {
        const auto value = static_cast<double>(x[first + i]);
        row += value * value;
      }
    }
    sum += row;
  });
  progress::tick();
  return sum;
}

/// factor * x inside, 0 elsewhere.
template <class T>
std::vector<T> scaled_inside(const std::vector<T>& x, const Inside& inside, double factor) {
  std::vector<T> y(x.size(), T{0});
  inside.each_row([&](std::size_t first) {
    for (std::size_t i = 0; i < inside.row_elements(); ++i) {
      if (inside.counts(i)) {
        y[first + i] = static_cast<T>(factor * static_cast<double>(x[first + i]));
      }
    }
  });
  progress::tick();
  return y;
}

template <class T>
InnerSquares square_sum(Context& context, const Tensor& x, Inside inside, double scale) {
  Device& device = context.device;
  Queue& queue = context.queue;
  InnerSquares result;
  result.sum = sum_of_squares(copy_to_host<T>(device, queue, x), inside);
  result.loss = Tensor::empty(device, {}, x.dtype());
  const T loss = static_cast<T>(scale * result.sum);
  copy_from_host<T>(device, queue, {&loss, 1}, result.loss);
  if (context.tape == nullptr) {
    return result;
  }
  context.tape->record(
      "inner_square_sum", result.loss, {x},
      [&device, &queue, x, inside = std::move(inside), scale](const Tensor& dy, GradSink& sink) {
        const auto factor = static_cast<double>(copy_to_host<T>(device, queue, dy)[0]);
        const Tensor dx = sink.make(0);
        copy_from_host<T>(
            device, queue,
            scaled_inside(copy_to_host<T>(device, queue, x), inside, 2 * scale * factor), dx);
        sink.put(0, dx);
      });
  return result;
}

}  // namespace

InnerSquares inner_square_sum(Context& context, const Tensor& x, std::int64_t border,
                              std::span<const std::int64_t> channels, double scale) {
  one_shard_only(context, "inner_square_sum");
  Inside inside = inside_of(x.shape(), border, channels);
  switch (x.dtype()) {
    case DType::kF32:
      return square_sum<float>(context, x, std::move(inside), scale);
    case DType::kF64:
      return square_sum<double>(context, x, std::move(inside), scale);
    default:
      throw ShapeError(
          fmt::format("inner_square_sum: x must be f32 or f64 but is {}", name_of(x.dtype())));
  }
}

}  // namespace gentrain::ops
