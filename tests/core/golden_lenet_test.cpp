// LeNet built from ops against a training step of PyTorch: log-probabilities, loss, every gradient,
// the weights after one step and the losses of ten, on each device, with and without fused pooling.
#include <array>
#include <cmath>
#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "core/ops/ops.h"
#include "core/parameters.h"
#include "kernels/error.h"
#include "kernels/update.h"
#include "tests/support/compare.h"
#include "tests/support/gradients.h"
#include "tests/support/hdf5_reader.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

const std::string kFile = GENTRAIN_SOURCE_DIR "/tests/golden/lenet.h5";
constexpr double kLearningRate = 0.4;

enum class Pooling { kSeparate, kFused };

/// Where and in which type the network runs.
struct Place {
  const char* name;
  Device& (*device)();
  DType dtype;
};

/// In f64 only the rounding of the stored values remains. In f32 a run may be off by three times
/// what rounding moved PyTorch's own, and by the 4e-7 of the fast tanh, carried through two layers.
double bound_of(DType dtype, double fp32_rel_err) {
  return dtype == DType::kF64 ? 1e-7 : 3 * fp32_rel_err + 1e-6;
}

class Lenet {
 public:
  Lenet(const Place& place, Pooling pooling)
      : bench_(place.device()), dtype_(place.dtype), pooling_(pooling) {
    for (const char* name : {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
                             "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}) {
      parameters_.add(name, file_.read(std::string("before/") + name).shape, {}, 1, 1);
    }
    parameters_.allocate(bench_.device(), bench_.queue(), dtype_);
    for (int p = 0; p < parameters_.size(); ++p) {
      const test::Hdf5Array before = file_.read("before/" + parameters_.info(p).name);
      const Tensor values = bench_.tensor(before.shape, before.values, dtype_);
      bench_.device().to_device(bench_.queue(), values.data(), parameters_[p].data(),
                                values.bytes());
    }
    parameters_.mark_changed();
    const test::Hdf5Array x = file_.read("input/x");
    const test::Hdf5Array y = file_.read("input/y");
    x_ = bench_.tensor(x.shape, x.values, dtype_);
    labels_ = bench_.tensor(y.shape, y.values, DType::kI32);
  }

  /// Forward and backward; the gradients stay in `store`.
  ops::CrossEntropy pass(test::GradientStore& store) {
    Tape tape(bench_.device(), bench_.queue());
    const std::array<ParameterGradients*, 1> sets{&store};
    tape.begin(sets);
    Context context{bench_.device(), bench_.queue(), &tape, true, {}};
    const double scale = 1.0 / static_cast<double>(labels_.elements());
    ops::CrossEntropy result = ops::softmax_cross_entropy(context, logits(context), labels_, scale);
    tape.backward(result.loss);
    return result;
  }

  void update(const test::GradientStore& store) {
    const SgdStep step{.lr = kLearningRate};
    for (int p = 0; p < parameters_.size(); ++p) {
      bench_.device().update().sgd(bench_.queue(), step, store.gradient(p).cview(), {},
                                   parameters_[p].view());
    }
    parameters_.mark_changed();
  }

  [[nodiscard]] const test::Workbench& bench() const { return bench_; }
  [[nodiscard]] const ParameterSet& parameters() const { return parameters_; }

  /// Compares a tensor's values with a data set, by distance relative in Euclidean norm.
  void expect_golden(const std::string& data_set, std::span<const double> values) const {
    const test::Hdf5Array golden = file_.read(data_set);
    const double bound = bound_of(dtype_, file_.attribute(data_set, "fp32_rel_err"));
    EXPECT_LE(test::relative_distance(values, golden.values), bound) << data_set;
  }

 private:
  /// tanh rises, so conv -> tanh -> pool and conv -> pool -> tanh are the same numbers.
  Tensor logits(Context& context) {
    using ops::activate;
    const auto& w = parameters_;
    const Tensor p1 = pooled(context, x_, w[0], w[1], Activation::kTanh);
    const Tensor p2 =
        pooled(context, activate(context, p1, Activation::kTanh), w[2], w[3], Activation::kNone);
    const Tensor flat = ops::reshape(context, p2, {x_.shape()[0], 192});
    const Tensor hidden = ops::linear(context, flat, w[4], w[5], Activation::kTanh);
    return ops::linear(context, hidden, w[6], w[7]);
  }

  Tensor pooled(Context& context, const Tensor& x, const Tensor& w, const Tensor& bias,
                Activation activation) const {
    if (pooling_ == Pooling::kFused) {
      return ops::conv2d_max_pool(context, x, w, bias, {.activation = activation});
    }
    const Tensor y = ops::activate(context, ops::conv2d(context, x, w, bias), activation);
    return ops::max_pool2d(context, y, {2, 2}, {2, 2});
  }

  test::Hdf5Reader file_{kFile};
  test::Workbench bench_;
  DType dtype_;
  Pooling pooling_;
  ParameterSet parameters_;
  Tensor x_;
  Tensor labels_;
};

class GoldenLenet : public ::testing::TestWithParam<std::tuple<Place, Pooling>> {
 protected:
  Lenet lenet_{std::get<0>(GetParam()), std::get<1>(GetParam())};
};

TEST_P(GoldenLenet, FirstStep) {
  test::GradientStore store(lenet_.bench(), lenet_.parameters());
  const ops::CrossEntropy result = lenet_.pass(store);
  std::vector<double> log_probabilities;
  for (const double p : lenet_.bench().values(result.probabilities)) {
    log_probabilities.push_back(std::log(p));
  }
  lenet_.expect_golden("output/logprob", log_probabilities);
  lenet_.expect_golden("loss/loss", lenet_.bench().values(result.loss));
  lenet_.update(store);
  for (int p = 0; p < lenet_.parameters().size(); ++p) {
    const std::string& name = lenet_.parameters().info(p).name;
    lenet_.expect_golden("grad/" + name, lenet_.bench().values(store.gradient(p)));
    lenet_.expect_golden("after/" + name, lenet_.bench().values(lenet_.parameters()[p]));
  }
}

TEST_P(GoldenLenet, LossesOfTenSteps) {
  std::vector<double> losses;
  for (int step = 0; step < 10; ++step) {
    test::GradientStore store(lenet_.bench(), lenet_.parameters());
    losses.push_back(lenet_.bench().value(lenet_.pass(store).loss));
    lenet_.update(store);
  }
  lenet_.expect_golden("trace/loss", losses);
}

INSTANTIATE_TEST_SUITE_P(
    All, GoldenLenet,
    ::testing::Combine(
        ::testing::Values(Place{"cpu_f32", test::cpu_device, DType::kF32},
                          Place{"reference_f32", test::reference_device, DType::kF32},
                          Place{"reference_f64", test::reference_device, DType::kF64}),
        ::testing::Values(Pooling::kSeparate, Pooling::kFused)),
    [](const auto& info) {
      const bool fused = std::get<1>(info.param) == Pooling::kFused;
      return std::string(std::get<0>(info.param).name) + (fused ? "_fused" : "_separate");
    });

TEST(GoldenFile, MissingFilesAndDataSetsAreNamed) {
  using ::testing::HasSubstr;
  EXPECT_THAT(test::message_of<IoError>([] { test::Hdf5Reader("/nowhere/golden.h5"); }),
              HasSubstr("/nowhere/golden.h5"));
  const test::Hdf5Reader file(kFile);
  EXPECT_THAT(test::message_of<IoError>([&] { static_cast<void>(file.read("grad/conv9")); }),
              HasSubstr("lenet.h5: data set grad/conv9"));
}

}  // namespace
}  // namespace gentrain
