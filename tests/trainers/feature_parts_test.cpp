// The parts of a regression on features: the network that it stands in, the split, what a model
// says of features, its form as a dense layer, and its state in checkpoints.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/data/memory_dataset.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "trainers/feature_regression.h"
#include "trainers/models/pretrained.h"
#include "trainers/regression_state.h"

namespace gentrain::trainers {
namespace {

using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Pool = PretrainedOptions::Pool;

ModelOptions model_of(const std::string& name, const std::string& layer, Pool pool) {
  ModelOptions model;
  model.name = name;
  model.pretrained.top = PretrainedOptions::Top::kRegression;
  model.pretrained.layer = layer;
  model.pretrained.pool = pool;
  return model;
}

TEST(RegressionGraph, HasWhatTheLayerNeedsAndTheRegression) {
  const graph::Graph graph =
      make_graph(model_of("inception_v3", "mixed8", Pool::kAverage), {299, 299, 3}, 2);
  EXPECT_GE(graph.find("mixed7"), 0);
  EXPECT_EQ(graph.find("conv2d_82"), -1) << "of mixed9";
  EXPECT_EQ(graph.node(graph.index_of("features")).shape, Shape{1280});
  EXPECT_EQ(graph.node(graph.index_of("regression")).shape, Shape{2});
  EXPECT_EQ(graph.outputs(), std::vector{graph.index_of("probabilities")});
  EXPECT_EQ(graph.inputs().size(), 1);
}

TEST(RegressionGraph, PoolsAsItIsTold) {
  const Shape image{64, 64, 3};
  const auto features = [&](const std::string& layer, Pool pool) {
    const graph::Graph graph = make_graph(model_of("vgg16", layer, pool), image, 3);
    return graph.node(graph.index_of("features"));
  };
  EXPECT_EQ(features("block4_pool", Pool::kMax).shape, Shape{512});
  EXPECT_EQ(graph::name_of(features("block4_pool", Pool::kMax).kind), "global max pooling");
  EXPECT_EQ(features("block4_pool", Pool::kNone).shape, Shape{4 * 4 * 512});
  EXPECT_EQ(features("fc2", Pool::kNone).shape, Shape{4096}) << "of the original top";
  EXPECT_EQ(message_of<JobError>([&] { features("fc2", Pool::kAverage); }),
            "model.pool: layer fc2 gives [4096], only maps [h, w, c] are pooled: set it to none");
  EXPECT_THAT(message_of<JobError>([&] { features("block9_pool", Pool::kMax); }),
              HasSubstr("the network has no layer 'block9_pool' (known: "));
}

TEST(RegressionGraph, ItsDescriptionReadsAgain) {
  for (const Pool pool : {Pool::kAverage, Pool::kMax, Pool::kNone}) {
    const ModelOptions model = model_of("squeezenet", "fire9/concat", pool);
    EXPECT_EQ(model_from_json(to_json(model)), model);
  }
  nlohmann::json json = to_json(model_of("squeezenet", "fire9/concat", Pool::kMax));
  json["pool"] = "median";
  EXPECT_EQ(message_of<JobError>([&] { model_from_json(json); }),
            "the model has a pool 'median' that this version does not know");
}

/// Images of one value each, of these classes.
class Labelled final : public data::HashedDataset {
 public:
  Labelled(std::vector<std::int32_t> labels, int classes)
      : labels_(std::move(labels)), classes_(classes) {}
  [[nodiscard]] std::int64_t size() const override { return std::ssize(labels_); }
  [[nodiscard]] Shape sample_shape() const override { return {1, 1, 3}; }
  [[nodiscard]] int classes() const override { return classes_; }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    std::fill_n(pixels, 3, static_cast<std::uint8_t>(index));
  }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return labels_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] bool in_memory() const override { return true; }
  [[nodiscard]] std::string description() const override { return "a test"; }

 private:
  std::vector<std::int32_t> labels_;
  int classes_;
};

TEST(FeatureSplits, AreAPureFunctionOfTheSeed) {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 84; ++i) {
    labels.push_back(i < 41 ? 0 : 1);
  }
  const Labelled images(labels, 2);
  std::set<std::vector<std::int64_t>> seen;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const FeatureSplit split = split_features(images, 1 - 0.6, seed);
    EXPECT_EQ(std::ranges::count(split.train.labels, 0), 25);  // 0.6 of 41
    EXPECT_EQ(std::ranges::count(split.train.labels, 1), 26);  // 0.6 of 43
    EXPECT_EQ(split.test.numbers.size(), 33);
    std::vector<std::int64_t> all = split.train.numbers;
    all.insert(all.end(), split.test.numbers.begin(), split.test.numbers.end());
    std::ranges::sort(all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(all[i], static_cast<std::int64_t>(i));
    }
    for (std::size_t i = 0; i < split.test.numbers.size(); ++i) {
      EXPECT_EQ(split.test.labels[i], split.test.numbers[i] < 41 ? 0 : 1);
    }
    EXPECT_EQ(split_features(images, 1 - 0.6, seed).train.numbers, split.train.numbers);
    seen.insert(split.train.numbers);
  }
  EXPECT_EQ(seen.size(), 3);
}

TEST(FeatureSplits, AClassThatAPartHasNoneOfIsNamed) {
  const Labelled images({0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 2);
  EXPECT_EQ(message_of<JobError>([&] { split_features(images, 0.4, 1); }),
            "split: of the 1 images of class 1 1 are for fitting and 0 for testing: take another "
            "split.train, or more images of it");
  EXPECT_EQ(message_of<JobError>([&] { split_features(images, 0.97, 1); }),
            "split: of the 9 images of class 0 0 are for fitting and 9 for testing: take another "
            "split.train, or more images of it");
}

/// Two features of four samples.
ImageFeatures four_rows() {
  ImageFeatures features;
  features.samples = 4;
  features.width = 2;
  const std::shared_ptr<float[]> rows(new float[8]{1, 0, 0, 1, -1, 0, 0, -1});
  features.memory.data = rows;
  return features;
}

LogisticModel of_two() {
  return {.classes = 2, .features = 2, .coefficients = {2.0, -1.0}, .intercepts = {0.5}};
}
LogisticModel of_three() {
  return {.classes = 3,
          .features = 2,
          .coefficients = {1.0, 0.0, 0.0, 1.0, -1.0, 0.25},
          .intercepts = {0.0, 0.5, -0.5}};
}

TEST(FeatureEvaluations, CountRightAndWrong) {
  const ImageFeatures features = four_rows();
  const LogisticModel model = of_two();  // log odds 2.5, -0.5, -1.5, 1.5: classes 1, 0, 0, 1
  const FeatureEvaluation all =
      evaluate_features(model, features, {{0, 1, 2, 3}, {1, 0, 1, 0}}, {"daisies", "roses"});
  EXPECT_EQ(all.evaluation.correct, 2);
  EXPECT_EQ(all.evaluation.samples, 4);
  EXPECT_EQ(all.report.confusion, (std::vector<std::int64_t>{1, 1, 1, 1}));
  ASSERT_EQ(all.report.worst.size(), 2);
  EXPECT_EQ(all.report.worst[0].sample, 2) << "of equal losses the first";
  EXPECT_NEAR(all.report.worst[0].loss, std::log1p(std::exp(1.5)), 1e-12);
  const double sum =
      std::log1p(std::exp(-2.5)) + std::log1p(std::exp(-0.5)) + 2 * std::log1p(std::exp(1.5));
  EXPECT_NEAR(all.evaluation.loss, sum / 4, 1e-12);
  const FeatureEvaluation last = evaluate_features(model, features, {{3}, {1}}, {});
  EXPECT_EQ(last.evaluation.correct, 1);
  EXPECT_TRUE(last.report.worst.empty());
}

/// The softmax of the dense layer is the model's.
TEST(DenseForm, GivesTheModelsProbabilities) {
  const ImageFeatures features = four_rows();
  for (const LogisticModel& model : {of_two(), of_three()}) {
    const DenseWeights dense = dense_weights(model);
    ASSERT_EQ(dense.weight.size(), static_cast<std::size_t>(model.classes) * 2);
    ASSERT_EQ(dense.bias.size(), static_cast<std::size_t>(model.classes));
    for (std::int64_t i = 0; i < 4; ++i) {
      const float* const x = features.row(i);
      std::vector<double> all;
      double sum = 0;
      for (std::size_t k = 0; k < dense.bias.size(); ++k) {
        all.push_back(
            std::exp(dense.weight[2 * k] * x[0] + dense.weight[2 * k + 1] * x[1] + dense.bias[k]));
        sum += all.back();
      }
      const std::vector<double> expected = model.probabilities({x, 2});
      for (std::size_t k = 0; k < all.size(); ++k) {
        EXPECT_NEAR(all[k] / sum, expected[k], 1e-6) << model.classes << " classes, sample " << i;
      }
    }
  }
  EXPECT_THAT(dense_weights(of_two()).weight, ElementsAre(0, 0, 2, -1));
  EXPECT_THAT(dense_weights(of_two()).bias, ElementsAre(0, 0.5));
}

TEST(RegressionState, ComesBackBitByBit) {
  optim::OwlqnState state;
  state.x = {1.0, -0.0, std::numeric_limits<double>::denorm_min(), 1e300};
  state.gradient = {0.1, 0.2, 0.3, 0.4};
  state.steps = {{1, 2, 3, 4}};
  state.changes = {{5, 6, 7, 8}};
  state.values = {3.0, 2.0};
  state.evaluations = 7;
  const io::NamedArray array = to_array(state);
  EXPECT_LE(array.shape.elements() * 4, regression_state_bytes(3, 2));
  const optim::OwlqnState back = regression_state_from({&array, 1}, "a test");
  EXPECT_EQ(optim::to_bytes(back), optim::to_bytes(state));
}

TEST(RegressionState, RefusesWhatIsNone) {
  EXPECT_EQ(message_of<IoError>([] { regression_state_from({}, "c.h5"); }),
            "c.h5: regression/state is missing: it is of no logistic regression");
  io::NamedArray array = to_array({});
  array.values[1] = 0.5F;
  EXPECT_EQ(message_of<IoError>([&] {
              regression_state_from({&array, 1}, "c.h5");
            }),
            "c.h5: element 1 of regression/state is 0.5: whole numbers from 0 to 65535 are needed");
  array.values[1] = NAN;
  EXPECT_THAT(message_of<IoError>([&] {
                regression_state_from({&array, 1}, "c.h5");
              }),
              HasSubstr("element 1 of regression/state is nan"));
  array = to_array({});
  array.values.resize(2);
  EXPECT_THAT(message_of<IoError>([&] {
                regression_state_from({&array, 1}, "c.h5");
              }),
              HasSubstr("c.h5"));
}

}  // namespace
}  // namespace gentrain::trainers
