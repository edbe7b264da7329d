// Stages that start from features of their frozen part: the bytes are those without, for any ranks
// and threads, and features are kept where they are of the same part and images alone.
#include "trainers/cached_stage.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "core/io/cache.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"
#include "tests/trainers/finetune_runs.h"
#include "tests/trainers/whole_models.h"
#include "trainers/bench.h"
#include "trainers/estimate.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Use = DataOptions::CacheFeatures;

class CachedStages : public FinetuneRuns {
 protected:
  /// Ten images in shards of one and two; the head alone is trained, for two epochs.
  [[nodiscard]] TrainOptions head() const {
    TrainOptions options = job("squeezenet", 40);
    options.stages[0].stop.steps = 4;
    options.stages[0].freeze.through.text = "fire9/concat";
    return options;
  }
  static TrainOptions without(TrainOptions options) {
    options.data.cache_features = Use::kOff;
    return options;
  }
  [[nodiscard]] std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    for (const io::Cache::Entry& entry : io::Cache(root_ / "cache").entries()) {
      all.push_back(root_ / "cache" / entry.key);
    }
    std::ranges::sort(all);
    return all;
  }
  static std::string bytes_of(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  static void put(const fs::path& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
  }
  /// What a stage of a run says of where it starts.
  static std::string plan_of(const TrainOptions& options) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    run.make_stages("");
    return plan_stage(run, options.stages[0].name, run.updates()[0]->trainable(), options.data)
        .text;
  }
};

TEST_F(CachedStages, GiveTheSameBytes) {
  const Hashes plain = train_small(without(head()), 1);
  EXPECT_THAT(files(), IsEmpty());
  EXPECT_EQ(train_small(head(), 1), plain);
  ASSERT_THAT(files(), SizeIs(1)) << "nothing was evaluated";
  EXPECT_EQ(fs::file_size(files()[0]), 64U + 10 * 512 * 4);
  const fs::file_time_type made = fs::last_write_time(files()[0]);
  EXPECT_EQ(train_small(head(), 3), plain) << "taken from the file";
  EXPECT_EQ(fs::last_write_time(files()[0]), made);
  for (const int ranks : {1, 2, 4}) {
    fs::remove_all(root_ / "cache");
    TrainOptions threads = head();
    threads.threads = 2;
    EXPECT_EQ(train_small(threads, ranks), plain) << ranks << " ranks, which compute them";
  }
}

TEST_F(CachedStages, LearnFromWhatTheFilesHold) {
  const Hashes plain = train_small(head(), 1);
  const std::string whole = bytes_of(files().at(0));
  std::string damaged = whole;
  damaged[1000] = static_cast<char>(damaged[1000] ^ 4);
  for (const std::string& bytes : {damaged, whole.substr(0, 700), std::string()}) {
    put(files().at(0), bytes);
    EXPECT_EQ(train_small(head(), 2), plain) << "computed anew";
    EXPECT_EQ(bytes_of(files().at(0)), whole) << "and put in its place";
  }
  const std::string zeros(whole.size() - 64, '\0');
  const std::string text = files().at(0).filename().string().substr(0, 64) + zeros;
  put(files().at(0), io::sha256(std::as_bytes(std::span(text))) + zeros);
  EXPECT_NE(train_small(head(), 1), plain);
}

TEST_F(CachedStages, GiveTheSameBytesInBf16) {
  train_small(head(), 1);
  TrainOptions options = head();
  options.precision = Precision::kBf16Emulated;
  const Hashes plain = train_small(without(options), 1);
  EXPECT_EQ(train_small(options, 2), plain);
  EXPECT_THAT(files(), SizeIs(2)) << "with features of its own";
}

/// Dropouts draw by the index of their layer.
TEST_F(CachedStages, GiveTheSameBytesWithADropoutBehind) {
  TrainOptions options = head();
  options.model.pretrained.top = PretrainedOptions::Top::kOriginal;
  EXPECT_EQ(train_small(options, 2), train_small(without(options), 1));
  EXPECT_THAT(files(), SizeIs(1));
  EXPECT_THAT(plan_of(options), HasSubstr("from features of fire9/concat, computed once: "));
}

TEST_F(CachedStages, EachStageStartsFromItsOwnPart) {
  TrainOptions options = head();
  options.stages[0].freeze.through.text = "fire7/concat";
  options.stages.push_back(options.stages[0]);
  options.stages[1].name = "head";
  options.stages[1].freeze.through.text = "fire9/concat";  // which the first stage has trained
  EXPECT_EQ(train_small(options, 2), train_small(without(options), 1));
  EXPECT_THAT(files(), SizeIs(2));
  options.stages[0].optimizer.lr = 0.02;
  EXPECT_EQ(train_small(options, 1), train_small(without(options), 1));
  EXPECT_THAT(files(), SizeIs(3)) << "other weights up to fire9, the same up to fire7";
}

TEST_F(CachedStages, GiveTheSameBytesOfInception) {
  TrainOptions options = job("inception_v3", 75);
  options.batch = {.global = 4, .shards = 2};
  options.stages[0].freeze.through.text = "mixed9";
  options.model.pretrained.batch_statistics = true;
  EXPECT_EQ(train_small(options, 2), train_small(without(options), 1));
  EXPECT_THAT(files(), SizeIs(1));
}

/// Evaluates behind each epoch.
class Evaluations final : public Observer {
 public:
  explicit Evaluations(TrainingRun& run) : run_(run) {}
  void after_step(const StepReport& report) override {
    if (report.ends_epoch) {
      const EvaluationData images = run_.evaluation_data();
      CachedStage* const cached = report.stage->cached.get();
      const EvaluationData data = cached == nullptr ? images : cached->evaluation_data(images);
      from_features = data.behind != nullptr;
      all.push_back(
          to_json(evaluate(run_.communicator(), run_.runner(), run_.objective(), data)).dump());
    }
  }
  std::vector<std::string> all;
  bool from_features = false;

 private:
  TrainingRun& run_;
};

TEST_F(CachedStages, EvaluationsAreTheSame) {
  const auto evaluations = [](const TrainOptions& options, bool from_features) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    std::vector<Stage> stages = run.make_stages("");
    EXPECT_EQ(stages[0].cached == nullptr ? 0 : stages[0].cached->feature_bytes(),
              from_features ? 12 * 512 * 4 : 0);
    Evaluations made(run);
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {&made});
    EXPECT_EQ(made.from_features, from_features);
    return made.all;
  };
  for (const std::int64_t top_k : {1, 5}) {
    TrainOptions options = head();
    options.evaluate.top_k = top_k;
    const std::vector<std::string> plain = evaluations(without(options), false);
    ASSERT_THAT(plain, SizeIs(2));
    EXPECT_EQ(evaluations(options, true), plain);
  }
  EXPECT_THAT(files(), SizeIs(2)) << "of the training and of the test set";
}

TEST_F(CachedStages, OtherFeaturesHaveFilesOfTheirOwn) {
  const auto expect_files = [&](std::size_t count,
                                const std::function<void(TrainOptions&)>& change) {
    TrainOptions other = head();
    other.stages[0].stop.steps = 1;
    change(other);
    train_small(other, 1);
    EXPECT_THAT(files(), SizeIs(count));
  };
  expect_files(1, [](TrainOptions& /*o*/) {});
  expect_files(1, [](TrainOptions& o) { o.stages[0].optimizer.lr = 1; });
  expect_files(1, [](TrainOptions& o) { o.stages[0].stop.steps = 2; });
  expect_files(1, [](TrainOptions& o) { o.class_weight = ClassWeight::kAuto; });
  expect_files(2, [](TrainOptions& o) { o.seed = 8; });  // other weights
  expect_files(3, [](TrainOptions& o) { o.data.height = o.data.width = 48; });
  expect_files(4, [](TrainOptions& o) { o.data.fit = image::Fit::kCrop; });
  expect_files(5, [](TrainOptions& o) { o.stages[0].freeze.through.text = "fire8/concat"; });
  expect_files(6, [](TrainOptions& o) { o.batch = {.global = 6, .shards = 2}; });  // of three
  image::write_png(root_ / "set/train/cats/0.png", striped(40, 52, 99));
  expect_files(7, [](TrainOptions& /*o*/) {});
}

TEST_F(CachedStages, OtherConversionsOfImagesHaveFilesOfTheirOwn) {
  write_whole_model(root_ / "x.h5");
  TrainOptions options = head();
  options.model = {};
  options.model.imported.file = (root_ / "x.h5").string();
  options.data.height = options.data.width = 0;
  options.weights = {};
  options.stages[0].freeze.through.text = "norm";
  std::size_t count = 0;
  for (const Preprocessing preprocessing : {Preprocessing::kInception, Preprocessing::kCaffe,
                                            Preprocessing::kTorch, Preprocessing::kNone}) {
    options.model.imported.preprocess = preprocessing;
    const Hashes plain = train_small(without(options), 1);
    EXPECT_EQ(train_small(options, 1), plain) << name_of(preprocessing);
    EXPECT_THAT(files(), SizeIs(++count)) << name_of(preprocessing);
  }
}

TEST_F(CachedStages, GoOnWhereNothingCanBeKept) {
  std::ofstream(root_ / "cache") << "a file";
  EXPECT_EQ(train_small(head(), 2), train_small(without(head()), 1));
  TrainOptions memory = head();
  memory.data.cache_features = Use::kMemory;
  EXPECT_EQ(train_small(memory, 2), train_small(without(head()), 1));
}

TEST_F(CachedStages, SayWhereTheyStartAndWhyNot) {
  TrainOptions options = head();
  EXPECT_EQ(plan_of(options),
            "stage train: starts from features of global_average_pooling, computed once: 512 "
            "numbers of each of 12 images, 0.0 MiB on each host");
  EXPECT_EQ(plan_of(without(options)), "");
  options.data.cache_features_mib = 0;
  EXPECT_THAT(plan_of(options),
              HasSubstr("computes its frozen part, up to global_average_pooling, in each step, as "
                        "its features of all images would take 0.0 MiB, more than the 0 of "
                        "data.cache_features_mib"));
  options = head();
  options.data.augment = data::AugmentOptions{.horizontal_flip = true};
  EXPECT_EQ(plan_of(options),
            "stage train: computes its frozen part, up to global_average_pooling, in each step, as "
            "data.augment changes the images in each epoch");
  EXPECT_EQ(train_small(options, 2), train_small(without(options), 1));
  EXPECT_THAT(files(), IsEmpty());
  options = head();
  options.stages[0].freeze = {};
  EXPECT_EQ(plan_of(options), "") << "nothing is frozen";
}

TEST_F(CachedStages, AreEstimatedWithoutFiles) {
  EXPECT_THAT(estimate(head(), 2).features, ElementsAre(plan_of(head())));
  EXPECT_THAT(estimate(without(head()), 2).features, IsEmpty());
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(CachedStages, ABenchCountsWhatIsBehind) {
  const auto measured = [](const TrainOptions& options) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    return bench(run, {.stage = "", .steps = 1, .warmup = 0}, std::chrono::system_clock::now());
  };
  TrainOptions options = head();
  options.data.cache_features = Use::kMemory;
  const BenchResult result = measured(options);
  EXPECT_EQ(result.features, "global_average_pooling");
  // The head forward, and its gradients; of the first layer's input there is none.
  EXPECT_NEAR(result.gflop_per_step, 6 * 2 * (2 * 512 * 8 + 3 * 8 * 2) * 1e-9, 1e-12);
  EXPECT_THAT(files(), IsEmpty());
  const BenchResult images = measured(without(options));
  EXPECT_EQ(images.features, "");
  EXPECT_GT(images.gflop_per_step, result.gflop_per_step);
}

TEST(ShardSizes, AreThoseOfAnEpoch) {
  EXPECT_THAT(shard_sizes(10, {.global = 6, .shards = 4}), ElementsAre(1, 2));
  EXPECT_THAT(shard_sizes(480, {.global = 16, .shards = 4}), ElementsAre(4));
  EXPECT_THAT(shard_sizes(17, {.global = 16, .shards = 4}), ElementsAre(1, 4));
  EXPECT_THAT(shard_sizes(3, {.global = 16, .shards = 2}), ElementsAre(1, 2));
}

TEST(FeaturesFrom, NeedAllBytes) {
  const test::Workbench bench(test::cpu_device());
  Context context{bench.device(), bench.queue(), nullptr, false, {}};
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(values.data());
  const Tensor x = features_from(context, {bytes, 24}, 2, {3, 1});
  EXPECT_EQ(x.shape(), Shape({2, 3, 1}));
  EXPECT_EQ(copy_to_host<float>(bench.device(), bench.queue(), x), values);
  EXPECT_EQ(message_of<ShapeError>([&] {
              features_from(context, {bytes, 20}, 2, {3, 1});
            }),
            "20 bytes of features came, 2 x [3, 1] numbers need 24");
}

}  // namespace
}  // namespace gentrain::trainers
