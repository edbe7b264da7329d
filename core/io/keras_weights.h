// Weights as Keras 1, 2 and 3 write them in HDF5 (.h5): layers by name, each with its arrays. A
// network asks for a layer's arrays by role and shape and gets exactly these, in gentrain's layout;
// whatever is missing, left over or does not fit is an error that names file, layer and array.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/hdf5_objects.h"
#include "core/io/posix_file.h"
#include "kernels/shape.h"

namespace gentrain::io {

/// What an array of a layer is.
enum class KerasRole : std::uint8_t {
  kKernel,
  kBias,
  kGamma,
  kBeta,
  kMovingMean,
  kMovingVariance,
};

/// "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"
std::string_view name_of(KerasRole role);

/// The role that the end of an array's name tells: "conv/kernel:0" and "conv_W_1:0" are kernels,
/// "bn_running_std" is a variance (that is what Keras 1 keeps under the name); "uniform1" is
/// nothing.
std::optional<KerasRole> keras_role(std::string_view array);

struct KerasArray {
  std::string name;  // as in `weight_names`: "block1_conv1_W_1:0"
  Shape shape;       // in Keras's order: kernels [kh, kw, in, out] or [in, out]
};

struct KerasLayer {
  std::string name;
  std::vector<KerasArray> arrays;  // none: a layer without weights
};

/// Whether an array must be in the file, may be missing, or is not taken even if it is there.
enum class KerasTake : std::uint8_t { kRequired, kIfThere, kNever };

/// One array that a layer of a network takes.
struct KerasNeed {
  KerasRole role = KerasRole::kKernel;
  Shape shape;  // in gentrain's order: kernels [out, kh, kw, in] or [out, in]
  KerasTake take = KerasTake::kRequired;
};

/// A file, read into memory as a whole; does without the HDF5 library.
class KerasWeights {
 public:
  /// Lists layers and arrays; values are converted later. Weights files have the attribute
  /// `layer_names` at the root, whole models in the group model_weights; each layer's group has
  /// `weight_names`; long lists are cut into layer_names0, layer_names1 and so on. Throws IoError
  /// naming the file, and layer and array where it gets that far: missing, no HDF5 file, damaged,
  /// no `layer_names`, an array that is named but not there, the backend Theano (whose kernels are
  /// flipped), and what Hdf5Objects does not read.
  explicit KerasWeights(std::filesystem::path path);
  /// The same of a file that was read already; `path` is its name in messages.
  KerasWeights(std::filesystem::path path, Bytes file);
  ~KerasWeights();
  KerasWeights(const KerasWeights&) = delete;
  KerasWeights& operator=(const KerasWeights&) = delete;

  /// In the file's order.
  [[nodiscard]] const std::vector<KerasLayer>& layers() const { return layers_; }
  [[nodiscard]] bool has(std::string_view layer) const { return find(layer) != nullptr; }
  /// Throws IoError that lists the layers which have weights.
  [[nodiscard]] const KerasLayer& layer(std::string_view name) const;

  /// One array as it lies in the file, row-major; f16 and f64 are converted to f32. Throws IoError:
  /// no such layer or array, another element type, a value that is NaN or infinite (also a double
  /// beyond f32), and what Hdf5Objects::floats refuses.
  [[nodiscard]] std::vector<float> read(std::string_view layer, std::string_view array) const;

  /// The arrays of a layer in the order of the needs, kernels with their last axis moved to the
  /// front. Arrays are known by the role that their names tell; one whose name tells none (Keras 1
  /// kept those of initializers) is taken for the one need that is left over. What is not taken is
  /// empty. Throws IoError as read(), and the first of the problems() there are.
  [[nodiscard]] std::vector<std::vector<float>> read_layer(std::string_view layer,
                                                           std::span<const KerasNeed> needs) const;

  /// What does not fit between a layer and the needs: every array that is missing, not needed or
  /// has other extents than needed, each a text that begins "layer NAME: ". Throws IoError as
  /// layer().
  [[nodiscard]] std::vector<std::string> problems(std::string_view layer,
                                                  std::span<const KerasNeed> needs) const;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Of the file, 64 digits of hex.
  [[nodiscard]] std::string sha256() const;

 private:
  [[nodiscard]] const KerasLayer* find(std::string_view layer) const;
  [[nodiscard]] std::string where(std::string_view layer) const;
  [[nodiscard]] std::string where(std::string_view layer, std::string_view array) const;
  void list_layers();
  [[nodiscard]] KerasLayer list_layer(const std::string& name) const;
  [[nodiscard]] std::string path_of(std::string_view layer) const;

  std::filesystem::path path_;
  Bytes file_;
  std::unique_ptr<Hdf5Objects> objects_;
  std::string base_;  // path of the group that has layer_names
  std::vector<KerasLayer> layers_;
};

/// The last axis moved to the front: [kh, kw, in, out] becomes [out, kh, kw, in], [in, out] becomes
/// [out, in]. `values` has shape.elements() elements and the shape one axis or more.
std::vector<float> last_axis_first(std::span<const float> values, const Shape& shape);

}  // namespace gentrain::io
