// bf16 arguments of a call as floats, and floats back as its bf16 results.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/buffer.h"
#include "kernels/cpu/backend.h"
#include "kernels/view.h"

namespace gentrain::cpu {

inline bool is_bf16(ConstView view) {
  return view.dtype == DType::kBf16;
}

/// What all families of kernels for bf16 have: those for f32, and what they are made of.
template <class Kernels>
class AroundF32 : public Kernels {
 public:
  AroundF32(std::unique_ptr<Kernels> f32, const Backend& backend)
      : f32_(std::move(f32)), backend_(backend) {}

 protected:
  std::unique_ptr<Kernels> f32_;
  Backend backend_;
};

/// The arguments of one call. Every routine throws ShapeError, naming routine and argument, for a
/// view that is there but not bf16.
class Bf16Call {
 public:
  Bf16Call(std::string_view routine, Queue& queue, const Backend& backend);

  /// The elements as floats; an absent view stays absent.
  ConstView read(std::string_view name, ConstView view);
  /// Where floats are to stand that finish() rounds into `view`; an absent view stays absent.
  View write(std::string_view name, View view);
  /// The weights as products of bf16 have them: rounded, once per version.
  Weights round(const Weights& weights);
  void finish();

 private:
  struct Rounding {
    View from, to;
  };
  View floats(std::string_view name, ConstView view);

  std::string_view routine_;
  CachingAllocator& memory_;
  const Backend& backend_;
  std::vector<std::shared_ptr<const Buffer>> buffers_;
  std::vector<Rounding> results_;
};

}  // namespace gentrain::cpu
