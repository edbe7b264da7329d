// Weights of classes: scikit-learn's numbers, Keras's loss; with them and with augmentation the
// same bytes for any ranks and threads.
#include <cmath>

#include <gtest/gtest.h>

#include "core/data/memory_dataset.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/gradients.h"
#include "tests/trainers/pixel_net.h"
#include "tests/trainers/small_runs.h"
#include "trainers/classifier.h"

namespace gentrain::trainers {
namespace {

using test::message_of;

std::shared_ptr<data::Dataset> labelled(const std::vector<std::int32_t>& labels, int classes) {
  return std::make_shared<data::MemoryDataset>(io::make_bytes(labels.size()), Shape{1, 1, 1},
                                               labels, classes, "labelled");
}

TEST(ClassWeights, AreScikitLearnsBalancedOnes) {
  // compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 0, 1, 2, 2, 0])
  const auto weights = balanced_class_weights(*labelled({0, 0, 0, 0, 1, 2, 2, 0}, 3));
  EXPECT_EQ(weights, (std::vector<float>{8.0F / 15, 8.0F / 3, 8.0F / 6}));
  EXPECT_EQ(balanced_class_weights(*labelled({1, 0}, 2)), (std::vector<float>{1, 1}));
}

TEST(ClassWeights, AClassWithoutImagesIsNamed) {
  EXPECT_EQ(message_of<JobError>([] {
              balanced_class_weights(*labelled({0, 2, 2}, 3));
            }),
            "class_weight auto: labelled has no image of class 1: set it to none");
  EXPECT_EQ(message_of<JobError>([] {
              balanced_class_weights(*labelled({0, -1}, 2));
            }),
            "class_weight: labelled: label -1 of sample 1, there are 2 classes");
}

TEST(ClassWeights, NamesStandForClasses) {
  EXPECT_EQ(class_name({"cats", "dogs"}, 1), "dogs");
  EXPECT_EQ(class_name({}, 1), "class 1");
}

/// The loss and the weights' gradient of one step on pixels 1, 2, 3 with labels 0, 1, 2.
struct Step {
  double loss = 0;
  std::vector<float> gradient;
};

Step step_with(const std::vector<float>& class_weights) {
  const test::Workbench bench(test::cpu_device());
  Device* const device = &bench.device();
  Queue& queue = bench.queue();
  PixelNet net(*device, queue);
  dynamic_cast<Classifier&>(*net.objective).set_class_weights(class_weights);
  Tape tape(*device, queue);
  Context context{*device, queue, &tape, true, {}};
  test::GradientStore gradients(bench, net.parameters);
  const Tensor x = Tensor::empty(*device, {3, 1, 1, 1}, DType::kF32);
  copy_from_host<float>(*device, queue, std::vector<float>{1, 2, 3}, x);
  const Tensor labels = Tensor::empty(*device, {3}, DType::kI32);
  copy_from_host<std::int32_t>(*device, queue, std::vector<std::int32_t>{0, 1, 2}, labels);
  ShardStep step{context, gradients, "train", x, labels, 1.0 / 3};
  const std::vector<double> sums = net.objective->train(step);
  return {sums[0] / 3, copy_to_host<float>(*device, queue, gradients.gradient(0))};
}

TEST(ClassWeights, TheLossIsTheWeightedSumOverTheNumberOfImages) {
  const std::vector<float> weights = {0.5F, 2, 1.25F};
  double expected = 0;
  std::vector<double> gradient(3);
  for (int i = 0; i < 3; ++i) {
    const double x = i + 1;
    const double logits[3] = {0, 0.5 * x, -0.5 * x};
    const double sum = std::exp(logits[0]) + std::exp(logits[1]) + std::exp(logits[2]);
    const auto weight = static_cast<double>(weights[static_cast<std::size_t>(i)]);
    expected += weight * (std::log(sum) - logits[i]) / 3;
    for (int k = 0; k < 3; ++k) {
      gradient[static_cast<std::size_t>(k)] +=
          weight * (std::exp(logits[k]) / sum - (k == i ? 1 : 0)) * x / 3;
    }
  }
  const Step step = step_with(weights);
  EXPECT_NEAR(step.loss, expected, 1e-6);
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(step.gradient[k], gradient[k], 1e-6) << k;
  }
}

TEST(ClassWeights, OnesChangeNoBit) {
  const Step plain = step_with({});
  const Step ones = step_with({1, 1, 1});
  EXPECT_EQ(ones.loss, plain.loss);
  EXPECT_EQ(ones.gradient, plain.gradient);
}

TEST(ClassWeights, ATrainedModelIsTheSameForAnyRanksAndAnotherThanWithout) {
  TrainOptions options = small_job();
  const Hashes without = train_small(options, 1);
  options.class_weight = ClassWeight::kAuto;
  const Hashes alone = train_small(options, 1);
  EXPECT_NE(alone, without);
  EXPECT_EQ(train_small(options, 3), alone);
  options.threads = 2;
  EXPECT_EQ(train_small(options, 2), alone);
}

TEST(ClassWeights, AnotherModelHasNone) {
  TrainOptions options = small_vae_job();
  options.class_weight = ClassWeight::kAuto;
  const auto single = comm::make_single();
  EXPECT_EQ(message_of<JobError>([&] { TrainingRun(options, *single); }),
            "class_weight: model vae learns no classes");
}

TEST(Augmentation, ATrainedModelIsTheSameForAnyRanksAndThreads) {
  TrainOptions options = small_job();
  const Hashes without = train_small(options, 1);
  options.data.augment = data::AugmentOptions{
      .rotation = 10, .width_shift = 0.1, .shear = 3, .zoom_low = 0.9, .zoom_high = 1.1};
  const Hashes alone = train_small(options, 1);
  EXPECT_NE(alone, without);
  EXPECT_EQ(train_small(options, 3), alone);
  options.threads = 3;
  EXPECT_EQ(train_small(options, 1), alone);
  EXPECT_EQ(train_small(options, 2), alone);
  options.data.augment = data::AugmentOptions{};
  EXPECT_EQ(train_small(options, 1), without) << "nothing is moved";
}

TEST(Augmentation, IsOfClassifiersAlone) {
  TrainOptions options = small_vae_job();
  options.data.augment = data::AugmentOptions{.rotation = 10};
  const auto single = comm::make_single();
  EXPECT_EQ(message_of<JobError>([&] { TrainingRun(options, *single); }),
            "data.augment: model vae learns no classes; only a classifier's labelled training "
            "images are augmented");
}

}  // namespace
}  // namespace gentrain::trainers
