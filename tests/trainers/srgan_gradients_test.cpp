// A step of SRGAN: the gradients of both networks against central differences, its terms against
// what the discriminator says, for either variant and loss; and what it does not compute.
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/counting_device.h"
#include "tests/support/gradients.h"
#include "tests/support/workbench.h"
#include "trainers/srgan.h"

namespace gentrain::trainers {
namespace {

using test::message_of;
using ::testing::Each;
using ::testing::ElementsAre;
using Loss = AdversarialOptions::Loss;
using Variant = SrganOptions::Variant;

struct Row {
  Variant variant;
  Loss loss;
};

/// A tiny one in f64 on the reference device; content is compared pixel by pixel.
class SmallSrgan : public ::testing::TestWithParam<Row> {
 protected:
  static constexpr double kScale = 0.25;
  static constexpr double kWeight = 0.5;  // of the adversarial loss
  static constexpr Initializer::Kind kInit = Initializer::Kind::kXavierUniform;

  SmallSrgan() {
    srgan_.set({.loss = GetParam().loss, .weight = kWeight});
    parameters_.allocate(bench_.device(), bench_.queue(), DType::kF64);
    parameters_.initialize(bench_.device(), bench_.queue(), RngKey(5));
  }
  void set(int parameter, const std::vector<double>& values) {
    copy_from_host<double>(bench_.device(), bench_.queue(), values, parameters_[parameter]);
    parameters_.mark_changed();
  }
  std::vector<double> train(const char* stage, ParameterGradients& gradients) {
    Tape tape(bench_.device(), bench_.queue());
    Context context{bench_.device(), bench_.queue(), &tape, true, {}, 0.5};
    ShardStep step{context, gradients, stage, x_, {}, kScale};
    return srgan_.train(step);
  }
  /// What a stage tells under a name, of all that it tells.
  [[nodiscard]] double told(const char* stage, const char* name,
                            const std::vector<double>& sums) const {
    const auto names = srgan_.names(stage);
    const auto found = std::ranges::find(names, std::string_view(name));
    return sums.at(static_cast<std::size_t>(found - names.begin()));
  }
  /// Compares some elements of each gradient of a network with differences of a sum.
  void expect_gradients(const char* stage, const std::string& network, const char* sum) {
    test::GradientStore store(bench_, parameters_);
    train(stage, store);
    for (int p = 0; p < parameters_.size(); ++p) {
      const ParameterInfo& info = parameters_.info(p);
      if (!info.name.starts_with(network) || info.role == ParameterRole::kStatistic) {
        continue;
      }
      const std::vector<double> at = bench_.values(parameters_[p]);
      const std::vector<double> gradient = bench_.values(store.gradient(p));
      for (std::size_t i = 0; i < at.size(); i += 1 + at.size() / 2) {
        constexpr double kDifference = 1e-5;
        const auto sum_at = [&](double moved_by) {
          std::vector<double> moved = at;
          moved[i] += moved_by;
          set(p, moved);
          test::GradientStore ignored(bench_, parameters_);
          return told(stage, sum, train(stage, ignored));
        };
        const double expected =
            kScale * (sum_at(kDifference) - sum_at(-kDifference)) / (2 * kDifference);
        EXPECT_NEAR(gradient[i], expected, 1e-6 * std::max(1.0, std::abs(expected)))
            << info.name << " " << i;
      }
      set(p, at);
    }
  }

  /// What the discriminator says of photographs and of generated images: both networks made a
  /// second time, of the same numbers.
  [[nodiscard]] std::array<std::vector<double>, 2> scores() const {
    ParameterSet set;
    const Generator generator(options_, {kInit, 0}, set);
    const Discriminator discriminator(options_, {kInit, 0}, 16, 16, set);
    set.allocate(bench_.device(), bench_.queue(), DType::kF64);
    for (int p = 0; p < set.size(); ++p) {
      copy_from_host<double>(bench_.device(), bench_.queue(), bench_.values(parameters_[p]),
                             set[p]);
    }
    set.mark_changed();
    Context context{bench_.device(), bench_.queue(), nullptr, true, {}};
    const Tensor low = ops::average_pool2d(context, x_, {4, 4}, {4, 4});
    const Tensor made = generator.forward(context, low);
    return {bench_.values(discriminator.forward(context, x_, 1)),
            bench_.values(discriminator.forward(context, made, 1))};
  }

  test::Workbench bench_{test::reference_device()};
  ParameterSet parameters_;
  SrganOptions options_{.variant = GetParam().variant, .width = 4, .blocks = 1};
  Srgan srgan_{options_, {kInit, 0}, {16, 16, 3}, parameters_};
  Tensor x_ = bench_.random({2, 16, 16, 3}, RngKey(3), DType::kF64, -1, 1);
};

TEST_P(SmallSrgan, GradientsAreThoseOfTheLosses) {
  expect_gradients("mse", "generator/", "loss");
  expect_gradients("gan", "generator/", "loss");
  expect_gradients("gan", "discriminator/", "discriminator");
}

TEST_P(SmallSrgan, TellsItsTerms) {
  test::GradientStore store(bench_, parameters_);
  const std::vector<double> sums = train("gan", store);
  ASSERT_EQ(sums.size(), srgan_.names("gan").size());
  const auto term = [&](const char* name) { return told("gan", name, sums); };
  EXPECT_DOUBLE_EQ(term("loss"), term("pixels") + kWeight * term("adversarial"));
  EXPECT_EQ(term("content"), 0) << "without VGG pixels are compared";
  EXPECT_EQ(term("content_gradient"), 0);
  EXPECT_GT(term("pixels_gradient"), 0);
  EXPECT_GT(term("adversarial_gradient"), 0);
  EXPECT_THAT(term("real_right"), testing::AllOf(testing::Ge(0), testing::Le(2)));
  test::GradientStore pixels(bench_, parameters_);
  EXPECT_NEAR(train("mse", pixels)[0], term("pixels"), 1e-12);
}

TEST_P(SmallSrgan, TermsAreThoseOfTheScores) {
  const bool squares = GetParam().loss == Loss::kLeastSquares;
  // A photograph's score that lies between what one loss takes for a photograph's and the other.
  const int bias = parameters_.find("discriminator/dense2/bias");
  set(bias, {bench_.value(parameters_[bias]) + 0.25 - scores()[0][0]});
  const auto [real, made] = scores();
  const auto loss = [&](const std::vector<double>& of, double target) {
    double sum = 0;
    for (const double score : of) {
      sum += squares ? (score - target) * (score - target)
                     : std::log1p(std::exp(-score)) + (1 - target) * score;
    }
    return sum;
  };
  const auto above = [](const std::vector<double>& of, double middle) {
    return static_cast<double>(
        std::count_if(of.begin(), of.end(), [&](double score) { return score > middle; }));
  };
  const double middle = squares ? 0.5 : 0.0;

  test::GradientStore store(bench_, parameters_);
  const std::vector<double> sums = train("gan", store);
  EXPECT_NEAR(told("gan", "adversarial", sums), loss(made, 1), 1e-12);
  EXPECT_NEAR(told("gan", "discriminator", sums), (loss(real, 1) + loss(made, 0)) / 2, 1e-12);
  EXPECT_EQ(told("gan", "real_right", sums), above(real, middle));
  EXPECT_EQ(told("gan", "generated_right", sums),
            static_cast<double>(made.size()) - above(made, middle));
  EXPECT_NE(told("gan", "real_right", sums), above(real, 0.5 - middle))
      << "the other loss's middle";
}

TEST_P(SmallSrgan, StatisticsOfTheDiscriminatorAreMeansOfBothBatches) {
  test::GradientStore store(bench_, parameters_);
  train("gan", store);
  const int mean = parameters_.find("discriminator/norm2/running_mean");
  const int variance = parameters_.find("discriminator/norm2/running_var");
  ASSERT_GE(mean, 0);
  EXPECT_THAT(bench_.values(store.gradient(mean)), testing::Not(Each(0.0)));
  EXPECT_THAT(bench_.values(store.gradient(variance)), Each(testing::Gt(0.0)));
  EXPECT_EQ(parameters_.info(mean).role, ParameterRole::kStatistic);
}

TEST_P(SmallSrgan, KnowsItsStages) {
  EXPECT_THAT(srgan_.names("mse"), ElementsAre("loss"));
  EXPECT_EQ(srgan_.passes("mse").at(0).at(0).text, "generator/*");
  EXPECT_EQ(srgan_.passes("gan").at(0).at(0).text, "*");
  EXPECT_EQ(message_of<JobError>([&] { (void)srgan_.names("train"); }),
            "model srgan has the stages mse and gan, but the job has a stage 'train'");
}

std::string row_name(const ::testing::TestParamInfo<Row>& info) {
  return std::string(info.param.variant == Variant::kBook ? "Book" : "Paper") +
         (info.param.loss == Loss::kLeastSquares ? "LeastSquares" : "CrossEntropy");
}

INSTANTIATE_TEST_SUITE_P(All, SmallSrgan,
                         ::testing::Values(Row{Variant::kBook, Loss::kLeastSquares},
                                           Row{Variant::kBook, Loss::kCrossEntropy},
                                           Row{Variant::kPaper, Loss::kLeastSquares},
                                           Row{Variant::kPaper, Loss::kCrossEntropy}),
                         row_name);

/// Kernels that a step of the stage gan calls. The generator has 7 convolutions, the discriminator
/// 8 and two dense layers, the content's network 3.
class SrganCosts : public ::testing::Test {
 protected:
  SrganCosts() {
    parameters_.allocate(device_, bench_.queue());
    parameters_.initialize(device_, bench_.queue(), RngKey(5));
    const std::vector<VggMap> maps = {{"block1_conv1"}, {"block2_conv1"}};
    auto vgg = std::make_unique<VggFeatures>(VggNet::kVgg19, maps);
    vgg->initialize(device_, bench_.queue(), RngKey(6));
    srgan_.content().set(std::move(vgg), maps, {1, 1}, 0);
  }

  /// Gradients of the other network's parameters are not wanted.
  void step(std::size_t pass, const std::string& wanted) {
    std::set<int> frozen;
    for (int p = 0; p < parameters_.size(); ++p) {
      if (!parameters_.info(p).name.starts_with(wanted)) {
        frozen.insert(p);
      }
    }
    test::GradientStore store(bench_, parameters_, frozen);
    Tape tape(device_, bench_.queue());
    Context context{device_, bench_.queue(), &tape, true, {}, 0.5};
    ShardStep step{context, store, "gan", x_, {}, 0.25, pass};
    device_.clear();
    srgan_.train(step);
  }
  void expect(int forward, int backward_weights, int backward_data) {
    EXPECT_EQ(device_.calls("conv.forward"), forward);
    EXPECT_EQ(device_.calls("conv.backward_weights"), backward_weights);
    EXPECT_EQ(device_.calls("conv.backward_data"), backward_data);
  }

  test::CountingDevice device_{test::cpu_device()};
  test::Workbench bench_{device_};
  ParameterSet parameters_;
  Srgan srgan_{{.width = 4, .blocks = 1}, {}, {16, 16, 3}, parameters_};
  Tensor x_ = bench_.random({2, 16, 16, 3}, RngKey(3), DType::kF32, -1, 1);
};

TEST_F(SrganCosts, GeneratedImagesAreJudgedOnceForBothLosses) {
  step(0, "");
  // The first convolutions of the generator, and of the discriminator for its own loss, give
  // nothing back to their images.
  expect(7 + 2 * 8 + 2 * 3, 7 + 2 * 8, (3 + 8 + 6) + 2 * 7);
  EXPECT_EQ(device_.calls("matmul.linear_forward"), 2 * 2);
  EXPECT_EQ(device_.calls("matmul.linear_backward_weights"), 2 * 2);
  EXPECT_EQ(device_.calls("matmul.linear_backward_data"), 2 + 2 * 2);
}

TEST_F(SrganCosts, TheGeneratorsLossGivesNoOtherWeightsGradients) {
  step(0, "generator/");
  expect(7 + 2 * 8 + 2 * 3, 7, 3 + 8 + 6);
  EXPECT_EQ(device_.calls("matmul.linear_backward_weights"), 0);
  step(0, "discriminator/");
  expect(7 + 2 * 8 + 2 * 3, 2 * 8, 2 * 7);
}

TEST_F(SrganCosts, APassOfItsOwnComputesWhatItsLossNeeds) {
  srgan_.set({.updates = AdversarialOptions::Updates::kAlternating});
  step(0, "discriminator/");
  expect(7 + 2 * 8, 2 * 8, 2 * 7);
  step(1, "generator/");
  expect(7 + 8 + 2 * 3, 7, 3 + 8 + 6);
}

}  // namespace
}  // namespace gentrain::trainers
