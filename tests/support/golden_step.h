// A training step of a whole model as another framework took it (tests/golden/README.md), for one
// of this framework to be compared with.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "tests/support/gradients.h"
#include "tests/support/hdf5_reader.h"
#include "tests/support/workbench.h"

namespace gentrain::test {

/// A parameter and the data sets that hold it, one behind the other along the first axis.
struct GoldenName {
  std::string parameter;
  std::vector<std::string> data_sets;  // names below a group
};

class GoldenStep {
 public:
  /// Throws IoError as Hdf5Reader.
  GoldenStep(const std::string& file, const Workbench& bench, DType dtype)
      : file_(file), bench_(bench), dtype_(dtype) {}

  [[nodiscard]] Shape shape(const std::string& data_set) const {
    return file_.read(data_set).shape;
  }
  [[nodiscard]] std::vector<double> values(const std::string& data_set) const {
    return file_.read(data_set).values;
  }
  /// A data set as a tensor, of another shape with as many elements if one is given.
  [[nodiscard]] Tensor tensor(const std::string& data_set) const;
  [[nodiscard]] Tensor tensor(const std::string& data_set, const Shape& shape) const;

  /// Sets the parameters to what they were before the step. Throws Error for one without a name,
  /// ShapeError for another number of elements.
  void load(ParameterSet& parameters, std::span<const GoldenName> names) const;

  /// Norm-wise: |actual - golden| <= bound * |golden| + floor. In f64 the bound is 1e-6, more than
  /// the rounding of what is stored; in f32 1e-4, or three times what rounding moved the other
  /// framework if that is more.
  void expect(const std::string& data_set, std::span<const double> actual, double floor = 0) const;
  /// The same of a data set's first elements.
  void expect_first(const std::string& data_set, std::span<const double> actual) const;
  /// All gradients; the floor is 1e-6 of the norm of all together.
  void expect_gradients(const GradientStore& store, const ParameterSet& parameters,
                        std::span<const GoldenName> names) const;
  /// Parameters after the step: what the step changed must be right to 2 %, beside the rounding of
  /// the values. Left out are elements whose gradient is at most ten times what rounding moved it:
  /// Adam's first step is as long for them as for the others.
  void expect_after(const ParameterSet& parameters, std::span<const GoldenName> names) const;

 private:
  [[nodiscard]] std::vector<double> joined(const std::string& group, const GoldenName& name) const;
  [[nodiscard]] double bound(const std::string& data_set) const;
  void leave_out_noise(const GoldenName& name, std::span<double> golden,
                       std::span<double> actual) const;
  static const GoldenName& find(std::span<const GoldenName> names, const std::string& parameter);

  Hdf5Reader file_;
  const Workbench& bench_;
  DType dtype_;
};

/// One step of Adam, the `step`-th from 1, and of the statistics' means.
class GoldenAdam {
 public:
  /// The statistics of networks whose names begin with `twice` move as far as two means would move
  /// them: the other framework takes one at each use of a network, gentrain one a step.
  GoldenAdam(const Workbench& bench, ParameterSet& parameters, DType dtype, double lr,
             std::string twice = "-");
  void update(const GradientStore& store);

 private:
  const Workbench& bench_;
  ParameterSet& parameters_;
  double lr_;
  std::string twice_;
  std::int64_t steps_ = 0;
  std::vector<Tensor> first_;
  std::vector<Tensor> second_;
};

}  // namespace gentrain::test
