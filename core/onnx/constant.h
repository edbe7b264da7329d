// Values of an ONNX model that are known at import: weights and the arithmetic of shapes. Numbers
// of every type become floats or 64-bit integers here, after their count has been checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/io/sha256.h"
#include "core/onnx/model.h"
#include "kernels/error.h"

namespace gentrain::onnx {

/// Throws IoError. Messages within an import say what is wrong with a node; who imports puts file
/// and node before.
template <class... Arguments>
[[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw IoError(fmt::format(format, std::forward<Arguments>(arguments)...));
}

/// Stands for the number of samples wherever a shape holds it: nobody knows it at import, so it can
/// be moved about and compared with itself, but not computed with.
inline constexpr std::int64_t kSamples = -0x5EED'BA7C'0000'0001;

/// A tensor whose values are known. Of `reals` and `integers` (which booleans are too) one is used.
struct Constant {
  std::string name;  // of the tensor that it came from
  bool real = true;
  std::vector<std::int64_t> dims;
  std::vector<float> reals;
  std::vector<std::int64_t> integers;  // kSamples: the number of samples

  [[nodiscard]] std::int64_t size() const {
    return static_cast<std::int64_t>(real ? reals.size() : integers.size());
  }
  [[nodiscard]] int rank() const { return static_cast<int>(dims.size()); }
};
using ConstantPointer = std::shared_ptr<const Constant>;

/// "[2, 3]", the number of samples as N
std::string text_of(std::span<const std::int64_t> dims);

/// Product of extents. Throws IoError naming `what` for a negative one, and above 2^48.
std::int64_t count_of(std::span<const std::int64_t> dims, const std::string& what);

/// How many values an import may still make beyond those of the file, so that no small file takes
/// much time or memory.
class Budget {
 public:
  explicit Budget(std::int64_t values) : left_(values) {}
  void grant(std::int64_t values) { left_ += values; }
  /// Throws IoError if less than `values` are left.
  void charge(std::int64_t values);

 private:
  std::int64_t left_;
};

/// Files of external data: those in the model's folder, never another one.
class ExternalData {
 public:
  /// `folder`: where the model lies.
  explicit ExternalData(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// `bytes` bytes of a tensor's external data. Throws IoError naming the tensor: a location that
  /// is missing, absolute, has "..", or leads out of the folder by a link, a file that is not
  /// there or not regular, an offset or a length that is no number, another length than `bytes`,
  /// a file that ends before.
  [[nodiscard]] std::string read(const Tensor& tensor, std::int64_t bytes, Budget& budget);
  /// SHA-256 of all that was read, in that order; "" if nothing was. May be called once, at the
  /// end.
  [[nodiscard]] std::string finish_hash() { return hash_ ? hash_->finish() : ""; }

 private:
  std::filesystem::path folder_;
  std::unordered_map<std::string, bool> granted_;  // files whose size the budget has got
  std::optional<io::Sha256> hash_;
};

/// The values of a tensor; its bytes are let go of. float16, bfloat16 and double become f32.
///
/// Throws IoError naming the tensor: extents that are negative or whose product is too large,
/// another number of bytes than they say, a type that is no number, what ExternalData refuses.
ConstantPointer to_constant(Tensor& tensor, ExternalData& external, Budget& budget);

}  // namespace gentrain::onnx
