// Networks out of whole models of other frameworks: what is trained of a file, over ranks and
// threads, what comes out, and every refusal.
#include "trainers/models/imported.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "kernels/error.h"
#include "tests/core/onnx_models.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"
#include "tests/trainers/finetune_runs.h"
#include "tests/trainers/whole_models.h"
#include "trainers/imported_weights.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

constexpr const char* kNothing = "nothing was thrown";

class Imported : public FinetuneRuns {
 protected:
  std::string write(const WholeModel& model = {}, const std::string& name = "x.h5") const {
    write_whole_model(root_ / name, model);
    return (root_ / name).string();
  }
  /// Trains a file's network, two steps; pictures get its size.
  [[nodiscard]] TrainOptions of(const std::string& file) const {
    TrainOptions options = job("", 0);
    options.model.imported.file = file;
    options.model.imported.preprocess = Preprocessing::kInception;
    options.weights = {};
    options.stages[0].stop.steps = 2;
    return options;
  }
  [[nodiscard]] TrainOptions with_head(const std::string& file, const std::string& layer) const {
    TrainOptions options = of(file);
    options.model.imported.top = ImportedOptions::Top::kHead;
    options.model.imported.layer = layer;
    return options;
  }

  using Values = std::map<std::string, std::vector<float>>;
  static Values values_of(TrainingRun& run) {
    Values values;
    for (int i = 0; i < run.parameters().size(); ++i) {
      values[run.parameters().info(i).name] =
          copy_to_host<float>(run.device(), run.runner().queue(), run.parameters()[i]);
    }
    return values;
  }
  static Values initial(const TrainOptions& options) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    run.prepare();
    return values_of(run);
  }
  /// Names of the parameters that training changes.
  static std::vector<std::string> changed(const TrainOptions& options) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    std::vector<Stage> stages = run.make_stages("");
    const Values before = values_of(run);
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    std::vector<std::string> names;
    for (const auto& [name, values] : values_of(run)) {
      if (values != before.at(name)) {
        names.push_back(name);
      }
    }
    return names;
  }
  static std::vector<float> logits(TrainingRun& run, const Objective& objective) {
    Context context{run.device(), run.runner().queue(), nullptr, false, {}};
    const Tensor x = read_images(context, *run.data().test, run.data().test_normalization,
                                 std::vector<std::int64_t>{0, 1});
    return copy_to_host<float>(context.device, context.queue,
                               objective.classifier()->forward(context, x));
  }
  static std::vector<float> first_logits(const TrainOptions& options) {
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    run.prepare();
    return logits(run, run.objective());
  }
  template <class E = JobError>
  static std::string refusal(const TrainOptions& options) {
    return message_of<E>([&] { initial(options); });
  }
};

TEST_F(Imported, BeginsWithTheFilesWeightsAndSaysSo) {
  const std::string file = write();
  const auto single = comm::make_single();
  TrainingRun run(of(file), *single);
  run.prepare();
  const Values values = values_of(run);
  EXPECT_EQ(values.size(), 10);
  EXPECT_THAT(values.at("norm/running_var"), ElementsAre(1.5F, 0.5F, 2, 1));
  EXPECT_EQ(run.data().train->sample_shape(), Shape({12, 10, 3}));
  const std::string identity = run.objective().identity();
  EXPECT_THAT(identity, StartsWith("model "));
  EXPECT_EQ(identity.size(), 6 + 64);
  EXPECT_THAT(run.objective().notes(),
              ElementsAre("model: " + file + " (" + identity.substr(6) +
                          "), Keras 2.13.1, preprocess inception: 10 of 10 parameters read"));
}

TEST_F(Imported, RandomWeightsAndAHeadAreDrawn) {
  const std::string file = write();
  TrainOptions options = of(file);
  const Values of_file = initial(options);
  options.weights.file = "random";
  const Values drawn = initial(options);
  EXPECT_NE(drawn.at("conv/weight"), of_file.at("conv/weight"));
  EXPECT_THAT(drawn.at("norm/running_var"), ::testing::Each(1.0F));
  const auto single = comm::make_single();
  TrainingRun run(with_head(file, "sum"), *single);
  run.prepare();
  const Values head = values_of(run);
  EXPECT_FALSE(head.contains("out/weight")) << "which stands behind the layer";
  EXPECT_EQ(head.at("head_dense/weight").size(), 4 * 8);
  EXPECT_EQ(head.at("conv/weight"), of_file.at("conv/weight"));
  EXPECT_THAT(run.objective().notes()[0],
              HasSubstr("8 of 12 parameters read; 4 initialised: head_dense/weight, "));
}

TEST_F(Imported, AllThatIsNotFrozenIsTrained) {
  TrainOptions options = of(write());
  EXPECT_THAT(changed(options),
              UnorderedElementsAre("conv/weight", "conv/bias", "norm/gamma", "norm/beta",
                                   "mixed/weight", "mixed/bias", "out/weight", "out/bias"))
      << "the statistics are the file's";
  options.stages[0].freeze.through.text = "pool";
  EXPECT_THAT(changed(options),
              UnorderedElementsAre("mixed/weight", "mixed/bias", "out/weight", "out/bias"));
  options.stages[0].freeze.parameters = {{"mixed/*", ""}};
  EXPECT_THAT(changed(options), UnorderedElementsAre("out/weight", "out/bias"));
  options.stages[0].freeze = {};
  options.model.pretrained.batch_statistics = true;
  EXPECT_THAT(changed(options), ::testing::IsSupersetOf({"norm/running_mean", "norm/running_var"}));
  TrainOptions head = with_head(options.model.imported.file, "sum");
  head.stages[0].freeze.through.text = "sum";
  EXPECT_THAT(changed(head), UnorderedElementsAre("head_dense/weight", "head_dense/bias",
                                                  "head_logits/weight", "head_logits/bias"));
}

TEST_F(Imported, ATrainedModelIsTheSameForAnyRanksAndThreads) {
  TrainOptions options = of(write());
  options.class_weight = ClassWeight::kAuto;
  options.data.augment = data::AugmentOptions{.rotation = 20, .horizontal_flip = true};
  options.model.pretrained.batch_statistics = true;
  options.stages.push_back(options.stages[0]);
  options.stages[1].name = "finetune";
  options.stages[0].freeze.through.text = "sum";
  options.stages[1].optimizer = {.lr = 1e-2, .momentum = 0.9};
  const Hashes alone = train_small(options, 1);
  for (const int ranks : {2, 3, 4}) {
    EXPECT_EQ(train_small(options, ranks), alone) << ranks << " ranks";
  }
  options.threads = 2;
  EXPECT_EQ(train_small(options, 1), alone);
  EXPECT_EQ(train_small(options, 2), alone);
  options.stages[0].freeze = {};
  EXPECT_NE(train_small(options, 1), alone);
}

/// A file of the folder of models, which need not be there.
fs::path of_models(const char* name) {
  const char* root = std::getenv("GENTRAIN_DATA");
  return fs::path(root == nullptr ? "data" : root) / "models" / name;
}

/// One that Keras itself wrote, where there are such files.
TEST_F(Imported, AResidualNetworkOfKerasIsTheSameForAnyRanks) {
  const fs::path file = of_models("keras2/resnet.h5");
  if (!fs::exists(file)) {
    GTEST_SKIP() << "no folder models in $GENTRAIN_DATA";
  }
  TrainOptions options = with_head(file.string(), "b_out");
  options.stages[0].freeze.through.text = "stem";
  const Hashes alone = train_small(options, 1);
  for (const int ranks : {2, 3, 4}) {
    EXPECT_EQ(train_small(options, ranks), alone) << ranks << " ranks";
  }
  options.threads = 2;
  EXPECT_EQ(train_small(options, 2), alone);
}

/// Values of PyTorch's exporter are "/body/body.0/Conv_output_0", which is no name of an array.
TEST_F(Imported, ParametersOfOnnxHaveNamesThatModelFilesHold) {
  const fs::path file = of_models("onnx/torch_residual_11_unfolded.onnx");
  if (!fs::exists(file)) {
    GTEST_SKIP() << "no folder models in $GENTRAIN_DATA";
  }
  TrainOptions options = with_head(file.string(), "/body/body.1/MaxPool_output_0");
  options.stages[0].freeze.through.text = "/body/body.0/body.0.2/Relu_output_0";
  EXPECT_THAT(changed(options), UnorderedElementsAre("head_dense/weight", "head_dense/bias",
                                                     "head_logits/weight", "head_logits/bias"));
  const auto single = comm::make_single();
  TrainingRun run(options, *single);
  run.prepare();
  EXPECT_THAT(values_of(run),
              ::testing::Contains(::testing::Key("body/body.0/body.0.0/Conv/weight")));
  const fs::path saved = root_ / "model.h5";
  save_model(saved, run.description(nullptr), run.device(), run.runner().queue(), run.parameters());
  const LoadedModel loaded = load_model(saved, run.device(), run.runner().queue());
  EXPECT_EQ(logits(run, *loaded.objective), logits(run, run.objective()));
}

TEST_F(Imported, ASavedModelNeedsTheFileNoMore) {
  for (const char* layer : {"", "sum"}) {
    const std::string file = write();
    TrainOptions options = *layer == '\0' ? of(file) : with_head(file, layer);
    options.model.imported.preprocess = Preprocessing::kTorch;
    options.model.pretrained.batch_statistics = true;
    const auto single = comm::make_single();
    TrainingRun run(options, *single);
    std::vector<Stage> stages = run.make_stages("");
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    const fs::path saved = root_ / "model.h5";
    save_model(saved, run.description(nullptr), run.device(), run.runner().queue(),
               run.parameters());
    fs::remove(file);
    const LoadedModel loaded = load_model(saved, run.device(), run.runner().queue());
    EXPECT_EQ(logits(run, *loaded.objective), logits(run, run.objective()));
    const ModelOptions& model = loaded.description.model;
    EXPECT_EQ(model.imported.file, file);
    EXPECT_EQ(model.imported.preprocess, Preprocessing::kTorch);
    EXPECT_TRUE(model.pretrained.batch_statistics);
    EXPECT_EQ(model_from_json(to_json(model)), model);
  }
}

/// Images are permuted for a model whose channels come first, and maps before its head's pooling.
TEST_F(Imported, ChannelsMayComeFirst) {
  const std::string last = write();
  const std::string first = write({.channels_first = true}, "first.h5");
  const auto expect_near = [](const std::vector<float>& a, const std::vector<float>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_NEAR(a[i], b[i], 1e-4 * (1 + std::abs(b[i])));
    }
  };
  expect_near(first_logits(of(first)), first_logits(of(last)));
  expect_near(first_logits(with_head(first, "sum")), first_logits(with_head(last, "sum")));
  const std::string permuted = write({.permuted = true}, "permuted.h5");
  expect_near(first_logits(with_head(permuted, "sum")), first_logits(with_head(last, "sum")));
}

/// Behind a reshape of ONNX's a node has the file's order, [c, h, w]: the head pools pixels still.
TEST_F(Imported, HeadsPoolPixelsBehindReshapes) {
  std::vector<float> weights;
  for (int i = 0; i < 12; ++i) {
    weights.push_back(static_cast<float>(std::sin(3 * i)));
  }
  const onnx::Model model = onnx::model(
      {3, 12, 10},
      {onnx::node("Conv", {"x", "w"}, {"maps"}), onnx::node("Reshape", {"maps", "rows"}, {"row"}),
       onnx::node("Reshape", {"row", "shape"}, {"reshaped"}),
       onnx::node("Relu", {"reshaped"}, {"y"})},
      {onnx::reals("w", {4, 3, 1, 1}, weights), onnx::list("rows", {0, 4, 120}),
       onnx::list("shape", {0, 4, 12, 10})});
  const std::string file = (root_ / "x.onnx").string();
  std::ofstream(file, std::ios::binary) << onnx::onnx_library().serialize(model);
  const std::vector<float> maps = first_logits(with_head(file, "maps"));
  const std::vector<float> reshaped = first_logits(with_head(file, "reshaped"));
  ASSERT_EQ(maps.size(), reshaped.size());
  for (std::size_t i = 0; i < maps.size(); ++i) {
    EXPECT_NEAR(reshaped[i], maps[i], 1e-4 * (1 + std::abs(maps[i])));
  }
}

TEST_F(Imported, PreprocessingMakesPixelsWhatTheNetworkTakes) {
  Device& device = test::cpu_device();
  const auto queue = device.make_queue();
  Context context{device, *queue, nullptr, false, {}};
  const std::vector<std::uint8_t> bytes = {0, 255, 128, 7, 90, 201};
  std::vector<float> pixels;
  for (const std::uint8_t byte : bytes) {
    pixels.push_back(static_cast<float>(byte) / 127.5F - 1);
  }
  const Tensor x = Tensor::empty(device, {1, 1, 2, 3});
  copy_from_host<float>(device, *queue, pixels, x);
  for (const Preprocessing preprocessing : {Preprocessing::kNone, Preprocessing::kInception,
                                            Preprocessing::kCaffe, Preprocessing::kTorch}) {
    const InputConversion conversion(preprocessing, 3);
    const std::vector<float> made =
        copy_to_host<float>(device, *queue, conversion.forward(context, x));
    const std::vector<float> wanted = preprocessed(preprocessing, bytes, 2, 3);
    for (std::size_t i = 0; i < made.size(); ++i) {
      EXPECT_NEAR(made[i], wanted[i], 1e-4) << name_of(preprocessing) << " " << i;
    }
  }
  EXPECT_NO_THROW(InputConversion(Preprocessing::kNone, 1));
  EXPECT_EQ(message_of<JobError>([] { InputConversion(Preprocessing::kCaffe, 1); }),
            "preprocess caffe: images of 1 channel, 3 are needed");
  EXPECT_EQ(message_of<JobError>([] { InputConversion(Preprocessing::kNone, 2); }),
            "preprocess none: images of 2 channels, 1 or 3 are needed");
}

TEST_F(Imported, FilesThatHoldNoClassifierAreRefused) {
  const std::string file = (root_ / "x.h5").string();
  EXPECT_THAT(refusal<IoError>(of(file)), StartsWith(file));
  write({.inputs = {"left", "right"}});
  EXPECT_EQ(refusal(of(file)), "model.file: " + file +
                                   " has 2 inputs (left [12, 10, 3], right [12, 10, 3]), but a "
                                   "classifier takes one image");
  write({.outputs = {"kind", "size"}});
  EXPECT_EQ(refusal(of(file)),
            "model.file: " + file +
                " has 2 outputs (kind [2], size [2]), but a classifier has one: model.top head "
                "puts a new one behind model.layer");
  EXPECT_THAT(refusal(with_head(file, "")),
              HasSubstr("one: say in model.layer what the head stands behind"));
  EXPECT_EQ(refusal(with_head(file, "sum")), kNothing);
  write({.sample = {7}});
  EXPECT_EQ(refusal(of(file)), "model.file: " + file +
                                   " takes image [7], but a classifier takes an image of 1 or 3 "
                                   "channels");
  write({.noise = true});
  EXPECT_THAT(refusal(of(file)),
              HasSubstr("noise act in training alone, and are not computed here: train a copy of "
                        "the model without them"));
}

TEST_F(Imported, OutputsAndImagesThatDoNotFitTheDataAreNamed) {
  const std::string file = write({.classes = 5});
  EXPECT_EQ(refusal(of(file)), "model.file: " + file +
                                   ": its output out gives [5], but the data has 2 classes: "
                                   "model.top head puts a new output behind model.layer");
  write({.activation = "sigmoid"});
  EXPECT_THAT(refusal(of(file)), HasSubstr("its output out is a sigmoid of each class for itself"));
  write();
  TrainOptions options = of(file);
  options.data.height = options.data.width = 20;
  EXPECT_EQ(refusal(options),
            "model.file: " + file +
                " takes images [12, 10, 3], but the data has [20, 20, 3]: set data.size to [12, "
                "10] and data.channels to 3");
  options = of(file);
  options.data.channels = 1;
  EXPECT_THAT(refusal(options), HasSubstr("the data has [12, 10, 1]"));
  options = of(file);
  options.data.normalize.train = data::Normalization{0, 1};
  EXPECT_THAT(refusal(options), StartsWith("model " + file + " takes pixels in -1..1"));
}

TEST_F(Imported, LayersThatNoHeadCanStandBehindAreNamed) {
  const std::string file = write();
  EXPECT_THAT(refusal(with_head(file, "summ")),
              StartsWith("model.layer: " + file + " has no layer 'summ' (known: "));
  EXPECT_EQ(refusal(with_head(file, "")),
            "model.layer is missing: the output out of " + file +
                " is probabilities, behind which no head learns well: name a layer before it");
  write({.activation = "linear"});
  EXPECT_EQ(refusal(with_head(file, "")), kNothing) << "behind a row of numbers";
}

TEST_F(Imported, ADamagedNetworkOfAModelFileIsRefused) {
  const auto refused = [](const nlohmann::json& json) {
    return message_of<JobError>([&] {
      ParameterSet parameters;
      make_imported(model_from_json({{"imported", json}}), {}, {4, 4, 3}, 2, parameters);
    });
  };
  nlohmann::json json = {{"file", "x.h5"},
                         {"preprocess", "none"},
                         {"batch_statistics", false},
                         {"graph", {{"version", 1}, {"outputs", {0}}, {"nodes", {}}}}};
  EXPECT_THAT(refused(json), StartsWith("the model's graph"));
  json.erase("graph");
  EXPECT_THAT(refused(json), StartsWith("the model's graph cannot be read: "));
  json["preprocess"] = "sepia";
  EXPECT_EQ(refused(json), "the model has a preprocessing 'sepia' that this version does not know");
  json.erase("file");
  json["preprocess"] = "none";
  EXPECT_THAT(refused(json), StartsWith("the model's description cannot be read: "));
}

/// Arrays of a whole model in a built-in network, by the rules of its files.
TEST_F(Imported, WeightsOfANetworkOfTheSameNames) {
  Device& device = test::cpu_device();
  const auto queue = device.make_queue();
  ParameterSet parameters;
  parameters.add("a/weight", {2, 2}, {}, 2, 2);
  parameters.add("a/bias", {2}, {}, 2, 2);
  parameters.allocate(device, *queue);
  parameters.initialize(device, *queue, RngKey(1));
  graph::ImportedModel model;
  model.writer = "ONNX opset 17";
  model.sha256 = "abc";
  model.arrays = {{"a/weight", {2, 2}, {1, 0, 3, 4}}, {"b/weight", {1}, {5}}};
  const fs::path path = "m.onnx";
  graph::KerasRules rules;
  const auto read = [&] { return read_imported({path, model, rules}, parameters, device, *queue); };
  EXPECT_EQ(message_of<IoError>(read),
            "m.onnx (ONNX opset 17) does not hold this network's weights: a/bias is missing; the "
            "network has no b/weight");
  rules = {.allow_missing = {"a/bias"}, .allow_extra = {"b"}, .reinit_zeros = {"a"}};
  const float second = copy_to_host<float>(device, *queue, parameters[0])[1];
  const graph::KerasReport report = read();
  EXPECT_THAT(report.read, ElementsAre("a/weight"));
  EXPECT_THAT(report.initialized, ElementsAre("a/bias"));
  EXPECT_THAT(report.left, ElementsAre("b"));
  EXPECT_EQ(report.refilled.at(0).values, 1);
  EXPECT_THAT(copy_to_host<float>(device, *queue, parameters[0]), ElementsAre(1, second, 3, 4));
  rules.reinit = {"a/weight"};
  EXPECT_THAT(read().initialized, ElementsAre("a/weight", "a/bias"));
  rules.reinit = {};
  model.arrays[0].shape = {4};
  EXPECT_THAT(message_of<IoError>(read), HasSubstr("a/weight is [4] where the network has [2, 2]"));
}

}  // namespace
}  // namespace gentrain::trainers
