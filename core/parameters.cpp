// ParameterSet: registration, the arena and initial values.
#include "core/parameters.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/random.h"
#include "kernels/shared_blocks.h"

namespace gentrain {

namespace {

constexpr std::int64_t kAlignElements = 16;

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1) + 1;
}

}  // namespace

ParameterSet::ParameterSet() : id_(next_id()) {}

int ParameterSet::add(std::string name, const Shape& shape, Initializer initializer,
                      std::int64_t fan_in, std::int64_t fan_out) {
  return append({.name = std::move(name),
                 .shape = shape,
                 .initializer = initializer,
                 .fan_in = fan_in,
                 .fan_out = fan_out});
}

int ParameterSet::add_statistic(std::string name, const Shape& shape, Initializer::Kind initial,
                                double decay) {
  if (!(decay >= 0 && decay < 1)) {
    throw ShapeError(
        fmt::format("statistic {}: the decay is {} but must be in [0, 1)", name, decay));
  }
  return append({.name = std::move(name),
                 .shape = shape,
                 .initializer = {initial},
                 .role = ParameterRole::kStatistic,
                 .decay = decay});
}

void ParameterSet::add_averages(double decay, const std::function<void()>& registration) {
  if (!(decay > 0 && decay < 1)) {
    throw ShapeError(fmt::format("averages: the decay is {} but must be in (0, 1)", decay));
  }
  averaging_ = decay;
  try {
    registration();
  } catch (...) {
    averaging_ = 0;
    throw;
  }
  averaging_ = 0;
}

void ParameterSet::make_average(ParameterInfo& info) const {
  const int of = find(info.name);
  if (of < 0 || this->info(of).shape != info.shape) {
    throw ShapeError(
        fmt::format("average of {} {}: there is {}", info.name, info.shape.str(),
                    of < 0 ? "no such parameter" : "one of " + this->info(of).shape.str()));
  }
  info.name = "average/" + info.name;
  info.role = ParameterRole::kAverage;
  info.decay = averaging_;
  info.average_of = of;
}

int ParameterSet::append(ParameterInfo info) {
  if (arena_.defined()) {
    throw Error(fmt::format("parameter {} is registered after the arena was made", info.name));
  }
  if (averaging_ > 0) {
    make_average(info);
  } else if (exchanged_elements_ < arena_elements_) {
    throw Error(fmt::format("parameter {} is registered behind averages", info.name));
  }
  if (find(info.name) >= 0) {
    throw ShapeError(fmt::format("two parameters are named {}", info.name));
  }
  const std::int64_t end = arena_elements_ + (info.shape.elements() + kAlignElements - 1) /
                                                 kAlignElements * kAlignElements;
  if (end > Shape::kMaxElements) {
    throw ShapeError(fmt::format(
        "parameter {}: {} elements behind {} others are too many: at most {}", info.name,
        info.shape.elements(), arena_elements_, std::int64_t{Shape::kMaxElements}));
  }
  info.offset = arena_elements_;
  infos_.push_back(std::move(info));
  arena_elements_ = end;
  exchanged_elements_ = averaging_ > 0 ? exchanged_elements_ : end;
  return size() - 1;
}

void ParameterSet::allocate(Device& device, Queue& queue, DType dtype) {
  take_arena(Tensor::empty(device, {arena_elements_}, dtype));
  if (arena_elements_ > 0) {
    device.elementwise().fill(queue, 0.0, arena_.view());
  }
}

void ParameterSet::allocate_frozen(Device& device, Queue& queue, DType dtype,
                                   const std::shared_ptr<SharedBlocks>& blocks,
                                   const std::function<void()>& fill) {
  const std::size_t bytes = static_cast<std::size_t>(arena_elements_) * size_of(dtype);
  const auto take = [&](void* memory) {
    take_arena(
        Tensor::over(std::make_shared<Buffer>(blocks, memory, bytes), {arena_elements_}, dtype));
  };
  void* shared = nullptr;
  if (blocks != nullptr && device.share(blocks)) {
    shared = blocks->get({}, bytes, [&](void* memory) {
      take(memory);
      device.elementwise().fill(queue, 0.0, arena_.view());
      fill();
      queue.wait();
    });
  }
  if (shared == nullptr) {
    allocate(device, queue, dtype);
    fill();
    mark_changed();
  } else {
    take(shared);
  }
}

void ParameterSet::take_arena(Tensor arena) {
  arena_ = std::move(arena);
  arena_.buffer().divide(infos_.size());
  mark_changed();
  tensors_.clear();
  for (int i = 0; i < size(); ++i) {
    Tensor tensor = arena_.slice(info(i).offset, info(i).shape);
    tensor.set_grad_ref({GradRef::Kind::kParameter, i, id_});
    tensor.set_part(i);
    tensors_.push_back(tensor);
  }
}

void ParameterSet::initialize(Device& device, Queue& queue, RngKey key) {
  using Kind = Initializer::Kind;
  for (int i = 0; i < size(); ++i) {
    const ParameterInfo& p = info(i);
    const View values = tensors_[static_cast<std::size_t>(i)].view();
    const RngKey stream = key.fold(static_cast<std::uint64_t>(i));
    const auto fan_in = static_cast<double>(p.fan_in);
    const auto fan_out = static_cast<double>(p.fan_out);
    switch (p.initializer.kind) {
      case Kind::kZeros:
        device.elementwise().fill(queue, 0.0, values);
        break;
      case Kind::kOnes:
        device.elementwise().fill(queue, 1.0, values);
        break;
      case Kind::kConstant:
        device.elementwise().fill(queue, p.initializer.value, values);
        break;
      case Kind::kUniformFanIn: {
        const double bound = 1.0 / std::sqrt(fan_in);
        device.random().uniform(queue, stream, -bound, bound, values);
        break;
      }
      case Kind::kXavierUniform: {
        const double bound = std::sqrt(6.0 / (fan_in + fan_out));
        device.random().uniform(queue, stream, -bound, bound, values);
        break;
      }
      case Kind::kKaimingNormal:
        device.random().normal(queue, stream, 0.0, std::sqrt(2.0 / fan_in), values);
        break;
      case Kind::kNormal:
        device.random().normal(queue, stream, 0.0, p.initializer.stddev, values);
        break;
    }
  }
  reset_averages(device, queue);
}

void ParameterSet::reset_averages(Device& device, Queue& queue) {
  for (int i = 0; i < size(); ++i) {
    const int of = info(i).average_of;
    if (of >= 0 && info(i).shape.elements() > 0) {
      device.elementwise().scale(queue, 1.0, (*this)[of].cview(), (*this)[i].view());
    }
  }
  mark_changed();
}

int ParameterSet::find(const std::string& name) const {
  for (int i = 0; i < size(); ++i) {
    if (info(i).name == name) {
      return i;
    }
  }
  return -1;
}

bool ParameterSet::has_statistics() const {
  return std::any_of(infos_.begin(), infos_.end(),
                     [](const ParameterInfo& p) { return p.role == ParameterRole::kStatistic; });
}

std::int64_t ParameterSet::count() const {
  std::int64_t total = 0;
  for (const ParameterInfo& p : infos_) {
    total += p.role == ParameterRole::kTrained ? p.shape.elements() : 0;
  }
  return total;
}

}  // namespace gentrain
