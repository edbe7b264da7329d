// A tensor that is not repeated has its gradient written run by run. That of a repeated one is
// summed in f64, piece by piece of each run, and rounded once; of shards side by side once for each
// shard, in f32 from there on.
#include "kernels/cpu/binary.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "kernels/cpu/checks.h"
#include "kernels/cpu/queue.h"
#include "kernels/cpu/repeat.h"

namespace gentrain::cpu {

namespace {

constexpr std::int64_t kRunPiece = 1024;  // elements

/// The gradient of one of the two, over some rows.
struct Gradient {
  BinaryFunction function;
  int input;
  Shape a, b;
  const float* pa;  // null if not needed
  const float* pb;
  const float* dy;

  [[nodiscard]] std::int64_t elements() const { return (input == 0 ? a : b).elements(); }
};

/// A run of `g` from element `first` on.
simd::BinaryRun run_at(const Gradient& g, const RepeatLoop& loop, const RepeatLoop::Position& at,
                       std::int64_t first, std::int64_t count) {
  static constexpr float kNothing = 0;
  simd::BinaryRun run{&kNothing, true, &kNothing, true, g.dy + at.y + first, nullptr, count};
  if (g.pa != nullptr) {
    run.repeat_a = loop.repeats_a();
    run.a = g.pa + at.a + (run.repeat_a ? 0 : first);
  }
  if (g.pb != nullptr) {
    run.repeat_b = loop.repeats_b();
    run.b = g.pb + at.b + (run.repeat_b ? 0 : first);
  }
  return run;
}

void write(const simd::BinaryTable& table, const Gradient& g, float* result) {
  const RepeatLoop loop(g.a, g.b);
  loop.for_each_run([&](const RepeatLoop::Position& at) {
    simd::BinaryRun run = run_at(g, loop, at, 0, loop.run());
    run.y = result + (g.input == 0 ? at.a : at.b);
    table.gradient(static_cast<int>(g.function), g.input, run);
  });
}

/// `sums` has room for as many elements as the result.
void sum(const simd::BinaryTable& table, const Gradient& g, double* sums, float* result) {
  const RepeatLoop loop(g.a, g.b);
  const bool repeats = g.input == 0 ? loop.repeats_a() : loop.repeats_b();
  std::array<float, kRunPiece> piece{};
  std::fill_n(sums, g.elements(), 0.0);
  loop.for_each_run([&](const RepeatLoop::Position& at) {
    double* const place = sums + (g.input == 0 ? at.a : at.b);
    for (std::int64_t first = 0; first < loop.run(); first += kRunPiece) {
      const std::int64_t count = std::min(kRunPiece, loop.run() - first);
      simd::BinaryRun run = run_at(g, loop, at, first, count);
      run.y = piece.data();
      table.gradient(static_cast<int>(g.function), g.input, run);
      if (repeats) {
        *place += table.total(piece.data(), count);
      } else {
        table.accumulate(piece.data(), place + first, count);
      }
    }
  });
  std::transform(sums, sums + g.elements(), result, [](double s) { return static_cast<float>(s); });
}

void compute(const simd::BinaryTable& table, const Gradient& g, double* sums, float* result) {
  if (repeated_shape("binary backward", g.a, g.b).elements() == g.elements()) {
    write(table, g, result);
  } else {
    sum(table, g, sums, result);
  }
}

Shape with_rows(const Shape& shape, std::int64_t rows) {
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents.front() = rows;
  return Shape(extents);
}

/// Elements of one row.
std::int64_t row_of(const Shape& shape) {
  return with_rows(shape, 1).elements();
}

/// The rows of one shard out of those of all: what has one row for all of them stays as it is.
Gradient of_shard(const Gradient& whole, std::int64_t first, std::int64_t rows) {
  Gradient g = whole;
  const auto cut = [&](Shape& shape, const float*& p) {
    if (shape[0] != 1) {
      p = p == nullptr ? nullptr : p + first * row_of(shape);
      shape = with_rows(shape, rows);
    }
  };
  g.dy += first * row_of(repeated_shape("binary backward", whole.a, whole.b));
  cut(g.a, g.pa);
  cut(g.b, g.pb);
  return g;
}

/// For each shard, then pairs of neighbours until one is left. `parts` has room for all results.
void compute_shards(const simd::BinaryTable& table, const Gradient& whole, ShardRows shards,
                    double* sums, float* parts) {
  const std::int64_t elements = whole.elements();
  std::int64_t first = 0;
  float* part = parts;
  for (const std::int64_t rows : shards) {
    compute(table, of_shard(whole, first, rows), sums, part);
    first += rows;
    part += elements;
  }
  const std::int64_t count = std::ssize(shards);
  for (std::int64_t step = 1; step < count; step *= 2) {
    for (std::int64_t i = 0; i < count; i += 2 * step) {
      float* const to = parts + i * elements;
      const float* const from = to + step * elements;
      std::transform(to, to + elements, from, to, [](float x, float y) { return x + y; });
    }
  }
}

/// Whether gradients depend on the tensors.
bool needs_sources(BinaryFunction function) {
  return function != BinaryFunction::kAdd && function != BinaryFunction::kSubtract;
}

/// The shape of a source that need not be there: its gradient's, or dy's.
Shape shape_of(const Arguments& arguments, const char* name, ConstView source, View gradient,
               const BinaryPass& pass) {
  if (needs_sources(pass.function)) {
    arguments.require(name, source, source.shape);
    return source.shape;
  }
  return gradient.present() ? gradient.shape : pass.sources.dy.shape;
}

class Gradients {
 public:
  Gradients(const simd::BinaryTable& table, Queue& queue, const BinaryPass& pass)
      : table_(table), memory_(cpu_queue(queue).memory()), pass_(pass) {}

  void operator()(const Gradient& g, float* result) const {
    const auto elements = static_cast<std::size_t>(g.elements());
    const Shape& dy = pass_.sources.dy.shape;
    const bool over_shards =
        !pass_.shards.empty() && dy[0] != 1 && (g.input == 0 ? g.a : g.b)[0] == 1;
    const Buffer sums(memory_, elements * sizeof(double));
    if (!over_shards) {
      compute(table_, g, static_cast<double*>(sums.data()), result);
      return;
    }
    const Buffer parts(memory_, pass_.shards.size() * elements * sizeof(float));
    auto* const first = static_cast<float*>(parts.data());
    compute_shards(table_, g, pass_.shards, static_cast<double*>(sums.data()), first);
    std::copy_n(first, elements, result);
  }

 private:
  const simd::BinaryTable& table_;
  CachingAllocator& memory_;
  const BinaryPass& pass_;
};

}  // namespace

void binary_forward(const simd::BinaryTable& table, BinaryFunction function, ConstView a,
                    ConstView b, View y) {
  const Arguments arguments("binary");
  arguments.require("a", a, a.shape);
  arguments.require("b", b, b.shape);
  arguments.require("y", y, repeated_shape("binary", a.shape, b.shape));
  const RepeatLoop loop(a.shape, b.shape);
  loop.for_each_run([&](const RepeatLoop::Position& at) {
    table.forward(static_cast<int>(function),
                  {a.as<float>() + at.a, loop.repeats_a(), b.as<float>() + at.b, loop.repeats_b(),
                   nullptr, y.as<float>() + at.y, loop.run()});
  });
}

void binary_gradients(const simd::BinaryTable& table, Queue& queue, const BinaryPass& pass, View da,
                      View db) {
  const Arguments arguments("binary backward");
  const BinarySources& sources = pass.sources;
  const Shape a = shape_of(arguments, "a", sources.a, da, pass);
  const Shape b = shape_of(arguments, "b", sources.b, db, pass);
  arguments.require("dy", sources.dy, repeated_shape("binary backward", a, b));
  arguments.require_if_present("da", da, a);
  arguments.require_if_present("db", db, b);
  check_side_by_side("binary backward", pass.shards, sources.dy.shape);
  const bool needed = needs_sources(pass.function);
  const Gradient first{pass.function,
                       0,
                       a,
                       b,
                       needed ? sources.a.as<float>() : nullptr,
                       needed ? sources.b.as<float>() : nullptr,
                       sources.dy.as<float>()};
  Gradient second = first;
  second.input = 1;
  const Gradients gradients(table, queue, pass);
  if (da.present()) {
    gradients(first, da.as<float>());
  }
  if (db.present()) {
    gradients(second, db.as<float>());
  }
}

}  // namespace gentrain::cpu
