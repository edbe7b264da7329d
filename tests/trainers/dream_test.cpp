// Dreams: the presets, the loss against its formula and finite differences, going on, and the same
// bytes for any ranks and threads.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"
#include "tests/trainers/small_runs.h"
#include "trainers/dream_folder.h"
#include "trainers/dream_sources.h"
#include "trainers/dreamer.h"
#include "trainers/dreams.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::HasSubstr;
using testing::StartsWith;

void in_order(int parts, const std::function<void(int)>& part) {
  for (int i = 0; i < parts; ++i) {
    part(i);
  }
}

/// A dream of SqueezeNet's first layers.
DreamOptions small_dream() {
  DreamOptions dream;
  dream.preset = dream.taken = DreamOptions::Preset::kNone;
  dream.network = "squeezenet";
  dream.layers = {{"fire2/concat", 1, {}}, {"relu_conv1", 0.5, {0, 5}}};
  dream.weights = {0.1, 0.02};
  dream.jitter = 2;
  dream.iterations = 2;
  dream.optimizer.max_evaluations = 3;
  dream.height = 40;
  dream.width = 36;
  return dream;
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
  EXPECT_THAT(message_of<JobError>([&] { static_cast<void>(small.part_for(1, 1)); }),
              StartsWith("an image of 1 x 1 pixels is too small for squeezenet: conv1 "
                         "(convolution): "));
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

/// Jobs of dreams in a folder with three pictures.
class Dreams : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("gentrain_dreams_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "in");
    for (const int i : {0, 1, 2}) {
      image::Image picture{30 + i, 44, 3, {}};
      for (std::int64_t k = 0; k < picture.h * picture.w * 3; ++k) {
        picture.pixels.push_back(static_cast<std::uint8_t>((k * (i + 3) / 5) % 256));
      }
      image::write_png(folder_ / "in" / ("p" + std::to_string(i) + ".png"), picture);
    }
    options_.weights.file = "random";
    options_.op_threads = 2;
    dream_.images = {(folder_ / "in").string()};
  }
  void TearDown() override { fs::remove_all(folder_); }

  DreamSetting setting(const std::string& output) const {
    return {.options = options_,
            .dream = dream_,
            .output = folder_ / output,
            .identity = "a job",
            .resolved = "kind: deepdream\n"};
  }
  /// Every file of an output by its name.
  std::map<std::string, std::string> files(const std::string& output) const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / output)) {
      if (entry.is_regular_file()) {
        std::ifstream file(entry.path(), std::ios::binary);
        all[fs::relative(entry.path(), folder_ / output).string()] = {
            std::istreambuf_iterator<char>(file), {}};
      }
    }
    return all;
  }
  void run(const std::string& output, int ranks, std::int64_t threads) {
    options_.threads = threads;
    const DreamSetting job = setting(output);
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      EXPECT_TRUE(run_dreams(job, communicator));
    });
  }
  std::string refusal(const std::string& output) const {
    return message_of<Error>([&] { run_dreams(setting(output), *comm::make_single()); });
  }

  fs::path folder_;
  TrainOptions options_;
  DreamOptions dream_ = small_dream();
};

TEST_F(Dreams, AreTheSameBytesForAnyRanksAndThreads) {
  for (const Precision precision : {Precision::kF32, Precision::kBf16Emulated}) {
    options_.precision = precision;
    fs::remove_all(folder_ / "one");
    run("one", 1, 1);
    const auto one = files("one");
    EXPECT_EQ(one.size(),
              3U * 4 + 3);  // two iterations, dream, record; and what says whose they are
    EXPECT_TRUE(one.contains("001_p0/iteration_02.png"));
    EXPECT_TRUE(one.contains("003_p2.png"));
    for (const auto& [ranks, threads] :
         {std::pair{1, 2}, std::pair{2, 1}, std::pair{3, 2}, std::pair{4, 1}}) {
      fs::remove_all(folder_ / "other");
      run("other", ranks, threads);
      EXPECT_EQ(files("other"), one) << ranks << " ranks of " << threads << " threads";
    }
  }
}

TEST_F(Dreams, DependOnTheirSeed) {
  run("one", 1, 1);
  options_.seed = 2;  // of the jitter, and of these weights
  run("other", 1, 1);
  EXPECT_NE(files("other").at("001_p0.png"), files("one").at("001_p0.png"));
}

TEST_F(Dreams, StayOnceTheyAreThere) {
  run("out", 1, 1);
  const auto all = files("out");
  const auto time = fs::last_write_time(folder_ / "out/001_p0.png");
  fs::remove(folder_ / "out/002_p1.json");
  fs::remove(folder_ / "out/metrics.jsonl");
  run("out", 2, 1);
  EXPECT_EQ(files("out"), all);
  EXPECT_EQ(fs::last_write_time(folder_ / "out/001_p0.png"), time);
}

TEST_F(Dreams, WriteTheirTerms) {
  run("out", 1, 2);
  std::ifstream file(folder_ / "out/metrics.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0]["image"], "p0.png");
  EXPECT_EQ(lines[3]["image"], "p1.png");
  EXPECT_EQ(lines[3]["iteration"], 2);
  const nlohmann::json& one = lines[0];
  double sum = one["continuity"].get<double>() + one["l2"].get<double>();
  for (const auto& [layer, term] : one["layers"].items()) {
    sum += term.get<double>();
  }
  EXPECT_NEAR(sum, one["loss"].get<double>(), 1e-9 * std::abs(sum));
  EXPECT_LT(one["loss"].get<double>(), one["before"].get<double>());
}

TEST_F(Dreams, OfAnotherJobAreNotTouched) {
  run("out", 1, 1);
  dream_.images = {(folder_ / "in/p0.png").string()};
  EXPECT_EQ(refusal("out"),
            "output: " + (folder_ / "out").string() +
                " holds the dreams of another job, of other images, weights or libraries: name "
                "another folder, or start over with --overwrite");
  DreamSetting over = setting("out");
  over.overwrite = true;
  EXPECT_TRUE(run_dreams(over, *comm::make_single()));
  EXPECT_FALSE(fs::exists(folder_ / "out/002_p1.json"));
}

TEST_F(Dreams, SayWhatIsWrongWithTheirImages) {
  dream_.images = {"nowhere.jpg"};
  EXPECT_EQ(refusal("out"), "images: nowhere.jpg is not there: a file or folder is needed");
  std::ofstream(folder_ / "bad.png") << "no image";
  dream_.images = {(folder_ / "bad.png").string()};
  dream_.height = 0;
  EXPECT_THAT(refusal("out"), StartsWith((folder_ / "bad.png").string()));
  image::write_png(folder_ / "dot.png", {1, 1, 3, {1, 2, 3}});
  dream_.images = {(folder_ / "dot.png").string()};
  EXPECT_THAT(refusal("out"), StartsWith("dot.png: an image of 1 x 1 pixels is too small for "
                                         "squeezenet: conv1 (convolution): "));
  fs::create_directories(folder_ / "empty");
  dream_.images = {(folder_ / "empty").string()};
  EXPECT_THAT(refusal("out"), HasSubstr("the folder holds no images"));
}

TEST_F(Dreams, NeedMemory) {
  dream_.height = dream_.width = 60000;
  EXPECT_THAT(refusal("out"), AllOf(StartsWith("there is not enough memory: 1 rank on host "),
                                    HasSubstr(". p0.png of 60000 x 60000 pixels takes "),
                                    HasSubstr(" MiB of it: a smaller `size` needs less")));
}

TEST_F(Dreams, BeginWithADrawnFaceWhereThereIsNoPicture) {
  const char* const before = std::getenv("GENTRAIN_DATA");
  const std::string data = before == nullptr ? "" : before;
  ::setenv("GENTRAIN_DATA", (folder_ / "nothing").c_str(), 1);
  dream_.images.clear();
  std::string note;
  const auto sources = dream_sources(dream_, note);
  data.empty() ? ::unsetenv("GENTRAIN_DATA") : ::setenv("GENTRAIN_DATA", data.c_str(), 1);
  ASSERT_EQ(sources.size(), 1U);
  EXPECT_THAT(note, StartsWith("images: none are named"));
  const LoadedSource drawn = load_source({"face", {}}, dream_);
  EXPECT_EQ(drawn.image.h, 40);
  EXPECT_EQ(drawn.image.w, 36);
}

TEST_F(Dreams, UnfinishedAreReadBackWhole) {
  const DreamFolder folder(folder_ / "out", "me");
  folder.open("", false, false);
  const DreamKey key{1, "cats/tom.jpg", "hash"};
  const DreamState state{1, 2, {2, 1, {1.5, -2, 3e-300, 4, 5, 6}}};
  const image::Image picture{2, 1, 3, {1, 2, 3, 4, 5, 6}};
  folder.save(key, state, nlohmann::json::array({7}), picture, true);
  EXPECT_TRUE(fs::exists(folder_ / "out/002_cats_tom/octave_2_iteration_02.png"));
  const auto found = folder.unfinished(key);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->state.octave, 1);
  EXPECT_EQ(found->state.iterations, 2);
  EXPECT_EQ(found->state.image.values, state.image.values);
  EXPECT_EQ(found->steps, nlohmann::json::array({7}));
  EXPECT_FALSE(folder.unfinished({1, "cats/tom.jpg", "another file"}).has_value());
  EXPECT_FALSE(DreamFolder(folder_ / "out", "you").unfinished(key).has_value());
  const fs::path file = folder_ / "out/002_cats_tom.state";
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_FALSE(folder.unfinished(key).has_value());
  std::ofstream(file) << "nonsense";
  EXPECT_FALSE(folder.unfinished(key).has_value());
  folder.finish(key, nlohmann::json::array({8}), picture);
  EXPECT_FALSE(fs::exists(file));
  EXPECT_EQ(folder.finished(key), nlohmann::json::array({8}));
}

TEST_F(Dreams, AreEstimatedAndTimed) {
  const DreamEstimate estimate = estimate_dreams(options_, dream_);
  EXPECT_EQ(estimate.images, 3U);
  EXPECT_EQ(estimate.h, 40);
  EXPECT_EQ(estimate.missing, "");
  EXPECT_GT(estimate.bytes, 0);
  const BenchResult result = bench_dreams(setting("out"), {.stage = "", .steps = 2, .warmup = 1},
                                          std::chrono::system_clock::now(), *comm::make_single());
  EXPECT_EQ(result.batch, 1);
  EXPECT_GT(result.images_per_s(), 0);
  EXPECT_NEAR(result.gflop_per_step, estimate.gflop, 1e-9);
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  const auto refused = [&](const BenchOptions& bench) {
    return message_of<JobError>([&] {
      bench_dreams(setting("out"), bench, std::chrono::system_clock::now(), *comm::make_single());
    });
  };
  EXPECT_THAT(refused({.stage = "gan"}), StartsWith("--stage: a job of the kind deepdream has no"));
  EXPECT_THAT(refused({.stage = "", .forward = true}),
              StartsWith("--forward: a job of the kind deepdream has no"));
  EXPECT_EQ(refused({.stage = "", .steps = 0}),
            "--steps 0, --warmup 5: at least 1 and 0 are needed");
}

}  // namespace
}  // namespace gentrain::trainers
