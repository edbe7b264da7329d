// The variational autoencoder: its parameters, its loss and gradients against central differences,
// and whole runs: the same bytes on other ranks, threads and after a stop.
#include "trainers/models/vae.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/data/dataset.h"
#include "core/image/image.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/gradients.h"
#include "tests/trainers/small_runs.h"
#include "trainers/evaluate.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::DoubleEq;
using ::testing::ElementsAre;

TEST(Vae, HasItsParameters) {
  ParameterSet parameters;
  const Vae vae({}, {}, {28, 28, 1}, parameters);
  EXPECT_EQ(parameters.count(), 240344);
  std::int64_t listed = 0;
  std::int64_t products = 0;
  std::vector<std::string> names;
  for (const LayerInfo& layer : vae.layers()) {
    listed += layer.parameters;
    products += layer.products;
    names.insert(names.end(), layer.names.begin(), layer.names.end());
  }
  EXPECT_EQ(listed, 240344);
  EXPECT_EQ(products, 784 * 128 + 128 * 200 + 100 * 128 + 128 * 784);
  EXPECT_THAT(names,
              ElementsAre("encoder/hidden/weight", "encoder/hidden/bias", "encoder/latent/weight",
                          "encoder/latent/bias", "decoder/hidden/weight", "decoder/hidden/bias",
                          "decoder/output/weight", "decoder/output/bias"));
  EXPECT_EQ(vae.classifier(), nullptr);
}

TEST(Vae, WithConvolutionsHasItsParameters) {
  ParameterSet parameters;
  const Vae vae({}, {}, {28, 28, 1}, parameters, VaeKind::kConvolutional);
  const std::int64_t expected = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (3136 + 1) * 128 +
                                (128 + 1) * 200 + (100 + 1) * 128 + (128 + 1) * 3136 +
                                (9 * 64 + 1) * 128 + (9 * 32 + 1) * 4;
  EXPECT_EQ(parameters.count(), expected);
  std::int64_t listed = 0;
  for (const LayerInfo& layer : vae.layers()) {
    listed += layer.parameters;
  }
  EXPECT_EQ(listed, expected);
  EXPECT_EQ(message_of<JobError>([&] {
              Vae({}, {}, {30, 28, 1}, parameters, VaeKind::kConvolutional);
            }),
            "model vae_conv takes images whose height and width are multiples of 4, but they are "
            "[30, 28, 1]");
}

TEST(Vae, ExtentsThatNoReaderCheckedAreRefused) {
  ParameterSet parameters;
  const auto error_of = [&](const VaeOptions& options) {
    return message_of<JobError>([&] { Vae(options, {}, {2, 2, 1}, parameters); });
  };
  EXPECT_EQ(error_of({.latent = 0, .hidden = 8}),
            "model vae: latent is 0 but must be at least 1 and at most 10000000");
  EXPECT_EQ(error_of({.latent = 8, .hidden = std::int64_t{1} << 62}),
            "model vae: hidden is 4611686018427387904 but must be at least 1 and at most 10000000");
}

/// A small one in f64 on the reference device.
class SmallVae : public ::testing::Test {
 protected:
  static constexpr std::int64_t kImages = 3;
  static constexpr double kScale = 0.25;

  SmallVae() {
    parameters_.allocate(bench_.device(), bench_.queue(), DType::kF64);
    for (int p = 0; p < parameters_.size(); ++p) {
      const std::int64_t count = parameters_.info(p).shape.elements();
      set(p, test::random_values(count, RngKey(11).fold(static_cast<std::uint64_t>(p)), -0.8, 0.8));
    }
  }
  void set(int parameter, const std::vector<double>& values) {
    copy_from_host<double>(bench_.device(), bench_.queue(), values, parameters_[parameter]);
    parameters_.mark_changed();
  }
  ObjectiveTerms compute(RngKey key = RngKey(5), Tape* tape = nullptr) const {
    Context context{bench_.device(), bench_.queue(), tape, tape != nullptr, key};
    return vae_.compute(context, x_, {}, kScale);
  }

  test::Workbench bench_{test::reference_device()};
  ParameterSet parameters_;
  Vae vae_{{.latent = 2, .hidden = 5}, {}, {2, 3, 1}, parameters_};
  Tensor x_ = bench_.random({kImages, 2, 3, 1}, RngKey(3), DType::kF64, 0, 1);
};

TEST_F(SmallVae, ItsGradientIsThatOfTheLoss) {
  constexpr double kDifference = 1e-5;
  Tape tape(bench_.device(), bench_.queue());
  test::GradientStore store(bench_, parameters_);
  ParameterGradients* const sets[] = {&store};
  tape.begin(sets);
  tape.backward(compute(RngKey(5), &tape).loss);
  for (int p = 0; p < parameters_.size(); ++p) {
    const std::vector<double> at = bench_.values(parameters_[p]);
    std::vector<double> expected;
    for (std::size_t i = 0; i < at.size(); ++i) {
      std::vector<double> moved = at;
      moved[i] = at[i] + kDifference;
      set(p, moved);
      const double above = compute().sums[0];
      moved[i] = at[i] - kDifference;
      set(p, moved);
      expected.push_back(kScale * (above - compute().sums[0]) / (2 * kDifference));
    }
    set(p, at);
    EXPECT_TRUE(
        test::within(1e-7, parameters_.info(p).shape, bench_.values(store.gradient(p)), expected))
        << parameters_.info(p).name;
  }
}

TEST_F(SmallVae, TheLossIsTheSumOfItsTerms) {
  const ObjectiveTerms terms = compute();
  ASSERT_EQ(terms.sums.size(), vae_.names().size());
  EXPECT_THAT(vae_.names(), ElementsAre("loss", "reconstruction", "divergence"));
  EXPECT_EQ(terms.sums[0], terms.sums[1] + terms.sums[2]);
  EXPECT_GT(terms.sums[2], 0);
  const double other = compute(RngKey(6)).sums[1];
  EXPECT_NE(other, terms.sums[1]) << "the noise is a function of the key";
  EXPECT_EQ(compute().sums, terms.sums);
}

TEST_F(SmallVae, WithoutWeightsItKnowsNothing) {
  for (int p = 0; p < parameters_.size(); ++p) {
    set(p, std::vector<double>(static_cast<std::size_t>(parameters_.info(p).shape.elements())));
  }
  const ObjectiveTerms terms = compute();
  EXPECT_THAT(terms.sums, ElementsAre(DoubleEq(kImages * 6 * std::log(2.0)),
                                      DoubleEq(kImages * 6 * std::log(2.0)), 0));
}

/// log p(x) by the trapezoidal rule over a latent number of one dimension.
TEST(VaeLikelihood, IsTheIntegralOverTheLatentNumber) {
  test::Workbench bench(test::reference_device());
  ParameterSet parameters;
  const Vae vae({.latent = 1, .hidden = 6}, {}, {2, 2, 1}, parameters);
  parameters.allocate(bench.device(), bench.queue(), DType::kF64);
  for (int p = 0; p < parameters.size(); ++p) {
    const std::int64_t count = parameters.info(p).shape.elements();
    copy_from_host<double>(
        bench.device(), bench.queue(),
        test::random_values(count, RngKey(3).fold(static_cast<std::uint64_t>(p)), -1.5, 1.5),
        parameters[p]);
  }
  // The encoder's distribution is N(0.2, e^0.7), wider than what it samples for: the weights of the
  // samples are then bounded.
  copy_from_host<double>(bench.device(), bench.queue(), std::vector<double>(12),
                         parameters[parameters.find("encoder/latent/weight")]);
  copy_from_host<double>(bench.device(), bench.queue(), std::vector<double>{0.2, 0.7},
                         parameters[parameters.find("encoder/latent/bias")]);
  parameters.mark_changed();
  const Tensor x = bench.random({2, 2, 2, 1}, RngKey(4), DType::kF64, 0, 1);
  const std::vector<double> pixels = bench.values(x);
  Context context{bench.device(), bench.queue(), nullptr, false, RngKey(5)};

  constexpr int kPoints = 4001;
  constexpr double kReach = 10;
  const double width = 2 * kReach / (kPoints - 1);
  std::vector<double> places(kPoints);
  for (int i = 0; i < kPoints; ++i) {
    places[static_cast<std::size_t>(i)] = -kReach + i * width;
  }
  const Tensor z = Tensor::empty(bench.device(), {kPoints, 1}, DType::kF64);
  copy_from_host<double>(bench.device(), bench.queue(), places, z);
  const std::vector<double> logits = bench.values(vae.networks().decode(context, z));
  double expected = 0;
  for (std::size_t image = 0; image < 2; ++image) {
    double integral = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
      double log_density = -places[i] * places[i] / 2 - std::log(2 * 3.14159265358979) / 2;
      for (std::size_t k = 0; k < 4; ++k) {
        const double l = logits[i * 4 + k];
        log_density += pixels[image * 4 + k] * l - std::log1p(std::exp(l));
      }
      integral += width * std::exp(log_density);
    }
    expected += std::log(integral);
  }
  EXPECT_NEAR(vae.log_likelihood(context, x, 20000), expected, 0.02);
  EXPECT_EQ(vae.log_likelihood(context, x, 10), vae.log_likelihood(context, x, 10));
  EXPECT_LT(vae.log_likelihood(context, x, 1), 0);
}

// Ten images in a row, below them what becomes of them; or all in one.
TEST(VaePictures, ReconstructionsStandBelowTheirImages) {
  const test::Workbench bench(test::cpu_device());
  ParameterSet parameters;
  const Vae vae({.latent = 2, .hidden = 5}, {}, {28, 28, 1}, parameters);
  parameters.allocate(bench.device(), bench.queue(), DType::kF32);
  parameters.initialize(bench.device(), bench.queue(), RngKey(3));
  Context context{bench.device(), bench.queue(), nullptr, false, RngKey(5)};
  constexpr std::int64_t kStep = 30;  // from one image to the next
  struct Case {
    std::int64_t images;
    std::int64_t across;
    std::int64_t down;  // rows of images, whose copies are not counted
  };
  const std::vector<Case> cases = {{1, 1, 1},   {7, 7, 1},   {10, 10, 1}, {11, 10, 1},
                                   {19, 10, 1}, {29, 10, 2}, {31, 10, 3}};
  for (const auto& [images, across, down] : cases) {
    const data::DataPair data = data::make_digits(1, 1, images, 1);
    const std::vector<Picture> pictures = vae.pictures({context, *data.test, {0, 1}});
    ASSERT_EQ(pictures.at(1).name, "reconstructions");
    const image::Image& sheet = pictures[1].image;
    EXPECT_EQ(sheet.w, across * kStep - 2) << images;
    ASSERT_EQ(sheet.h, 2 * down * kStep - 2) << images;
    for (std::int64_t row = 0; row < down; ++row) {
      std::vector<std::uint8_t> original(28 * 28);
      data.test->read(row * across, original.data());
      const image::Image first = image::cut_out(sheet, {0, 2 * row * kStep, 28, 28});
      EXPECT_EQ(first.pixels, original) << images << ", row " << row;
      const image::Image copy = image::cut_out(sheet, {0, (2 * row + 1) * kStep, 28, 28});
      EXPECT_NE(copy.pixels, original) << images << ", row " << row;
    }
  }
}

TEST(ConvolutionalVae, LearnsWithTheSameBytesOnOtherRanks) {
  TrainOptions options = small_vae_job();
  options.model.name = "vae_conv";
  options.stages[0].optimizer.lr = 3e-3;
  options.stages[0].stop.steps = 12;
  const auto losses = [&](int ranks, int threads) {
    options.threads = threads;
    std::pair<double, double> all;
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      TrainingRun run(options, communicator);
      std::vector<Stage> stages = run.make_stages("");
      const auto loss = [&] {
        return evaluate(communicator, run.runner(), run.objective(), run.evaluation_data()).loss;
      };
      const double before = loss();
      run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
      const double after = loss();
      if (communicator.rank() == 0) {
        all = {before, after};
      }
    });
    return all;
  };
  const auto alone = losses(1, 1);
  EXPECT_LT(alone.second, 0.7 * alone.first);
  EXPECT_EQ(losses(3, 2), alone);
}

/// Runs of a small one on drawn digits; a folder for what they write.
class VaeRuns : public ::testing::Test {
 protected:
  VaeRuns() {
    options_ = small_vae_job();
    options_.log.every = 1;
    options_.best.metric = Metric::kLoss;
    options_.checkpoint = {{CheckpointOptions::Unit::kSteps, 1}, 100};
  }
  ~VaeRuns() override { fs::remove_all(base_); }
  VaeRuns(const VaeRuns&) = delete;
  VaeRuns& operator=(const VaeRuns&) = delete;

  RunResult run(const std::string& folder, std::int64_t steps, int ranks, int threads) {
    options_.stages[0].stop.steps = steps;
    options_.threads = threads;
    RunSetting setting;
    setting.job = "vae";
    setting.same_job = "seed: 7\n";
    setting.identity = "seed: 7\nstop: " + std::to_string(steps) + "\n";
    setting.resolved = "seed: 7\n";
    setting.output = base_ / folder;
    if (overwrite_) {
      setting.overwrite = true;
      setting.resume.mode = ResumeOptions::Mode::kNever;
    }
    RunResult result;
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      RunResult mine = train(options_, setting, communicator);
      if (communicator.rank() == 0) {
        result = std::move(mine);
      }
    });
    return result;
  }
  /// metrics.jsonl without what a clock says.
  std::vector<nlohmann::json> metrics(const std::string& folder) const {
    std::ifstream file(base_ / folder / "metrics.jsonl");
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(file, line);) {
      lines.push_back(nlohmann::json::parse(line));
      lines.back().erase("images_per_s");
      lines.back().erase("ends_stage");
    }
    return lines;
  }
  std::vector<std::string> pictures(const std::string& folder) const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& file : fs::directory_iterator(base_ / folder / "samples", error)) {
      names.push_back(file.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::string bytes(const std::string& folder, const std::string& picture) const {
    std::ifstream file(base_ / folder / "samples" / picture, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string message_of_data() {
    return message_of<JobError>([&] { TrainingRun run(options_, *comm::make_single()); });
  }

  fs::path base_ = fs::temp_directory_path() / ("gentrain_vae_" + std::to_string(getpid()));
  TrainOptions options_;
  bool overwrite_ = false;
};

TEST_F(VaeRuns, ItLearnsAndTellsItsTerms) {
  const RunResult result = run("run", 40, 1, 1);
  const std::vector<nlohmann::json> lines = metrics("run");
  std::vector<double> losses;
  for (const nlohmann::json& line : lines) {
    if (line.contains("loss")) {
      losses.push_back(line["loss"].get<double>());
      EXPECT_NEAR(losses.back(),
                  line.at("reconstruction").get<double>() + line.at("divergence").get<double>(),
                  1e-3);
      EXPECT_FALSE(line.contains("top1"));
    }
  }
  ASSERT_EQ(losses.size(), 40U);
  EXPECT_LT(losses.back(), 0.6 * losses.front());
  const nlohmann::json& end = result.summary["metrics"];
  EXPECT_EQ(end.size(), 4U) << end;
  EXPECT_EQ(end["samples"], 40);
  EXPECT_NEAR(end["loss"].get<double>(),
              end["reconstruction"].get<double>() + end["divergence"].get<double>(), 1e-9);
}

TEST_F(VaeRuns, GoingOnInTheMiddleOfAnEpochGivesTheSameBytes) {
  const RunResult straight = run("straight", 9, 1, 1);
  ASSERT_EQ(run("stopped", 4, 3, 1).kind, RunResult::Kind::kFinished);
  const RunResult resumed = run("stopped", 9, 2, 2);
  for (const char* key : {"weights_sha256", "state_sha256", "steps", "best_step", "metrics"}) {
    EXPECT_EQ(resumed.summary[key], straight.summary[key]) << key;
  }
  EXPECT_EQ(metrics("stopped").back(), metrics("straight").back());
}

TEST_F(VaeRuns, PicturesAreTheSameOnAnyRanksAndBehindARestart) {
  options_.samples.every = {CheckpointOptions::Unit::kSteps, 3};
  run("straight", 7, 1, 1);
  const std::vector<std::string> straight = pictures("straight");
  EXPECT_THAT(straight,
              ElementsAre("line-000000003.png", "line-000000006.png", "line-000000007.png",
                          "reconstructions-000000003.png", "reconstructions-000000006.png",
                          "reconstructions-000000007.png", "samples-000000003.png",
                          "samples-000000006.png", "samples-000000007.png"));
  run("resumed", 4, 3, 1);
  fs::remove(base_ / "resumed/samples/samples-000000006.png");
  run("resumed", 7, 2, 2);
  for (const std::string& name : straight) {
    EXPECT_EQ(bytes("resumed", name), bytes("straight", name)) << name;
  }
  EXPECT_NE(bytes("straight", "samples-000000003.png"), bytes("straight", "samples-000000006.png"));
  const image::Image sheet = image::read_image(base_ / "straight/samples" / straight[0]);
  EXPECT_EQ(sheet.w, 10 * 30 - 2);
}

TEST_F(VaeRuns, PicturesThatCannotBeWrittenEndNoRun) {
  fs::create_directories(base_ / "run");
  std::ofstream(base_ / "run/samples") << "a file in the way";
  EXPECT_EQ(run("run", 2, 1, 1).kind, RunResult::Kind::kFinished);
}

TEST_F(VaeRuns, AnotherRunBeginsWithoutTheEarlierOnesPictures) {
  options_.samples.every = {CheckpointOptions::Unit::kSteps, 1};
  run("run", 2, 1, 1);
  ASSERT_EQ(pictures("run").size(), 6U);
  options_.samples.every = {CheckpointOptions::Unit::kNever, 1};
  overwrite_ = true;
  run("run", 2, 1, 1);
  EXPECT_THAT(pictures("run"), ElementsAre());
}

TEST_F(VaeRuns, TheLikelihoodAtTheEndIsAtLeastTheBound) {
  options_.evaluate.importance_samples = 20;
  const RunResult one = run("one", 8, 1, 1);
  const RunResult three = run("three", 8, 3, 2);
  const nlohmann::json& metrics = one.summary["metrics"];
  EXPECT_GT(metrics["log_likelihood"].get<double>(), -metrics["loss"].get<double>());
  EXPECT_EQ(three.summary["metrics"], metrics);
}

TEST_F(VaeRuns, EvaluationIsTheSameOnAnyRanksAndWorkers) {
  std::vector<nlohmann::json> all;
  for (const auto& [ranks, threads] : std::vector<std::pair<int, int>>{{1, 1}, {1, 3}, {3, 2}}) {
    options_.threads = threads;
    std::vector<nlohmann::json> of_ranks(static_cast<std::size_t>(ranks));
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      TrainingRun run(options_, communicator);
      of_ranks[static_cast<std::size_t>(communicator.rank())] =
          to_json(evaluate(communicator, run.runner(), run.objective(),
                           {*run.data().test, run.data().test_normalization, 7}));
    });
    all.insert(all.end(), of_ranks.begin(), of_ranks.end());
  }
  for (const nlohmann::json& one : all) {
    EXPECT_EQ(one, all[0]);
  }
  const Evaluation read = evaluation_from_json(all[0]);
  EXPECT_FALSE(read.is_of_classifier());
  EXPECT_EQ(to_json(read), all[0]);
}

TEST_F(VaeRuns, PixelsOutsideOfZeroToOneAreRefused) {
  options_.data.normalize.train = data::Normalization{0.25, 1};
  EXPECT_EQ(message_of_data(),
            "model vae takes pixels in 0..1, but they become (x - 0.25) / 1: set "
            "data.normalize.train: {mean: 0, std: 1}");
  options_.data.normalize.train = data::Normalization{0, 0.5};
  EXPECT_EQ(message_of_data(),
            "model vae takes pixels in 0..1, but they become (x - 0) / 0.5: set "
            "data.normalize.train: {mean: 0, std: 1}");
  options_.data.normalize.train = data::Normalization{0, 2};
  EXPECT_EQ(message_of_data(), "nothing was thrown");
}

}  // namespace
}  // namespace gentrain::trainers
