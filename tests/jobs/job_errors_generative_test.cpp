// Everything that can be wrong with the job file of an autoencoder or of SRGAN.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/jobs/job_error.h"

namespace gentrain::jobs {
namespace {

TEST(JobErrors, Autoencoder) {
  const auto vae = [](const std::string& lines) {
    return error_of("model: vae\nstop: {epochs: 1}\n" + lines);
  };
  EXPECT_EQ(vae("best: {metric: loss}\nearly_stop: {metric: loss}"), "");
  EXPECT_EQ(vae("best: {metric: top1}"),
            "j.yaml:3:8: best.metric top1: model vae has none, it is no classifier; loss is there");
  EXPECT_EQ(vae("early_stop:\n  metric: top1"),
            "j.yaml:4:3: early_stop.metric top1: model vae has none, it is no classifier; loss is "
            "there");
  EXPECT_EQ(error_of("model: {name: lenet, latent: 8, hidden: 9}\nstop: {epochs: 1}\n"),
            "j.yaml:1:22: model.latent has no effect without model.name vae or vae_conv\n"
            "j.yaml:1:33: model.hidden has no effect without model.name vae or vae_conv");
  EXPECT_EQ(vae("samples: {every: 10 s}"),
            "j.yaml:3:11: samples.every counts steps or epochs: pictures by the clock would differ "
            "from run to run");
  EXPECT_EQ(
      error_of("model: lenet\nstop: {epochs: 1}\nsamples: {every: 5}\n"
               "evaluate: {importance_samples: 9}\n"),
      "j.yaml:3:11: samples.every has no effect without model.name vae, vae_conv or srgan\n"
      "j.yaml:4:12: evaluate.importance_samples has no effect without model.name vae or vae_conv");
  EXPECT_EQ(error_of("model: {name: vae, latent: 0}\nstop: {epochs: 1}\n"),
            "j.yaml:1:28: model.latent is 0 but must be at least 1 and at most 10000000");
}

/// The error of a right job of SRGAN's stage gan with lines added.
std::string srgan(const std::string& lines) {
  return error_of("model: {name: srgan, width: 8}\nstages:\n  gan:\n    stop: {steps: 1}\n" +
                  lines);
}

TEST(JobErrors, Srgan) {
  EXPECT_EQ(error_of("model: {name: srgan, blur: 0.05}\nstages: {gan: {stop: {steps: 1}}}\n"),
            "j.yaml:1:22: model.blur is 0.05 but must be 0 or at least 0.1");
  EXPECT_EQ(error_of("model: {name: vae, blur: 1}\nstop: {steps: 1}\n"),
            "j.yaml:1:20: model.blur has no effect without model.name srgan");
  EXPECT_EQ(error_of("model: {name: srgan, ema: 1}\nstages: {gan: {stop: {steps: 1}}}\n"),
            "j.yaml:1:27: model.ema is 1 but must be at least 0 and below 1");
  EXPECT_EQ(error_of("model: {name: vae, ema: 0.5}\nstop: {steps: 1}\n"),
            "j.yaml:1:20: model.ema has no effect without model.name srgan");
  EXPECT_EQ(
      error_of("model: srgan\nstages: {mse: {stop: {steps: 1}, optimizer: {generator: {lr: 1},"
               " discriminator: {lr: 1}}}}\n"),
      "j.yaml:2:66: stages.mse.optimizer.discriminator has no effect: the stage mse trains "
      "the generator alone");
  EXPECT_EQ(srgan("best: {metric: loss}"),
            "j.yaml:5:8: best.metric loss: the best pixels are not the best images; with model "
            "srgan only none is there");
  EXPECT_EQ(error_of("model: {name: srgan, width: 10}\nstop: {steps: 1}\n"),
            "j.yaml:1:22: model.width is 10 but must be a multiple of 4\n"
            "j.yaml: model srgan has the stages mse and gan, not 'train'");
  EXPECT_EQ(error_of("model: lenet\nstop: {steps: 1}\noptimizer: {generator: {lr: 0.2}}\n"
                     "adversarial: {weight: 0.5}\n"),
            "j.yaml:3:13: optimizer.generator has no effect without model.name srgan\n"
            "j.yaml:4:1: adversarial has no effect without model.name srgan");
}

TEST(JobErrors, ContentLoss) {
  EXPECT_EQ(
      srgan("    optimizer: {name: adam, lr: 0.1, generator: {lr: 0.2}, discriminator: none}\n"
            "content: {maps: [block1_pool], map_weights: [2]}\n"
            "adversarial: {loss: cross_entropy, weight: 0.001}\n"),
      "");
  EXPECT_THAT(
      srgan("content: {maps: [block6_conv1]}"),
      testing::StartsWith(
          "j.yaml:5:11: content.maps: vgg19 has no layer 'block6_conv1' (there are block1_"));
  EXPECT_EQ(srgan("content: {maps: [block1_conv1, block2_conv1], map_weights: [1]}"),
            "j.yaml:5:47: content.map_weights has 1 weights for 2 maps");
  EXPECT_EQ(srgan("content: {map_weights: [1, 2]}"),
            "j.yaml:5:11: content.map_weights has 2 weights for 3 maps");
  EXPECT_EQ(srgan("content: {network: vgg16, weights: random}"), "");
  EXPECT_EQ(srgan("content: {network: pixels, maps: [block1_conv1], scale: none}"),
            "j.yaml:5:28: content.maps has no effect without content.network vgg19 or vgg16\n"
            "j.yaml:5:50: content.scale has no effect without content.network vgg19 or vgg16");
  EXPECT_EQ(srgan("content: {network: pixels, cache: true}"),
            "j.yaml:5:28: content.cache has no effect without content.network vgg19 or vgg16");
  EXPECT_EQ(srgan("content: {network: pixels, pixel_weight: 2}"),
            "j.yaml:5:28: content.pixel_weight has no effect without content.network vgg19 or "
            "vgg16");
  EXPECT_EQ(srgan("content: {pixel_weight: -1}"),
            "j.yaml:5:25: content.pixel_weight is -1 but must be at least 0");
  EXPECT_EQ(error_of("model: lenet\nstop: {steps: 1}\ncontent: {cache: true}\n"),
            "j.yaml:3:1: content has no effect without model.name srgan");
  EXPECT_EQ(srgan("content: {maps: block1_conv1}"),
            "j.yaml:5:17: content.maps needs a list of texts, got 'block1_conv1'");
  EXPECT_EQ(srgan("content: {map_weights: [1, -2]}"),
            "j.yaml:5:28: content.map_weights is -2 but must be at least 0");
  EXPECT_EQ(srgan("content: {map_weights: 3}"),
            "j.yaml:5:24: content.map_weights needs a list of numbers, got '3'");
  EXPECT_EQ(srgan("content: {maps: [block1_pool], before_activation: true}"),
            "j.yaml:5:11: content.maps: block1_pool has no ReLU that it could stand before");
}

}  // namespace
}  // namespace gentrain::jobs
