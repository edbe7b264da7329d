// Layers with parameters: each registers its tensors in a ParameterSet when made and reads them
// from there in forward(). They hold no state of their own.
#pragma once

#include <cstdint>
#include <string>

#include "core/context.h"
#include "core/ops/norm.h"
#include "core/ops/ops.h"
#include "core/parameters.h"

namespace gentrain::nn {

/// Extents are at least 1.
struct Conv2dOptions {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kernel_h = 0;
  std::int64_t kernel_w = 0;
  ops::Stride stride;
  ops::Padding padding;
  bool bias = true;
  Initializer initializer{Initializer::Kind::kUniformFanIn};
};

/// A convolution with parameters NAME/weight [out, kernel_h, kernel_w, in] and NAME/bias [out].
class Conv2d {
 public:
  /// `parameters` must outlive the layer and be allocated before forward(). Throws as
  /// ParameterSet::add, and ShapeError if an extent is negative.
  Conv2d(ParameterSet& parameters, const std::string& name, const Conv2dOptions& options);
  /// x [n, h, w, in], result as ops::conv2d. Throws ShapeError with the layer's name.
  Tensor forward(Context& context, const Tensor& x, Activation activation) const;
  /// The same followed by 2x2 max pooling, the activation last, as ops::conv2d_max_pool. Throws
  /// ShapeError with the layer's name.
  Tensor forward_max_pool(Context& context, const Tensor& x, Activation activation) const;

 private:
  [[nodiscard]] Tensor bias() const;

  const ParameterSet* parameters_;
  std::string name_;
  Conv2dOptions options_;
  int weight_ = -1;
  int bias_ = -1;
};

/// Batch normalisation with parameters NAME/gamma (ones; not without `scaled`), NAME/beta,
/// NAME/running_mean (zeros) and NAME/running_var (ones), each [channels].
class BatchNorm2d {
 public:
  /// `parameters` must outlive the layer and be allocated before forward(). Throws as
  /// ParameterSet::add, and ShapeError if the number of channels is negative.
  BatchNorm2d(ParameterSet& parameters, const std::string& name, std::int64_t channels,
              double decay = 0.99, bool scaled = true);
  /// x [n, h, w, channels], result as ops::batch_norm. Throws ShapeError with the layer's name.
  Tensor forward(Context& context, const Tensor& x, const ops::BatchNormOptions& options,
                 const Tensor& residual = {}) const;

 private:
  const ParameterSet* parameters_;
  std::string name_;
  int gamma_ = -1;
  int beta_ = -1;
  int running_mean_ = -1;
  int running_var_ = -1;
};

/// PReLU with the parameter NAME/alpha [channels], which starts at 0.25.
class PRelu {
 public:
  /// `parameters` must outlive the layer and be allocated before forward(). Throws as
  /// ParameterSet::add, and ShapeError if the number of channels is negative.
  PRelu(ParameterSet& parameters, const std::string& name, std::int64_t channels);
  /// x [..., channels], result as x. Throws ShapeError with the layer's name.
  Tensor forward(Context& context, const Tensor& x) const;

 private:
  const ParameterSet* parameters_;
  std::string name_;
  int alpha_ = -1;
};

/// A dense layer with parameters NAME/weight [out, in] and NAME/bias [out]. Both start as the
/// initializer says: with kUniformFanIn the bias too, otherwise it starts at zero.
class Linear {
 public:
  /// in, out >= 1. `parameters` must outlive the layer and be allocated before forward(). Throws as
  /// ParameterSet::add, and ShapeError if an extent is negative.
  Linear(ParameterSet& parameters, const std::string& name, std::int64_t in, std::int64_t out,
         bool bias, Initializer initializer);
  /// x [n, in], result [n, out]. Throws ShapeError with the layer's name.
  Tensor forward(Context& context, const Tensor& x, Activation activation) const;

 private:
  const ParameterSet* parameters_;
  std::string name_;
  int weight_ = -1;
  int bias_ = -1;
};

}  // namespace gentrain::nn
