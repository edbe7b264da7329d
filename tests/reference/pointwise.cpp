// Functions of one and two tensors and maps along axes, element by element.
#include "kernels/pointwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/reference/families.h"
#include "tests/reference/functions.h"
#include "tests/reference/values.h"

namespace gentrain::reference {

namespace {

double apply(BinaryFunction function, double a, double b) {
  switch (function) {
    case BinaryFunction::kAdd:
      return a + b;
    case BinaryFunction::kSubtract:
      return a - b;
    case BinaryFunction::kMultiply:
      return a * b;
    case BinaryFunction::kDivide:
      return a / b;
    case BinaryFunction::kMaximum:
      return a > b || std::isnan(a) ? a : b;
    case BinaryFunction::kMinimum:
      break;
  }
  return a < b || std::isnan(a) ? a : b;
}

/// The derivatives by a and by b.
struct Derivatives {
  double a, b;
};

Derivatives derivatives(BinaryFunction function, double a, double b) {
  const double share = a == b ? 0.5 : 1;
  switch (function) {
    case BinaryFunction::kAdd:
      return {1, 1};
    case BinaryFunction::kSubtract:
      return {1, -1};
    case BinaryFunction::kMultiply:
      return {b, a};
    case BinaryFunction::kDivide:
      return {1 / b, -a / (b * b)};
    case BinaryFunction::kMaximum:
      return {a < b ? 0 : share, a > b ? 0 : share};
    case BinaryFunction::kMinimum:
      break;
  }
  return {a > b ? 0 : share, a < b ? 0 : share};
}

/// The place in a tensor of shape `part` for element i of one of shape `whole`, along whose axes it
/// may be repeated.
std::int64_t place_of(std::int64_t i, const Shape& whole, const Shape& part) {
  std::int64_t place = 0;
  std::int64_t step = 1;
  for (int axis = whole.rank() - 1; axis >= 0; --axis) {
    place += part[axis] == 1 ? 0 : i % whole[axis] * step;
    step *= part[axis];
    i /= whole[axis];
  }
  return place;
}

/// Sums of gradients for one tensor: over the rows of each shard, then over the tree.
class Sums {
 public:
  Sums(const Shape& whole, const Shape& part, ShardRows shards) : whole_(whole), part_(part) {
    const bool over_shards = !shards.empty() && part[0] == 1 && whole[0] != 1;
    for (std::size_t shard = 0; over_shards && shard < shards.size(); ++shard) {
      last_row_.push_back((shard == 0 ? 0 : last_row_.back()) + shards[shard]);
    }
    sums_.assign(std::max<std::size_t>(1, last_row_.size()), Values(part));
  }

  void add(std::int64_t i, double gradient) {
    sums_[shard_of(i)][place_of(i, whole_, part_)] += gradient;
  }

  Values tree() {
    for (std::size_t step = 1; step < sums_.size(); step *= 2) {
      for (std::size_t shard = 0; shard < sums_.size(); shard += 2 * step) {
        for (std::int64_t i = 0; i < part_.elements(); ++i) {
          sums_[shard][i] += sums_[shard + step][i];
        }
      }
    }
    return sums_[0];
  }

 private:
  [[nodiscard]] std::size_t shard_of(std::int64_t i) const {
    std::size_t shard = 0;
    while (!last_row_.empty() && i / (whole_.elements() / whole_[0]) >= last_row_[shard]) {
      ++shard;
    }
    return shard;
  }

  Shape whole_, part_;
  std::vector<std::int64_t> last_row_;  // of each shard, one behind it
  std::vector<Values> sums_;
};

bool needs_sources(BinaryFunction function) {
  return function != BinaryFunction::kAdd && function != BinaryFunction::kSubtract;
}

/// A source that need not be there: then zeros of its gradient's shape, or of dy's.
Values source(const Call& call, const char* name, BinaryFunction function, ConstView source,
              View gradient, ConstView dy) {
  if (needs_sources(function)) {
    return call.load(name, source, source.shape);
  }
  return Values(gradient.present() ? gradient.shape : dy.shape);
}

class Pointwise final : public PointwiseKernels {
 public:
  void forward(Queue& /*queue*/, const PointwiseRule& rule, ConstView x, View y) override {
    check(rule);
    const Call call("pointwise", y.dtype);
    Values values = call.load_elements("x", x, y.elements());
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      values[i] = value_at(rule, values[i]);
    }
    call.store_elements("y", values, y);
  }

  void backward(Queue& /*queue*/, const PointwiseRule& rule, ConstView x, ConstView dy,
                View dx) override {
    check(rule);
    const Call call("pointwise backward", dx.dtype);
    const Values values = call.load_elements("x", x, dx.elements());
    Values gradient = call.load_elements("dy", dy, dx.elements());
    for (std::int64_t i = 0; i < values.elements(); ++i) {
      gradient[i] *= derivative_at(rule, values[i]);
    }
    call.store_elements("dx", gradient, dx);
  }

  void binary(Queue& /*queue*/, BinaryFunction function, ConstView a, ConstView b,
              View y) override {
    const Call call("binary", y.dtype);
    const Values first = call.load("a", a, a.shape);
    const Values second = call.load("b", b, b.shape);
    Values result(repeated_shape("binary", a.shape, b.shape));
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result[i] = apply(function, first[place_of(i, result.shape(), a.shape)],
                        second[place_of(i, result.shape(), b.shape)]);
    }
    call.store("y", result, y);
  }

  void binary_backward(Queue& /*queue*/, BinaryFunction function, const BinarySources& sources,
                       View da, View db, ShardRows shards) override {
    const Call call("binary backward", sources.dy.dtype);
    const Values a = source(call, "a", function, sources.a, da, sources.dy);
    const Values b = source(call, "b", function, sources.b, db, sources.dy);
    const Shape shape = repeated_shape("binary backward", a.shape(), b.shape());
    const Values dy = call.load("dy", sources.dy, shape);
    check_side_by_side("binary backward", shards, shape);
    Sums sums_a(shape, a.shape(), shards);
    Sums sums_b(shape, b.shape(), shards);
    for (std::int64_t i = 0; i < dy.elements(); ++i) {
      const Derivatives by =
          derivatives(function, a[place_of(i, shape, a.shape())], b[place_of(i, shape, b.shape())]);
      sums_a.add(i, dy[i] * by.a);
      sums_b.add(i, dy[i] * by.b);
    }
    if (da.present()) {
      call.store("da", sums_a.tree(), da);
    }
    if (db.present()) {
      call.store("db", sums_b.tree(), db);
    }
  }

  void permute(Queue& /*queue*/, std::span<const int> axes, ConstView x, View y) override {
    const Call call("permute", y.dtype);
    const Values values = call.load("x", x, x.shape);
    Values result(permuted("permute", x.shape, axes));
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      result[i] = values[source_of(i, axes, x.shape, result.shape())];
    }
    call.store("y", result, y);
  }

  void axis_map(Queue& /*queue*/, const AxisTerms& terms, ConstView x, View y) override {
    check("axis map", terms);
    const Call call("axis map", y.dtype);
    const Values values = call.load("x", x, x.shape);
    check_axis_shapes("axis map", terms, x.shape, y.shape);
    Values result(y.shape);
    for (std::int64_t i = 0; i < result.elements(); ++i) {
      const std::int64_t inner = i % y.shape[2];
      const std::int64_t outer = i / y.shape[2] / y.shape[1];
      const auto to = static_cast<std::size_t>(i / y.shape[2] % y.shape[1]);
      result[i] = terms.begins[to] == terms.begins[to + 1] ? static_cast<double>(terms.fill) : 0;
      for (auto t = static_cast<std::size_t>(terms.begins[to]);
           t < static_cast<std::size_t>(terms.begins[to + 1]); ++t) {
        result[i] += static_cast<double>(terms.weights[t]) *
                     values(outer, static_cast<std::int64_t>(terms.sources[t]), inner);
      }
    }
    call.store("y", result, y);
  }

  void axis_map_backward(Queue& /*queue*/, const AxisTerms& terms, ConstView dy, View dx) override {
    check("axis map backward", terms);
    const Call call("axis map backward", dx.dtype);
    const Values gradient = call.load("dy", dy, dy.shape);
    check_axis_shapes("axis map backward", terms, dx.shape, dy.shape);
    Values result(dx.shape);
    for (std::int64_t i = 0; i < gradient.elements(); ++i) {
      const std::int64_t inner = i % dy.shape[2];
      const std::int64_t outer = i / dy.shape[2] / dy.shape[1];
      const auto to = static_cast<std::size_t>(i / dy.shape[2] % dy.shape[1]);
      for (auto t = static_cast<std::size_t>(terms.begins[to]);
           t < static_cast<std::size_t>(terms.begins[to + 1]); ++t) {
        result(outer, static_cast<std::int64_t>(terms.sources[t]), inner) +=
            static_cast<double>(terms.weights[t]) * gradient[i];
      }
    }
    call.store("dx", result, dx);
  }

  void softmax(Queue& /*queue*/, bool log, ConstView x, View y) override {
    const Call call("softmax", y.dtype);
    Values values = call.load("x", x, x.shape);
    const std::int64_t k = last_extent("softmax", x.shape);
    for (std::int64_t row = 0; row < values.elements(); row += k) {
      double largest = -std::numeric_limits<double>::infinity();
      for (std::int64_t i = row; i < row + k; ++i) {
        largest = std::max(largest, values[i]);
      }
      double total = 0;
      for (std::int64_t i = row; i < row + k; ++i) {
        total += std::exp(values[i] - largest);
      }
      for (std::int64_t i = row; i < row + k; ++i) {
        const double logarithm = values[i] - largest - std::log(total);
        values[i] = log ? logarithm : std::exp(logarithm);
      }
    }
    call.store("y", values, y);
  }

  void softmax_backward(Queue& /*queue*/, bool log, ConstView y, ConstView dy, View dx) override {
    const Call call("softmax backward", dx.dtype);
    const Values values = call.load("y", y, y.shape);
    Values gradient = call.load("dy", dy, y.shape);
    const std::int64_t k = last_extent("softmax backward", y.shape);
    for (std::int64_t row = 0; row < values.elements(); row += k) {
      double total = 0;
      for (std::int64_t i = row; i < row + k; ++i) {
        total += log ? gradient[i] : gradient[i] * values[i];
      }
      for (std::int64_t i = row; i < row + k; ++i) {
        gradient[i] =
            log ? gradient[i] - std::exp(values[i]) * total : values[i] * (gradient[i] - total);
      }
    }
    call.store("dx", gradient, dx);
  }

 private:
  /// The place in x of element i of the result.
  static std::int64_t source_of(std::int64_t i, std::span<const int> axes, const Shape& x,
                                const Shape& y) {
    std::vector<std::int64_t> index(static_cast<std::size_t>(x.rank()));
    for (int axis = y.rank() - 1; axis >= 0; --axis) {
      index[static_cast<std::size_t>(axes[static_cast<std::size_t>(axis)])] = i % y[axis];
      i /= y[axis];
    }
    std::int64_t place = 0;
    for (int axis = 0; axis < x.rank(); ++axis) {
      place = place * x[axis] + index[static_cast<std::size_t>(axis)];
    }
    return place;
  }
};

}  // namespace

std::unique_ptr<PointwiseKernels> make_pointwise() {
  return std::make_unique<Pointwise>();
}

}  // namespace gentrain::reference
