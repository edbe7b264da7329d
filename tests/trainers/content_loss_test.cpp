// The content loss: pixels beside maps, and the gradient of both.
#include "trainers/content_loss.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "core/ops/ops.h"
#include "tests/support/gradients.h"
#include "tests/support/workbench.h"

namespace gentrain::trainers {
namespace {

const std::vector<VggMap> kMaps = {{"block1_conv1"}, {"block2_conv1"}};

class ContentLosses : public ::testing::Test {
 protected:
  /// By two maps of a VGG19 with random weights, and by pixels.
  [[nodiscard]] ContentLoss make(double pixel_weight) const {
    auto vgg = std::make_unique<VggFeatures>(VggNet::kVgg19, kMaps, VggInput::kCaffe, 2);
    vgg->initialize(bench_.device(), bench_.queue(), RngKey(3), DType::kF64);
    ContentLoss content;
    content.set(std::move(vgg), kMaps, {0.5, 2.0}, pixel_weight);
    return content;
  }
  struct Sums {
    double maps, pixels;
  };
  /// Over two images, unscaled.
  [[nodiscard]] Sums sums(const ContentLoss& content) const {
    Context context{bench_.device(), bench_.queue(), nullptr, false, {}};
    const ContentLoss::Result result = content.compute(context, {made_, made_}, original_, 0.25);
    EXPECT_NEAR(bench_.value(result.loss), 0.25 * (result.maps + result.pixels), 1e-15);
    return {result.maps, result.pixels};
  }

  test::Workbench bench_{test::reference_device()};
  Tensor made_ = bench_.random({2, 2, 3, 3}, RngKey(4), DType::kF64);
  Tensor original_ = bench_.random({2, 2, 3, 3}, RngKey(5), DType::kF64);
};

TEST_F(ContentLosses, PixelsAreAddedWithTheirWeight) {
  const Sums alone = sums(ContentLoss());
  double squares = 0;
  const std::vector<double> made = bench_.values(made_);
  const std::vector<double> original = bench_.values(original_);
  for (std::size_t i = 0; i < made.size(); ++i) {
    squares += (made[i] - original[i]) * (made[i] - original[i]);
  }
  EXPECT_DOUBLE_EQ(alone.pixels, squares / (2 * 3 * 3)) << "the sum over the images of their means";
  EXPECT_EQ(alone.maps, 0);

  const Sums maps = sums(make(0));
  EXPECT_GT(maps.maps, 0);
  EXPECT_EQ(maps.pixels, 0);
  const Sums both = sums(make(1.5));
  EXPECT_EQ(both.maps, maps.maps);
  EXPECT_DOUBLE_EQ(both.pixels, 1.5 * alone.pixels);
}

TEST_F(ContentLosses, GradientIsThatOfMapsAndPixels) {
  for (const double pixel_weight : {0.0, 1.0e5}) {
    const ContentLoss content = make(pixel_weight);
    EXPECT_TRUE(test::gradients_agree(
        bench_, {made_},
        [&](Context& context, std::span<const Tensor> in) {
          return content.compute(context, {in[0], in[0]}, original_, 1e-5).loss;
        }))
        << pixel_weight;
  }
}

}  // namespace
}  // namespace gentrain::trainers
