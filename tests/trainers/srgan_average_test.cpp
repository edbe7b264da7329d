// Averages of SRGAN's generator: by hand, over ranks, in evaluations, pictures, model files, and
// behind a restart.
#include <cmath>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/data/faces.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/resume_runs.h"
#include "trainers/inference.h"
#include "trainers/srgan.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::Contains;
using ::testing::Not;
using ::testing::StartsWith;

TrainOptions averaged_job(double ema = 0.75) {
  TrainOptions options = small_srgan_job();
  options.model.srgan.ema = ema;
  return options;
}

using Weights = std::map<std::string, std::vector<float>>;

Weights weights_of(TrainingRun& run) {
  Weights weights;
  for (int i = 0; i < run.parameters().size(); ++i) {
    weights[run.parameters().info(i).name] =
        copy_to_host<float>(run.device(), run.runner().queue(), run.parameters()[i]);
  }
  return weights;
}

/// The weights of before the first step and behind each step.
class WeightLog final : public Observer {
 public:
  explicit WeightLog(TrainingRun& run) : run_(run), all_{weights_of(run)} {}
  void after_step(const StepReport& /*report*/) override { all_.push_back(weights_of(run_)); }
  [[nodiscard]] const std::vector<Weights>& all() const { return all_; }

 private:
  TrainingRun& run_;
  std::vector<Weights> all_;
};

std::vector<Weights> logged(const TrainOptions& options) {
  std::vector<Weights> all;
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    WeightLog log(run);
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {&log});
    all = log.all();
  });
  return all;
}

TEST(SrganAverages, AreThoseOfTheWeightsBehindEachStepOfBothStages) {
  const std::vector<Weights> all = logged(averaged_job());
  ASSERT_EQ(all.size(), 4U);
  std::size_t count = 0;
  for (const auto& [name, average] : all.back()) {
    if (!name.starts_with("average/")) {
      EXPECT_NE(all.back().contains("average/" + name), name.starts_with("discriminator")) << name;
      continue;
    }
    ++count;
    const std::string of = name.substr(8);
    for (std::size_t i = 0; i < average.size(); ++i) {
      double expected = all[0].at(of)[i];
      for (std::size_t step = 1; step < all.size(); ++step) {
        expected = 0.75 * expected + 0.25 * static_cast<double>(all[step].at(of)[i]);
      }
      EXPECT_NEAR(average[i], expected, 1e-6 * std::max(1.0, std::abs(expected))) << name;
    }
    EXPECT_NE(average, all.back().at(of)) << name;
  }
  EXPECT_EQ(count, 19U);  // 7 convolutions and 3 batch norms of 4 each
}

TEST(SrganAverages, LeaveTheWeightsAsTheyAreWithoutThem) {
  Weights with = logged(averaged_job()).back();
  const Weights without = logged(averaged_job(0)).back();
  std::erase_if(with, [](const auto& item) { return item.first.starts_with("average/"); });
  EXPECT_EQ(with, without);
}

TEST(SrganAverages, AreTheSameOnAnyRanksAndWorkers) {
  TrainOptions options = averaged_job();
  const Hashes alone = train_small(options, 1);
  EXPECT_EQ(train_small(options, 3), alone);
  options.threads = 2;
  EXPECT_EQ(train_small(options, 2), alone);
  options.model.srgan.ema = 0.8;
  EXPECT_NE(train_small(options, 1).weights, alone.weights);
  options.adversarial.updates = AdversarialOptions::Updates::kAlternating;
  EXPECT_EQ(train_small(options, 3), train_small(options, 1));
}

/// What evaluations and pictures make of a run's weights.
struct Seen {
  Evaluation evaluation;
  std::vector<std::uint8_t> picture;
};

Seen seen_by(TrainingRun& run) {
  Context context{run.device(), run.runner().queue(), nullptr, false, {}};
  return {evaluate(run.communicator(), run.runner(), run.objective(), run.evaluation_data()),
          run.objective()
              .pictures({context, *run.data().test, run.data().test_normalization})
              .at(0)
              .image.pixels};
}

/// Of a run without averages with given weights.
Seen seen_with(const Weights& weights) {
  Seen seen;
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(averaged_job(0), communicator);
    for (int i = 0; i < run.parameters().size(); ++i) {
      copy_from_host<float>(run.device(), run.runner().queue(),
                            weights.at(run.parameters().info(i).name), run.parameters()[i]);
    }
    run.parameters().mark_changed();
    seen = seen_by(run);
  });
  return seen;
}

TEST(SrganAverages, MakeTheImagesOfEvaluationsAndPictures) {
  Seen seen;
  Weights weights;
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(averaged_job(), communicator);
    EXPECT_THAT(run.objective().notes(),
                Contains("generator: evaluations, pictures and the model are by averages of its "
                         "weights (model.ema 0.75)"));
    std::vector<Stage> stages = run.make_stages("");
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    seen = seen_by(run);
    weights = weights_of(run);
  });
  const Seen of_weights = seen_with(weights);
  EXPECT_NE(seen.evaluation.loss, of_weights.evaluation.loss);
  EXPECT_NE(seen.picture, of_weights.picture);
  for (auto& [name, values] : weights) {
    if (const auto average = weights.find("average/" + name); average != weights.end()) {
      values = average->second;
    }
  }
  const Seen of_averages = seen_with(weights);
  EXPECT_EQ(seen.evaluation.loss, of_averages.evaluation.loss);
  EXPECT_EQ(seen.evaluation.terms, of_averages.evaluation.terms);
  EXPECT_EQ(seen.picture, of_averages.picture);
}

TEST(SrganAverages, AreFractions) {
  for (const double ema : {1.0, -0.25, std::nan("")}) {
    ParameterSet set;
    EXPECT_EQ(message_of<JobError>([&] {
                Srgan({.width = 4, .ema = ema}, {}, {16, 16, 3}, set);
              }),
              fmt::format("model srgan: ema is {} but must be 0 or in (0, 1)", ema));
  }
}

class SrganAverageRuns : public ResumeTest {
 protected:
  SrganAverageRuns() {
    options_ = averaged_job();
    options_.checkpoint = {{CheckpointOptions::Unit::kSteps, 1}, 100};
  }
  fs::path model(const std::string& run) const { return base_ / run / "model.h5"; }
};

TEST_F(SrganAverageRuns, GoOnWithTheSameBytes) {
  const RunResult straight = train(setting("straight"));
  write_every_checkpoint("straight");
  const RunFolder folder(base_ / "straight");
  ASSERT_THAT(folder.checkpoints(), testing::ElementsAre(1, 2, 3));
  for (const std::int64_t step : {1, 2}) {
    RunSetting again = setting(fmt::format("from{}", step));
    again.resume = {ResumeOptions::Mode::kPath, folder.checkpoint(step)};
    const RunResult resumed = train(again, 2);
    EXPECT_EQ(resumed.summary["state_sha256"], straight.summary["state_sha256"]) << step;
    EXPECT_EQ(text_of(again.output / "model.h5"), text_of(model("straight"))) << step;
  }
  io::ArrayFile file = io::read_array_file(folder.checkpoint(2), io::FileKind::kCheckpoint);
  for (io::NamedArray& array : file.arrays) {
    if (array.name == "weights/average/generator/first/weight") {
      array.values[0] += 1.0F;
    }
  }
  io::write_array_file(folder.checkpoint(2), file);
  RunSetting changed = setting("changed");
  changed.resume = {ResumeOptions::Mode::kPath, folder.checkpoint(2)};
  EXPECT_NE(train(changed).summary["weights_sha256"], straight.summary["weights_sha256"]);
}

TEST_F(SrganAverageRuns, WriteModelsThatAreEvaluatedByThem) {
  const RunResult result = train(setting("run"));
  const auto single = comm::make_single();
  Inference inference(model("run"), {.threads = 1}, *single);
  EXPECT_EQ(inference.weights_note(), "weights: averages of the generator's (model.ema 0.75)");
  const auto faces = data::make_faces(options_.data.seed, 1, options_.data.test_count).test;
  EXPECT_NEAR(inference.evaluate(*faces).loss, result.summary["metrics"]["loss"].get<double>(),
              1e-6);
}

TEST_F(SrganAverageRuns, WithoutThemAModelSaysNothingOfThem) {
  options_.model.srgan.ema = 0;
  train(setting("run"));
  const io::ArrayFile file = io::read_array_file(model("run"), io::FileKind::kModel);
  EXPECT_FALSE(file.header["model"].contains("ema"));
  for (const io::NamedArray& array : file.arrays) {
    EXPECT_THAT(array.name, Not(StartsWith("average/")));
  }
  const auto single = comm::make_single();
  EXPECT_EQ(Inference(model("run"), {.threads = 1}, *single).weights_note(), "");
}

TEST_F(SrganAverageRuns, InitialWeightsFromAFileAreAveragedFromThere) {
  options_.model.srgan.ema = 0;
  train(setting("run"));
  options_.model.srgan.ema = 0.75;
  options_.init_from.file = model("run").string();
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(options_, communicator);
    const Weights weights = weights_of(run);
    EXPECT_EQ(weights.at("average/generator/first/weight"), weights.at("generator/first/weight"));
    const io::ArrayFile file = io::read_array_file(model("run"), io::FileKind::kModel);
    EXPECT_EQ(weights.at("generator/first/weight"),
              io::find_array(file.arrays, "generator/first/weight")->values);
  });
}

}  // namespace
}  // namespace gentrain::trainers
