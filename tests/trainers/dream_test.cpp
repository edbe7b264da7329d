// Dreams: the presets, the loss against its formula and finite differences, and going on.
#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"
#include "tests/trainers/dream_runs.h"
#include "trainers/dreamer.h"

namespace gentrain::trainers {
namespace {

using test::message_of;
using testing::HasSubstr;
using testing::StartsWith;

void in_order(int parts, const std::function<void(int)>& part) {
  for (int i = 0; i < parts; ++i) {
    part(i);
  }
}

DreamOptions with_layers(std::vector<DreamLayer> layers) {
  DreamOptions dream = small_dream();
  dream.layers = std::move(layers);
  return dream;
}

TEST(Presets, AreThoseOfTheExample) {
  DreamOptions dream;
  EXPECT_EQ(dream.layers,
            (std::vector<DreamLayer>{{"block5_conv1", 0.05, {}}, {"block5_conv2", 0.02, {}}}));
  EXPECT_EQ(dream.weights, (DreamWeights{0.1, 0.02}));
  EXPECT_EQ(dream.jitter, 0);
  EXPECT_EQ(dream.iterations, 5);
  EXPECT_EQ(dream.optimizer.max_evaluations, 7);
  dream.preset = DreamOptions::Preset::kBadTrip;
  take_preset(dream);
  EXPECT_EQ(dream.layers, (std::vector<DreamLayer>{{"block4_conv1", 0.05, {}},
                                                   {"block4_conv2", 0.01, {}},
                                                   {"block4_conv3", 0.01, {}}}));
  EXPECT_EQ(dream.weights, (DreamWeights{0.1, 0.8}));
  EXPECT_EQ(dream.jitter, 5);
  dream.jitter = 1;
  take_preset(dream);  // taken already
  EXPECT_EQ(dream.jitter, 1);
  dream.preset = DreamOptions::Preset::kDreamy;
  take_preset(dream);
  EXPECT_EQ(dream, DreamOptions());
}

/// A network with drawn weights on the reference device in f64, and the loss of small images.
struct ExactLoss {
  ExactLoss(const DreamOptions& options, int parts, std::int64_t h, std::int64_t w)
      : dream(options),
        bench(test::reference_device()),
        network(dream),
        dreamer(load(), dream,
                {.device = bench.device(),
                 .run_parts = in_order,
                 .parts = parts,
                 .dtype = DType::kF64}),
        loss(dreamer.loss_for(h, w)) {}
  const DreamNetwork& load() {
    network.load(bench.device(), bench.queue(), "random", RngKey(5), DType::kF64);
    return network;
  }

  DreamOptions dream;
  test::Workbench bench;
  DreamNetwork network;
  Dreamer dreamer;
  DreamLoss& loss;
};

TEST(DreamLoss, IsItsFormula) {
  const std::int64_t h = 9;
  const std::int64_t w = 10;
  DreamOptions dream = with_layers({{"block1_conv1", 0.7, {}}, {"block1_conv2", 0.4, {1, 3}}});
  dream.network = "vgg16";
  ExactLoss exact(dream, 2, h, w);
  const std::vector<double> x = test::random_values(h * w * 3, RngKey(1), -100, 100);
  std::vector<double> gradient(x.size());
  const double value = exact.loss.evaluate(x, gradient);
  // The same maps without a tape, whole.
  const auto executor = exact.network.executor(h, w);
  Context context{exact.bench.device(), exact.bench.queue(), nullptr, false, {}};
  const std::vector<std::string> names{"block1_conv1", "block1_conv2"};
  const auto maps =
      executor->forward(context, exact.bench.tensor({1, h, w, 3}, x, DType::kF64), names);
  std::vector<double> sums(2, 0.0);
  for (std::size_t map = 0; map < 2; ++map) {
    const std::vector<double> values = exact.bench.values(maps[map]);
    for (std::int64_t y = 2; y < h - 2; ++y) {
      for (std::int64_t column = 2; column < w - 2; ++column) {
        for (const std::int64_t c : {1, 3}) {
          const double f = values[static_cast<std::size_t>((y * w + column) * 64 + c)];
          sums[map] += map == 1 ? f * f : 0;
        }
        for (std::int64_t c = 0; c < 64 && map == 0; ++c) {
          const double f = values[static_cast<std::size_t>((y * w + column) * 64 + c)];
          sums[map] += f * f;
        }
      }
    }
  }
  const DreamTerms& terms = exact.loss.evaluations().back();
  const double pixels = static_cast<double>(h * w);
  EXPECT_NEAR(terms.layers[0], -0.7 * sums[0] / (64 * pixels), 1e-9 * std::abs(terms.layers[0]));
  EXPECT_NEAR(terms.layers[1], -0.4 * sums[1] / (2 * pixels), 1e-9 * std::abs(terms.layers[1]));
  std::vector<double> unused(x.size());
  EXPECT_EQ(terms.continuity, add_continuity(x, h, w, 0.1, unused));
  EXPECT_EQ(terms.l2, add_l2(x, 0.02, unused));
  EXPECT_EQ(value, terms.total());
}

TEST(DreamLoss, HasItsGradient) {
  const std::int64_t h = 19;
  const std::int64_t w = 17;
  for (const int parts : {1, 3}) {
    ExactLoss exact(with_layers({{"relu_conv1", 0.5, {0, 5}}, {"conv1", 1, {}}}), parts, h, w);
    std::vector<double> x = test::random_values(h * w * 3, RngKey(2), -100, 100);
    std::vector<double> gradient(x.size());
    std::vector<double> unused(x.size());
    exact.loss.evaluate(x, gradient);
    const double largest = *std::ranges::max_element(
        gradient, [](double a, double b) { return std::abs(a) < std::abs(b); });
    constexpr double kStep = 1e-3;
    for (std::size_t i = 0; i < x.size(); i += 37) {
      const double before = x[i];
      x[i] = before + kStep;
      const double above = exact.loss.evaluate(x, unused);
      x[i] = before - kStep;
      const double below = exact.loss.evaluate(x, unused);
      x[i] = before;
      ASSERT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-5 * std::abs(largest))
          << i << " in " << parts << " parts";
    }
  }
}

TEST(DreamNetworks, SayWhatIsWrong) {
  EXPECT_THAT(message_of<JobError>([] {
                DreamNetwork(with_layers({{"fire2/conact", 1, {}}}));
              }),
              AllOf(StartsWith("layers: the network has no layer 'fire2/conact' (known: "),
                    HasSubstr("fire2/concat")));
  EXPECT_EQ(message_of<JobError>([] { DreamNetwork(with_layers({})); }),
            "layers: a dream needs a layer at least, as layers: {block5_conv1: 0.05}");
  EXPECT_EQ(message_of<JobError>([] {
              DreamNetwork(with_layers({{"conv1", 1, {}}, {"conv1", 2, {}}}));
            }),
            "layers: conv1 is given twice");
  const DreamNetwork channels(with_layers({{"conv1", 1, {64}}}));
  EXPECT_EQ(
      message_of<JobError>([&] { static_cast<void>(channels.terms(channels.part_for(32, 32))); }),
      "layers: conv1 has no channel 64: there are 0 to 63");
  const DreamNetwork small(with_layers({{"fire2/concat", 1, {}}}));
  EXPECT_EQ(message_of<JobError>([&] { static_cast<void>(small.terms(small.part_for(16, 40))); }),
            "an image of 16 x 40 pixels is too small for squeezenet: fire2/concat gives [3, 9, "
            "128], of which a border of 2 pixels is left out");
  EXPECT_THAT(
      message_of<JobError>([&] { static_cast<void>(small.part_for(1, 1)); }),
      StartsWith("an image of 1 x 1 pixels does not fit squeezenet: conv1 (convolution): "));
  DreamOptions dense = with_layers({{"block1_conv1", 1, {}}, {"fc2", 1, {}}});
  dense.network = "vgg16";
  const DreamNetwork whole(dense);
  EXPECT_EQ(whole.terms(whole.part_for(224, 224)).size(), 2U);
  EXPECT_EQ(
      message_of<JobError>([&] { static_cast<void>(whole.part_for(600, 400)); }),
      "layers: fc2 needs images of 224 x 224 pixels, not of 600 x 400: the weights of fc1 are "
      "for that size alone");
  DreamOptions file = small_dream();
  file.model_file = "nowhere.h5";
  EXPECT_THROW(DreamNetwork{file}, IoError);
}

TEST(DreamNetworks, TakeMoreMemoryForLargerImages) {
  const DreamNetwork network(small_dream());
  const std::int64_t small = dream_bytes(network.part_for(40, 40), small_dream(), false);
  EXPECT_GT(small, 18 * 18 * 64 * 4);
  EXPECT_GT(dream_bytes(network.part_for(80, 80), small_dream(), false), 3 * small);
  EXPECT_LT(dream_bytes(network.part_for(40, 40), small_dream(), true), small);
}

/// A dreamer on the CPU.
struct SmallDreamer {
  explicit SmallDreamer(const DreamOptions& options)
      : dream(options), bench(test::cpu_device()), network(dream) {
    network.load(bench.device(), bench.queue(), "random", RngKey(5));
  }
  DreamState run(DreamState state, int stop_after = 1000) {
    Dreamer dreamer(network, dream, {.device = bench.device(), .run_parts = in_order, .parts = 2});
    DreamImage original{dream.height, dream.width, {}};
    original.values = test::random_values(dream.height * dream.width * 3, RngKey(9), -100, 100);
    ended = dreamer.run(original, RngKey(4), state, [&](const DreamStep& step, const DreamState&) {
      steps.push_back(step);
      return --stop_after > 0;
    });
    return state;
  }

  DreamOptions dream;
  test::Workbench bench;
  DreamNetwork network;
  std::vector<DreamStep> steps;
  bool ended = false;
};

TEST(Dreamers, GoOnWithTheSameBytes) {
  for (const std::int64_t octaves : {1, 2}) {
    DreamOptions dream = small_dream();
    dream.octaves = octaves;
    dream.octave_scale = 1.3;
    dream.zoom = octaves == 1 ? 1.1 : 1;
    SmallDreamer whole(dream);
    const DreamState at_once = whole.run({});
    EXPECT_TRUE(whole.ended);
    ASSERT_EQ(std::ssize(whole.steps), 2 * octaves);
    for (int stop = 1; stop < 2 * octaves; ++stop) {
      SmallDreamer halves(dream);
      const DreamState half = halves.run({}, stop);
      EXPECT_FALSE(halves.ended);
      EXPECT_EQ(halves.run(half).image.values, at_once.image.values) << stop;
    }
  }
}

TEST(Dreamers, LowerTheLoss) {
  DreamOptions dream = small_dream();
  SmallDreamer lbfgs(dream);
  lbfgs.run({});
  dream.optimizer.name = DreamOptimizer::Name::kGradientAscent;
  dream.optimizer.steps = 3;
  SmallDreamer ascent(dream);
  ascent.run({});
  for (const SmallDreamer* dreamer : {&lbfgs, &ascent}) {
    for (const DreamStep& step : dreamer->steps) {
      EXPECT_LT(step.after.total(), step.before);
    }
  }
  EXPECT_LE(lbfgs.steps[0].evaluations, 3);
  EXPECT_EQ(lbfgs.steps[0].ending, "max evaluations");
  EXPECT_EQ(ascent.steps[0].evaluations, 4);
}

TEST(Dreamers, NameTheTermThatIsNotFinite) {
  DreamOptions dream = small_dream();
  dream.weights.l2 = 1e308;
  SmallDreamer dreamer(dream);
  EXPECT_EQ(message_of<NumericError>([&] { dreamer.run({}); }), "the dream's loss is inf (l2)");
}

TEST(Octaves, EndWithTheImagesOwnSize) {
  DreamOptions dream;
  dream.octaves = 3;
  dream.octave_scale = 2;
  EXPECT_EQ(octave_size(dream, 0, 101, 40), Shape({25, 10}));
  EXPECT_EQ(octave_size(dream, 2, 101, 40), Shape({101, 40}));
}

TEST(DreamStates, AreOnlyGoneOnFromWhereTheJobHasThem) {
  DreamOptions dream = small_dream();
  dream.octaves = 2;
  dream.octave_scale = 2;
  const auto can = [&](std::int64_t octave, std::int64_t iterations, std::int64_t h,
                       std::int64_t w) {
    const DreamState state{
        octave, iterations, {h, w, std::vector<double>(static_cast<std::size_t>(h * w * 3))}};
    return can_go_on(dream, state, 40, 36);
  };
  EXPECT_TRUE(can(0, 1, 20, 18));
  EXPECT_TRUE(can(1, 2, 40, 36));
  EXPECT_FALSE(can(1, 3, 40, 36));
  EXPECT_FALSE(can(2, 1, 40, 36));
  EXPECT_FALSE(can(-1, 1, 10, 9));
  EXPECT_FALSE(can(1, -1, 40, 36));
  EXPECT_FALSE(can(0, 1, 40, 36)) << "the other octave's size";
  EXPECT_FALSE(can_go_on(dream, {1, 1, {40, 36, {1.0}}}, 40, 36));
}

}  // namespace
}  // namespace gentrain::trainers
