// Arrays of a file for the layers that need them: which array is whose, whether all are there and
// fit, and the values in the order of a graph's parameters.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/graph/imported.h"
#include "core/io/hdf5_objects.h"
#include "core/io/keras_weights.h"
#include "core/keras/builder.h"
#include "core/keras/model_config.h"

namespace gentrain::keras {

/// An array of a file.
struct StoredArray {
  std::string name;  // as messages call it
  Shape shape;
  std::function<std::vector<float>()> read;  // row-major; throws IoError naming layer and array
};

/// The arrays of one layer, some of which may not be what it needs.
struct Bundle {
  const LayerNeeds* layer = nullptr;
  std::vector<StoredArray> arrays;
};

/// What an array's name says: "stem/conv_1/kernel:0" is the kernel of "stem/conv_1"; Keras 1 wrote
/// "conv_1_W:0". A name that tells no role ("param_0") has all of it as its owner.
struct ArrayName {
  std::string owner;
  std::optional<Role> role;
};
ArrayName read_array_name(std::string_view name);

/// The arrays of a file whose groups have the names of the outermost layers, as model.save("x.h5")
/// writes it. Arrays of a model within the model lie together in one group: names tell whose they
/// are, and where they do not, the order in which Keras lists weights. What is left over or missing
/// becomes a problem.
std::vector<Bundle> bundles_of(const Model& model, const Builder& builder,
                               const io::KerasWeights& file, std::vector<std::string>& problems);

/// The same of model.weights.h5 of a .keras archive: /layers/CLASS_N/vars/0 and so on, one level of
/// layers for each level of models.
std::vector<Bundle> bundles_of(const Model& model, const Builder& builder,
                               const io::Hdf5Objects& file, std::vector<std::string>& problems);

/// The layer's arrays in the order of its needs, by role and, where names tell none, by order. Adds
/// what is missing, not needed or of other extents to the problems.
std::vector<const StoredArray*> match(const Bundle& bundle, std::vector<std::string>& problems);

/// Reads all arrays; constants take theirs. Throws IoError that lists what does not fit, before
/// anything is read, and naming an array with a value that is not finite.
std::vector<graph::ImportedArray> read_arrays(const std::vector<Bundle>& bundles,
                                              std::vector<std::string> problems);

}  // namespace gentrain::keras
