// Stages of a fine-tuning job: what they freeze, what becomes of batch norms, and that the bytes
// are the same for any ranks and threads.
#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "core/pattern.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/finetune_runs.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Values = std::map<std::string, std::vector<float>>;

Values run_values(TrainingRun& run) {
  Values values;
  for (int i = 0; i < run.parameters().size(); ++i) {
    values[run.parameters().info(i).name] =
        copy_to_host<float>(run.device(), run.runner().queue(), run.parameters()[i]);
  }
  return values;
}

class Finetune : public FinetuneRuns {
 protected:
  /// Trains alone and gives the names of the parameters that changed.
  static std::vector<std::string> changed(const TrainOptions& options) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    std::vector<Stage> stages = run.make_stages("");
    const Values before = run_values(run);
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    std::vector<std::string> names;
    for (const auto& [name, values] : run_values(run)) {
      if (values != before.at(name)) {
        names.push_back(name);
      }
    }
    return names;
  }
  static std::string stages_error(const TrainOptions& options) {
    return message_of<JobError>([&] {
      const auto single = comm::make_single();
      TrainingRun(options, *single).make_stages("");
    });
  }
  /// Two stages, as jobs/tiny/finetune.yaml has them.
  [[nodiscard]] TrainOptions two_stages() const {
    TrainOptions options = job("squeezenet", 40);
    options.class_weight = ClassWeight::kAuto;
    options.data.augment = data::AugmentOptions{.rotation = 20, .horizontal_flip = true};
    options.stages[0].stop.steps = 2;
    options.stages[0].freeze.through.text = "fire9/concat";
    options.stages[0].optimizer = {.name = OptimizerOptions::Name::kRmsprop, .lr = 1e-3};
    options.stages.push_back(options.stages[0]);
    options.stages[1].name = "finetune";
    options.stages[1].freeze.through.text = "fire8/concat";
    options.stages[1].optimizer = {.lr = 1e-2, .momentum = 0.9};
    return options;
  }
};

std::vector<std::string> matching(const std::vector<std::string>& names, const char* pattern) {
  std::vector<std::string> found;
  std::ranges::copy_if(names, std::back_inserter(found),
                       [&](const std::string& name) { return matches(pattern, name); });
  return found;
}

TEST_F(Finetune, AStageTrainsWhatIsBehindTheBlockAlone) {
  TrainOptions options = job("squeezenet", 40);
  options.stages[0].freeze.through.text = "fire9/concat";
  EXPECT_THAT(changed(options),
              ::testing::UnorderedElementsAre("head_dense/weight", "head_dense/bias",
                                              "head_logits/weight", "head_logits/bias"));
  options.stages[0].freeze.through.text = "fire8/concat";
  options.stages[0].freeze.parameters = {{"fire9/squeeze1x1/*", ""}, {"head_*/bias", ""}};
  const std::vector<std::string> names = changed(options);
  EXPECT_THAT(matching(names, "head_*"),
              ::testing::UnorderedElementsAre("head_dense/weight", "head_logits/weight"));
  EXPECT_THAT(matching(names, "fire9/*"), ::testing::SizeIs(4));
  EXPECT_THAT(names, ::testing::SizeIs(6));
  options.stages[0].trainable = {{"head_*", ""}};
  EXPECT_THAT(changed(options), ::testing::SizeIs(2)) << "what is trainable and not frozen";
}

/// Without statistics of the batch a trained block keeps those it has, while its beta learns.
TEST_F(Finetune, FrozenStatisticsStayAndTrainedOnesFollow) {
  TrainOptions options = job("inception_v3", 75);
  options.batch = {.global = 4, .shards = 2};
  options.stages[0].freeze.through.text = "mixed9";
  const std::vector<std::string> frozen = changed(options);
  EXPECT_THAT(matching(frozen, "*/running_*"), ::testing::IsEmpty());
  EXPECT_THAT(matching(frozen, "*/beta"), ::testing::SizeIs(9)) << "of the convolutions of mixed10";
  EXPECT_THAT(matching(frozen, "conv2d_*/weight"), ::testing::SizeIs(9));
  options.model.pretrained.batch_statistics = true;
  const std::vector<std::string> trained = changed(options);
  EXPECT_THAT(matching(trained, "*/running_mean"), ::testing::SizeIs(9));
  EXPECT_THAT(matching(trained, "*/running_var"), ::testing::SizeIs(9));
}

TEST_F(Finetune, ATrainedModelIsTheSameForAnyRanksAndThreads) {
  TrainOptions options = two_stages();
  const Hashes alone = train_small(options, 1);
  for (const int ranks : {2, 3, 4}) {
    EXPECT_EQ(train_small(options, ranks), alone) << ranks << " ranks";
  }
  options.threads = 2;
  EXPECT_EQ(train_small(options, 1), alone);
  EXPECT_EQ(train_small(options, 2), alone);
  options.stages[1].freeze.through.text = "fire7/concat";
  EXPECT_NE(train_small(options, 1), alone);
}

TEST_F(Finetune, ATrainedModelInBf16IsTheSameForAnyRanks) {
  TrainOptions options = two_stages();
  options.precision = Precision::kBf16Emulated;
  const Hashes alone = train_small(options, 1);
  EXPECT_EQ(train_small(options, 3), alone);
  options.precision = Precision::kF32;
  EXPECT_NE(train_small(options, 1), alone);
}

TEST_F(Finetune, ABlockThatIsNotThereIsNamed) {
  TrainOptions options = job("squeezenet", 40);
  options.stages[0].freeze.through = {"fire10", "job.yaml:7:14"};
  const std::string error = stages_error(options);
  EXPECT_THAT(error, StartsWith("job.yaml:7:14: stage train: freeze.through 'fire10': the network "
                                "has no layer 'fire10' (known: fire2/"));
  EXPECT_THAT(error, HasSubstr(" more)"));
  options.model = {};
  options.model.layers = {layer_of(LayerKind::kFlatten), linear_layer(2)};
  EXPECT_EQ(stages_error(options),
            "job.yaml:7:14: stage train: freeze.through 'fire10': the model has no named blocks, "
            "only inception_v3, vgg16, vgg19, squeezenet do: name parameters by patterns, as "
            "freeze: [\"conv1/*\"]");
}

TEST_F(Finetune, AFreezePatternThatMatchesNothingIsNamed) {
  TrainOptions options = job("squeezenet", 40);
  options.stages[0].freeze.parameters = {{"fire9/*", ""}, {"fire10/*", "job.yaml:8:20"}};
  const std::string error = stages_error(options);
  EXPECT_THAT(error, StartsWith("job.yaml:8:20: stage train: the freeze pattern 'fire10/*' matches "
                                "no parameter (there are fire2/"));
  EXPECT_THAT(error, HasSubstr(" and 30 more)"));
  options.stages[0].freeze.parameters = {{"*", ""}};
  EXPECT_EQ(stages_error(options), "stage train: its loss depends on no trainable parameter");
}

TEST_F(Finetune, DataThatItCannotLearnFromIsRefused) {
  TrainOptions options = job("squeezenet", 40);
  const auto refusal = [&] {
    return message_of<JobError>([&] {
      const auto single = comm::make_single();
      TrainingRun(options, *single);
    });
  };
  options.data.normalize.train = data::Normalization{0, 1};
  EXPECT_EQ(refusal(),
            "model squeezenet takes pixels in -1..1, but they become (x - 0) / 1: set "
            "data.normalize.train: {mean: 0.5, std: 0.5}");
  options.data.normalize = {};
  for (const char* set : {"train", "validation"}) {
    fs::remove_all(root_ / "set" / set / "dogs");
  }
  EXPECT_EQ(refusal(),
            "images in " + (root_ / "set/train").string() +
                ": cats is the one class there is, a classifier tells two or more apart");
  fs::create_directories(root_ / "set/train/birds");
  EXPECT_THAT(message_of<IoError>([&] {
                const auto single = comm::make_single();
                TrainingRun(options, *single);
              }),
              HasSubstr("birds"));
}

}  // namespace
}  // namespace gentrain::trainers
