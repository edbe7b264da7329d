// Slices of arguments, and families that hand them to another device's kernels.
#include "kernels/parted_device.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/pointwise.h"
#include "kernels/progress.h"
#include "kernels/row_parts.h"

namespace gentrain {

namespace {

/// Parts, who runs them, and a queue for each but the first, which has the caller's.
class Team {
 public:
  Team(Device& device, int parts, RunParts run) : parts_(parts), run_(std::move(run)) {
    for (int part = 1; part < parts; ++part) {
      queues_.push_back(device.make_queue());
    }
  }

  [[nodiscard]] int parts() const { return parts_; }
  void run(Queue& queue, const std::function<void(Queue&, int part)>& work) const {
    run_(parts_, [&](int part) {
      work(part == 0 ? queue : *queues_[static_cast<std::size_t>(part) - 1], part);
    });
  }
  /// The same of pieces, as many for each part, one behind the other.
  template <class Piece>
  void run(Queue& queue, const std::vector<Piece>& pieces,
           const std::function<void(Queue&, const Piece&)>& work) const {
    const std::size_t each = pieces.size() / static_cast<std::size_t>(parts_);
    run(queue, [&](Queue& own, int part) {
      for (std::size_t i = 0; i < each; ++i) {
        work(own, pieces[static_cast<std::size_t>(part) * each + i]);
        progress::tick();
      }
    });
  }

 private:
  int parts_;
  RunParts run_;
  std::vector<std::unique_ptr<Queue>> queues_;
};

std::size_t bytes_before(const ConstView& view, const Rows& rows) {
  return static_cast<std::size_t>(rows.first * view.shape[2] * view.shape[3]) * size_of(view.dtype);
}

/// Rows of an image [1, h, w, c].
ConstView rows_of(const ConstView& view, const Rows& rows) {
  return {view.as<std::byte>() + bytes_before(view, rows),
          view.dtype,
          {1, rows.size(), view.shape[2], view.shape[3]}};
}
View rows_of(const View& view, const Rows& rows) {
  return {view.as<std::byte>() + bytes_before(view, rows),
          view.dtype,
          {1, rows.size(), view.shape[2], view.shape[3]}};
}

/// Whether views are there with these shapes: else the kernels say what is wrong with the whole.
bool fit(const ConstView& a, const Shape& a_shape, const ConstView& b, const Shape& b_shape) {
  return a.present() && b.present() && a.shape == a_shape && b.shape == b_shape;
}

/// Pieces of a convolution: the parts, each in several where it would take longer than a second or
/// two, so that it can be told from one that hangs.
int pieces_of(const ConvGeometry& geometry, int parts) {
  constexpr double kProducts = 68719476736.0;  // 2^36, of a piece
  constexpr double kMostPieces = 1024;         // of a part
  const double products =
      static_cast<double>(geometry.y_shape().elements()) *
      static_cast<double>(geometry.kh * geometry.kw * (geometry.c / geometry.groups));
  return parts * (1 + static_cast<int>(std::min(kMostPieces, products / parts / kProducts)));
}

class PartedConv final : public ConvKernels {
 public:
  PartedConv(ConvKernels& whole, const Team& team) : whole_(whole), team_(team) {}

  void forward(Queue& queue, const ConvGeometry& geometry, ConstView x, const Weights& w,
               ConstView bias, Activation activation, View y) override {
    check(geometry);
    const auto parts = forward_parts(geometry, pieces_of(geometry, team_.parts()));
    if (parts.empty() || !fit(x, geometry.x_shape(), y, geometry.y_shape())) {
      whole_.forward(queue, geometry, x, w, bias, activation, y);
      return;
    }
    team_.run<ConvPart>(queue, parts, [&](Queue& own, const ConvPart& part) {
      whole_.forward(own, part.geometry, rows_of(x, part.reads), w, bias, activation,
                     rows_of(y, part.writes));
    });
  }

  void backward_data(Queue& queue, const ConvGeometry& geometry, ConstView dy, const Weights& w,
                     View dx) override {
    check(geometry);
    const auto parts = backward_parts(geometry, pieces_of(geometry, team_.parts()));
    if (parts.empty() || !fit(dy, geometry.y_shape(), dx, geometry.x_shape())) {
      whole_.backward_data(queue, geometry, dy, w, dx);
      return;
    }
    team_.run<ConvPart>(queue, parts, [&](Queue& own, const ConvPart& part) {
      whole_.backward_data(own, part.geometry, rows_of(dy, part.reads), w,
                           rows_of(dx, part.writes));
    });
  }

  void backward_weights(Queue& queue, const ConvGeometry& geometry, ConstView x, ConstView dy,
                        View dw, View dbias) override {
    whole_.backward_weights(queue, geometry, x, dy, dw, dbias);
  }
  [[nodiscard]] bool fuses_max_pool(const ConvGeometry& geometry) const override {
    return whole_.fuses_max_pool(geometry);
  }
  void pool_forward(Queue& queue, const ConvGeometry& geometry, ConstView x, const Weights& w,
                    ConstView bias, Activation activation, PooledViews result) override {
    whole_.pool_forward(queue, geometry, x, w, bias, activation, result);
  }
  void pool_backward_data(Queue& queue, const ConvGeometry& geometry, ConstView dp,
                          ConstView argmax, const Weights& w, View dx) override {
    whole_.pool_backward_data(queue, geometry, dp, argmax, w, dx);
  }
  void pool_backward_weights(Queue& queue, const ConvGeometry& geometry, ConstView x, ConstView dp,
                             ConstView argmax, View dw, View dbias) override {
    whole_.pool_backward_weights(queue, geometry, x, dp, argmax, dw, dbias);
  }

 private:
  ConvKernels& whole_;
  const Team& team_;
};

class PartedPool final : public PoolKernels {
 public:
  PartedPool(PoolKernels& whole, const Team& team) : whole_(whole), team_(team) {}

  void max_forward(Queue& queue, const PoolGeometry& geometry, ConstView x, View y,
                   View argmax) override {
    check(geometry);
    const auto parts = forward_parts(geometry, team_.parts());
    if (parts.empty() || !fit(x, geometry.x_shape(), y, geometry.y_shape()) ||
        !fit(y, geometry.y_shape(), argmax, geometry.y_shape())) {
      whole_.max_forward(queue, geometry, x, y, argmax);
      return;
    }
    team_.run<PoolPart>(queue, parts, [&](Queue& own, const PoolPart& part) {
      whole_.max_forward(own, part.geometry, rows_of(x, part.reads), rows_of(y, part.writes),
                         rows_of(argmax, part.writes));
    });
  }

  void max_backward(Queue& queue, const PoolGeometry& geometry, ConstView dy, ConstView argmax,
                    View dx) override {
    check(geometry);
    const auto parts = backward_parts(geometry, team_.parts());
    if (parts.empty() || !fit(dy, geometry.y_shape(), dx, geometry.x_shape()) ||
        !fit(dy, geometry.y_shape(), argmax, geometry.y_shape())) {
      whole_.max_backward(queue, geometry, dy, argmax, dx);
      return;
    }
    team_.run<PoolPart>(queue, parts, [&](Queue& own, const PoolPart& part) {
      whole_.max_backward(own, part.geometry, rows_of(dy, part.reads), rows_of(argmax, part.reads),
                          rows_of(dx, part.writes));
    });
  }

  void average_forward(Queue& queue, const PoolGeometry& geometry, ConstView x, View y) override {
    check(geometry);
    const auto parts = forward_parts(geometry, team_.parts());
    if (parts.empty() || !fit(x, geometry.x_shape(), y, geometry.y_shape())) {
      whole_.average_forward(queue, geometry, x, y);
      return;
    }
    team_.run<PoolPart>(queue, parts, [&](Queue& own, const PoolPart& part) {
      whole_.average_forward(own, part.geometry, rows_of(x, part.reads), rows_of(y, part.writes));
    });
  }

  void average_backward(Queue& queue, const PoolGeometry& geometry, ConstView dy,
                        View dx) override {
    check(geometry);
    const auto parts = backward_parts(geometry, team_.parts());
    if (parts.empty() || !fit(dy, geometry.y_shape(), dx, geometry.x_shape())) {
      whole_.average_backward(queue, geometry, dy, dx);
      return;
    }
    team_.run<PoolPart>(queue, parts, [&](Queue& own, const PoolPart& part) {
      whole_.average_backward(own, part.geometry, rows_of(dy, part.reads),
                              rows_of(dx, part.writes));
    });
  }

 private:
  PoolKernels& whole_;
  const Team& team_;
};

/// Elements of a view, or with no part all of it.
ConstView slice(const ConstView& view, const std::optional<Rows>& part) {
  if (!part) {
    return view;
  }
  return {view.as<std::byte>() + static_cast<std::size_t>(part->first) * size_of(view.dtype),
          view.dtype,
          {part->size()}};
}

/// work(queue, elements, y of those); with no elements, and y, for all at once: where there are
/// few, or a source is not as long. Parts begin on multiples of 64 elements.
template <class Work>
void cut(const Team& team, Queue& queue, std::initializer_list<ConstView> sources, const View& y,
         const Work& work) {
  constexpr std::int64_t kLeast = std::int64_t{1} << 14;  // a part of fewer is done by then
  constexpr std::int64_t kStep = 64;
  const std::int64_t all = y.elements();
  const bool fits = std::ranges::all_of(sources, [&](const ConstView& source) {
    return source.present() && source.elements() == all;
  });
  if (!y.present() || !fits || team.parts() == 1 || all < kLeast * team.parts()) {
    work(queue, std::nullopt, y);
    return;
  }
  const auto bound = [&](int part) {
    return part == team.parts() ? all : all * part / team.parts() / kStep * kStep;
  };
  team.run(queue, [&](Queue& own, int part) {
    const Rows rows{bound(part), bound(part + 1)};
    work(own, rows,
         View{y.as<std::byte>() + static_cast<std::size_t>(rows.first) * size_of(y.dtype),
              y.dtype,
              {rows.size()}});
  });
}

class PartedElementwise final : public ElementwiseKernels {
 public:
  PartedElementwise(ElementwiseKernels& whole, const Team& team) : whole_(whole), team_(team) {}

  void activate(Queue& queue, Activation activation, ConstView x, View y) override {
    cut(team_, queue, {x}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.activate(own, activation, slice(x, part), to);
    });
  }
  void activate_backward(Queue& queue, Activation activation, ConstView y, ConstView dy,
                         View dx) override {
    cut(team_, queue, {y, dy}, dx, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.activate_backward(own, activation, slice(y, part), slice(dy, part), to);
    });
  }
  void leaky_relu(Queue& queue, double slope, ConstView x, View y) override {
    cut(team_, queue, {x}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.leaky_relu(own, slope, slice(x, part), to);
    });
  }
  void leaky_relu_backward(Queue& queue, double slope, ConstView y, ConstView dy,
                           View dx) override {
    cut(team_, queue, {y, dy}, dx, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.leaky_relu_backward(own, slope, slice(y, part), slice(dy, part), to);
    });
  }
  void add_activate(Queue& queue, Activation activation, ConstView a, ConstView b,
                    View y) override {
    cut(team_, queue, {a, b}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.add_activate(own, activation, slice(a, part), slice(b, part), to);
    });
  }
  void add(Queue& queue, ConstView a, ConstView b, View y) override {
    cut(team_, queue, {a, b}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.add(own, slice(a, part), slice(b, part), to);
    });
  }
  void multiply(Queue& queue, ConstView a, ConstView b, View y) override {
    cut(team_, queue, {a, b}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.multiply(own, slice(a, part), slice(b, part), to);
    });
  }
  void scale(Queue& queue, double factor, ConstView x, View y) override {
    cut(team_, queue, {x}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.scale(own, factor, slice(x, part), to);
    });
  }
  void fill(Queue& queue, double value, View y) override {
    cut(team_, queue, {}, y, [&](Queue& own, const std::optional<Rows>& /*part*/, View to) {
      whole_.fill(own, value, to);
    });
  }
  void cast_u8(Queue& queue, ConstView x, double factor, double shift, View y) override {
    cut(team_, queue, {x}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.cast_u8(own, slice(x, part), factor, shift, to);
    });
  }
  void cast(Queue& queue, ConstView x, View y) override {
    cut(team_, queue, {x}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.cast(own, slice(x, part), to);
    });
  }

 private:
  ElementwiseKernels& whole_;
  const Team& team_;
};

/// Those of one tensor are cut; functions of two tensors, whose sums a cut would reorder, and what
/// moves positions are computed whole.
class PartedPointwise final : public PointwiseKernels {
 public:
  PartedPointwise(PointwiseKernels& whole, const Team& team) : whole_(whole), team_(team) {}

  void forward(Queue& queue, const PointwiseRule& rule, ConstView x, View y) override {
    cut(team_, queue, {x}, y, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.forward(own, rule, slice(x, part), to);
    });
  }
  void backward(Queue& queue, const PointwiseRule& rule, ConstView x, ConstView dy,
                View dx) override {
    cut(team_, queue, {x, dy}, dx, [&](Queue& own, const std::optional<Rows>& part, View to) {
      whole_.backward(own, rule, slice(x, part), slice(dy, part), to);
    });
  }
  void binary(Queue& queue, BinaryFunction function, ConstView a, ConstView b, View y) override {
    whole_.binary(queue, function, a, b, y);
  }
  void binary_backward(Queue& queue, BinaryFunction function, const BinarySources& sources, View da,
                       View db, ShardRows shards) override {
    whole_.binary_backward(queue, function, sources, da, db, shards);
  }
  void permute(Queue& queue, std::span<const int> axes, ConstView x, View y) override {
    whole_.permute(queue, axes, x, y);
  }
  void axis_map(Queue& queue, const AxisTerms& terms, ConstView x, View y) override {
    whole_.axis_map(queue, terms, x, y);
  }
  void axis_map_backward(Queue& queue, const AxisTerms& terms, ConstView dy, View dx) override {
    whole_.axis_map_backward(queue, terms, dy, dx);
  }
  void softmax(Queue& queue, bool log, ConstView x, View y) override {
    whole_.softmax(queue, log, x, y);
  }
  void softmax_backward(Queue& queue, bool log, ConstView y, ConstView dy, View dx) override {
    whole_.softmax_backward(queue, log, y, dy, dx);
  }

 private:
  PointwiseKernels& whole_;
  const Team& team_;
};

class PartedDevice final : public Device {
 public:
  PartedDevice(Device& device, int parts, RunParts run)
      : device_(device),
        team_(device, parts, std::move(run)),
        conv_(device.conv(), team_),
        pool_(device.pool(), team_),
        elementwise_(device.elementwise(), team_),
        pointwise_(device.pointwise(), team_) {}

  [[nodiscard]] const DeviceIdentity& identity() const override { return device_.identity(); }
  CachingAllocator& memory() override { return device_.memory(); }
  std::unique_ptr<Queue> make_queue() override { return device_.make_queue(); }
  void to_device(Queue& queue, const void* host, void* device, std::size_t bytes) override {
    device_.to_device(queue, host, device, bytes);
  }
  void to_host(Queue& queue, const void* device, void* host, std::size_t bytes) override {
    device_.to_host(queue, device, host, bytes);
  }
  bool share(const std::shared_ptr<SharedBlocks>& blocks) override { return device_.share(blocks); }

  ConvKernels& conv() override { return conv_; }
  PoolKernels& pool() override { return pool_; }
  MatmulKernels& matmul() override { return device_.matmul(); }
  ElementwiseKernels& elementwise() override { return elementwise_; }
  ReduceKernels& reduce() override { return device_.reduce(); }
  LossKernels& loss() override { return device_.loss(); }
  NormKernels& norm() override { return device_.norm(); }
  PixelKernels& pixel() override { return device_.pixel(); }
  PointwiseKernels& pointwise() override { return pointwise_; }
  RandomKernels& random() override { return device_.random(); }
  UpdateKernels& update() override { return device_.update(); }

 private:
  Device& device_;
  Team team_;
  PartedConv conv_;
  PartedPool pool_;
  PartedElementwise elementwise_;
  PartedPointwise pointwise_;
};

}  // namespace

std::unique_ptr<Device> make_parted_device(Device& device, int parts, RunParts run) {
  constexpr int kMostParts = 64;
  if (parts < 1 || parts > kMostParts) {
    throw ShapeError(
        fmt::format("an operation was to be cut into {} parts: 1 to {} can be", parts, kMostParts));
  }
  return std::make_unique<PartedDevice>(device, parts, std::move(run));
}

}  // namespace gentrain
