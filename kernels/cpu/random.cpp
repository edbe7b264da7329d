// Random tensors: checks, then the vector kernels.
#include "kernels/random.h"

#include <fmt/format.h>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/checks.h"
#include "kernels/cpu/simd.h"
#include "kernels/error.h"

namespace gentrain::cpu {

namespace {

simd::RandomStream stream_of(RngKey key) {
  const std::array<std::uint32_t, 4> words = key.words();
  return {{words[0], words[1]}, {words[2], words[3]}};
}

class Random final : public RandomKernels {
 public:
  explicit Random(const Backend& backend) : table_(backend.simd->random) {}

  void uniform(Queue& /*queue*/, RngKey key, double low, double high, View y) override {
    Arguments("uniform").require_elements("y", y, y.elements());
    table_.uniform(stream_of(key), static_cast<float>(low), static_cast<float>(high), y.as<float>(),
                   y.elements());
  }

  void normal(Queue& /*queue*/, RngKey key, double mean, double stddev, View y) override {
    Arguments("normal").require_elements("y", y, y.elements());
    table_.normal(stream_of(key), static_cast<float>(mean), static_cast<float>(stddev),
                  y.as<float>(), y.elements());
  }

  void dropout(Queue& /*queue*/, RngKey key, double keep, ConstView x, View y) override {
    if (!(keep > 0 && keep <= 1)) {
      throw ShapeError(fmt::format("dropout: keeps a share of {}: above 0, at most 1", keep));
    }
    const Arguments arguments("dropout");
    arguments.require_elements("x", x, y.elements());
    arguments.require_elements("y", y, y.elements());
    table_.dropout(stream_of(key), static_cast<float>(keep), x.as<float>(), y.as<float>(),
                   y.elements());
  }

 private:
  const simd::RandomTable& table_;
};

}  // namespace

std::unique_ptr<RandomKernels> make_random(const Backend& backend) {
  return std::make_unique<Random>(backend);
}

}  // namespace gentrain::cpu
