// What every conformance test of a backend needs: both devices, and results that show elements
// which a kernel left out or wrote outside of its view.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain::test {

/// Where a kernel is to write: NaN (bytes: 170) inside and, to notice what is written outside, 32
/// guard elements of 170 on each side.
class Result {
 public:
  /// `misalignment`: elements by which the view is moved off its 64-byte boundary.
  Result(const Workbench& bench, const Shape& shape, DType dtype, std::int64_t misalignment = 0);

  [[nodiscard]] View view() const { return inside_.view(); }
  [[nodiscard]] const Tensor& tensor() const { return inside_; }
  /// The elements; the running test fails if a guard element changed.
  [[nodiscard]] std::vector<double> values() const;

 private:
  const Workbench& bench_;
  Tensor whole_;
  Tensor inside_;
  std::size_t first_;
};

/// The CPU backend beside the reference.
class Conformance : public ::testing::Test {
 protected:
  Workbench cpu_{cpu_device()};
  Workbench reference_{reference_device()};
};

/// The same test on either device: what both must refuse.
class OnBothDevices : public ::testing::TestWithParam<Device& (*)()> {
 protected:
  Workbench bench_{GetParam()()};
};

/// "cpu" or "reference", for INSTANTIATE_TEST_SUITE_P.
inline std::string name_of_device(const ::testing::TestParamInfo<Device& (*)()>& info) {
  // Without making it: tests about the first device of a process come before.
  return info.param == &reference_device ? "reference" : "cpu";
}

}  // namespace gentrain::test
