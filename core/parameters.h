// The parameters of a model: named tensors in order of registration, all of them views into one
// arena.
//
// The arena is what optimizers, buckets, hashes and checkpoints work on; a gradient arena has the
// same layout. Parameters start on 64-byte boundaries, the gaps hold zeros.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/tensor.h"
#include "kernels/philox.h"

namespace gentrain {

/// Initial values of a parameter. fan_in and fan_out are given at registration.
struct Initializer {
  enum class Kind : std::uint8_t {
    kZeros,
    kOnes,
    kUniformFanIn,   // uniform in +-1/sqrt(fan_in)
    kXavierUniform,  // uniform in +-sqrt(6 / (fan_in + fan_out)); Glorot and Bengio 2010
    kKaimingNormal,  // normal, stddev sqrt(2 / fan_in); He et al. 2015, arXiv:1502.01852
    kNormal,         // normal, stddev `stddev`
    kConstant,       // `value`
  };
  Kind kind = Kind::kZeros;
  double stddev = 0;
  double value = 0;
};

/// Who changes a parameter.
enum class ParameterRole : std::uint8_t {
  kTrained,    // an optimizer, by its gradient
  kStatistic,  // it follows a mean of the data (batch norm's running statistics): in the place of a
               // gradient stands its value of this batch, and it becomes
               // decay * itself + (1 - decay) * that
  kAverage,    // it follows another parameter: behind each step it becomes
               // decay * itself + (1 - decay) * that one
};

struct ParameterInfo {
  std::string name;  // "conv1/weight"
  Shape shape;
  Initializer initializer;
  std::int64_t fan_in = 0;
  std::int64_t fan_out = 0;
  std::int64_t offset = 0;  // elements, in the arena
  ParameterRole role = ParameterRole::kTrained;
  double decay = 0;     // kStatistic: 0 <= decay < 1; kAverage: 0 < decay < 1
  int average_of = -1;  // kAverage: index of the parameter
};

class ParameterSet {
 public:
  ParameterSet();
  ~ParameterSet() = default;
  ParameterSet(const ParameterSet&) = delete;
  ParameterSet& operator=(const ParameterSet&) = delete;

  /// Registers a parameter and returns its index. Throws ShapeError if the name is taken or the
  /// arena would have more than Shape::kMaxElements, and Error after allocate().
  int add(std::string name, const Shape& shape, Initializer initializer, std::int64_t fan_in,
          std::int64_t fan_out);
  /// The same for a statistic, which starts at zeros or ones. Throws ShapeError also for a decay
  /// that is not in [0, 1).
  int add_statistic(std::string name, const Shape& shape, Initializer::Kind initial, double decay);
  /// Calls `registration`: what it registers under the name of a parameter that is there becomes
  /// the average of that one, average/NAME. Averages come behind all other parameters; nothing but
  /// averages can be registered behind them. Throws ShapeError for a decay that is not in (0, 1), a
  /// name that is not there and another shape.
  void add_averages(double decay, const std::function<void()>& registration);
  /// Makes the arena on a device; the values are zero. Throws DeviceError if the memory is not
  /// there.
  void allocate(Device& device, Queue& queue, DType dtype = DType::kF32);
  /// The same for values that never change, as the first of what `blocks` hold: `fill` writes them,
  /// in one process of the host; there the tensors stand already. In memory of its own where there
  /// are no blocks (null), the device takes none, or they have no room. Throws what `fill` throws,
  /// and as SharedBlocks::get.
  void allocate_frozen(Device& device, Queue& queue, DType dtype,
                       const std::shared_ptr<SharedBlocks>& blocks,
                       const std::function<void()>& fill);
  /// Initial values: a pure function of the key and each parameter's index; averages take those of
  /// their parameters. Only after allocate(), on its device.
  void initialize(Device& device, Queue& queue, RngKey key);
  /// Averages take the values of their parameters. Only after allocate(), on its device.
  void reset_averages(Device& device, Queue& queue);

  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] int size() const { return static_cast<int>(infos_.size()); }
  [[nodiscard]] const ParameterInfo& info(int index) const {
    return infos_[static_cast<std::size_t>(index)];
  }
  /// The parameter's tensor: a view into the arena whose gradient belongs to this set.
  [[nodiscard]] const Tensor& operator[](int index) const {
    return tensors_[static_cast<std::size_t>(index)];
  }
  /// Index of a name, or -1.
  [[nodiscard]] int find(const std::string& name) const;
  /// The whole arena [arena_elements()].
  [[nodiscard]] const Tensor& arena() const { return arena_; }
  [[nodiscard]] std::int64_t arena_elements() const { return arena_elements_; }
  /// Its first so many elements hold all but the averages: what has gradients and is exchanged.
  [[nodiscard]] std::int64_t exchanged_elements() const { return exchanged_elements_; }
  /// Whether some parameter is a statistic.
  [[nodiscard]] bool has_statistics() const;
  /// Number of values that an optimizer may change; neither gaps nor statistics nor averages
  /// count.
  [[nodiscard]] std::int64_t count() const;
  /// Must be called after the arena's values changed: all of them, or those of the parameters whose
  /// flag is set (one at least). Backends keep what they made of the weights of the others. Only
  /// after allocate().
  void mark_changed() { arena_.buffer().mark_changed(); }
  void mark_changed(const std::vector<bool>& parameters) {
    arena_.buffer().mark_changed(parameters);
  }

 private:
  int append(ParameterInfo info);
  void take_arena(Tensor arena);
  void make_average(ParameterInfo& info) const;

  std::uint64_t id_;
  std::vector<ParameterInfo> infos_;
  std::vector<Tensor> tensors_;
  Tensor arena_;
  std::int64_t arena_elements_ = 0;
  std::int64_t exchanged_elements_ = 0;
  double averaging_ = 0;  // in add_averages() its decay
};

}  // namespace gentrain
