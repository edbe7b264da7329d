// Network: images in, one row of numbers per image out. What classifiers train and predict uses.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/context.h"
#include "core/parameters.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// One layer for summaries and for counting arithmetic.
struct LayerInfo {
  std::string name;                // "conv1", "max_pool"
  Shape output;                    // of one image
  std::int64_t parameters = 0;     // trainable values
  std::int64_t products = 0;       // multiply-adds of one image forward, dense and conv layers
  std::vector<std::string> names;  // of the parameters: "conv1/weight", "conv1/bias"
};

class Network {
 public:
  virtual ~Network() = default;
  /// x [n, h, w, c], normalised; result [n, outputs].
  virtual Tensor forward(Context& context, const Tensor& x) const = 0;
  [[nodiscard]] const std::vector<LayerInfo>& layers() const { return layers_; }

 protected:
  std::vector<LayerInfo> layers_;
};

/// Registers the model's parameters and makes its network.
///
/// image [h, w, c] of one image; outputs: numbers per image (classes)
///
/// Throws JobError naming file, line and layer if the layers do not fit together or onto the
/// images, or for an unknown model name (lists the known ones).
std::unique_ptr<Network> build_network(const ModelOptions& model, const InitOptions& init,
                                       const Shape& image, std::int64_t outputs,
                                       ParameterSet& parameters);

/// LeNet-5 as BigDL has it: conv 6 5x5, tanh, max pool 2, tanh, conv 12 5x5, max pool 2, linear
/// 100, tanh, linear `outputs`. 22,278 parameters on 28x28x1 images with 10 outputs.
std::unique_ptr<Network> make_lenet(const InitOptions& init, const Shape& image,
                                    std::int64_t outputs, ParameterSet& parameters);

/// The layers of a job, in order; outputs must be what the last layer gives.
///
/// A convolution takes the activation behind it along; with a 2x2 max pooling behind it
/// (activations in between or not: they never fall, so they may as well come after it) it becomes
/// ops::conv2d_max_pool. A dense layer takes its activation along.
std::unique_ptr<Network> make_sequential(const std::vector<LayerSpec>& layers,
                                         const InitOptions& init, const Shape& image,
                                         std::int64_t outputs, ParameterSet& parameters);

/// The model as a model file's header holds it, and back. Throws JobError for what it does not
/// know.
nlohmann::json to_json(const ModelOptions& model);
ModelOptions model_from_json(const nlohmann::json& json);

/// Names of the parameters that a layer has in a set.
std::vector<std::string> parameter_names(const ParameterSet& parameters, const std::string& layer);

/// Floating-point operations (multiply-adds count two) of one image's forward pass in dense and
/// convolution layers.
double forward_flops_per_image(const std::vector<LayerInfo>& layers);

/// The same of one image's training step: forward, gradients of trained weights, and gradients of
/// the inputs of layers behind one that is trained.
double training_flops_per_image(const std::vector<LayerInfo>& layers,
                                const ParameterSet& parameters, const std::vector<bool>& trainable);

}  // namespace gentrain::trainers
