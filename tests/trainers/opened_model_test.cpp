// Models opened for predictions and features: networks as graphs over the same parameters, built-in
// ones with files of weights, names of classes, preprocessing, summaries, and every refusal.
#include "trainers/opened_model.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"
#include "tests/trainers/named_model.h"
#include "tests/trainers/small_runs.h"
#include "tests/trainers/whole_models.h"
#include "trainers/class_list.h"
#include "trainers/model_summary.h"
#include "trainers/model_works.h"
#include "trainers/models/layer_graph.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;

class OpenedModels : public testing::Test {
 protected:
  OpenedModels() { fs::create_directories(folder_); }
  ~OpenedModels() override { fs::remove_all(folder_); }
  OpenedModels(const OpenedModels&) = delete;
  OpenedModels& operator=(const OpenedModels&) = delete;

  ModelDescription description(const ModelOptions& model) const {
    ModelDescription d;
    d.model = model;
    d.image = Shape{28, 28, 1};
    d.classes = 10;
    d.train_normalization = d.test_normalization = {0.13, 0.31};
    d.record = {{"job", "small"}};
    return d;
  }
  /// A model file of that, with weights drawn at random.
  [[nodiscard]] std::string save(const ModelDescription& d) const {
    ParameterSet parameters;
    const auto objective = make_objective(d.model, {}, d.image, d.classes, parameters);
    parameters.allocate(bench_.device(), bench_.queue());
    parameters.initialize(bench_.device(), bench_.queue(), RngKey(1));
    const std::string path = (folder_ / "model.h5").string();
    save_model(path, d, bench_.device(), bench_.queue(), parameters);
    return path;
  }
  OpenedModel open(const ModelChoice& choice) const {
    return OpenedModel(choice, bench_.device(), bench_.queue());
  }
  [[nodiscard]] std::vector<std::uint8_t> pixels(const Shape& image, std::int64_t n) const {
    std::vector<std::uint8_t> bytes;
    for (std::int64_t i = 0; i < n * image.elements(); ++i) {
      bytes.push_back(static_cast<std::uint8_t>(i * 37 % 251));
    }
    return bytes;
  }
  [[nodiscard]] std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }

  fs::path folder_ = fs::temp_directory_path() / ("gentrain_opened_" + std::to_string(getpid()));
  test::Workbench bench_{test::cpu_device()};
};

ModelOptions layered() {
  ModelOptions model;
  LayerSpec same = conv_layer(5, 3);
  same.same = true;
  LayerSpec padded = conv_layer(4, 3);
  padded.pad_h = 1;
  padded.stride_w = 2;
  model.layers = {same,
                  layer_of(LayerKind::kRelu),
                  pool_layer(LayerKind::kAveragePool, 3),
                  padded,
                  layer_of(LayerKind::kSigmoid),
                  layer_of(LayerKind::kFlatten),
                  dropout_layer(0.5),
                  linear_layer(10)};
  return model;
}

/// The graph's last layer gives the network's logits, whatever the network fused.
TEST_F(OpenedModels, LayersInARowAreAGraph) {
  for (const ModelOptions& options : {named("lenet"), layered()}) {
    const ModelDescription d = description(options);
    const OpenedModel model = open({.model = save(d)});
    ASSERT_NE(model.graph(), nullptr);
    Context context{bench_.device(), bench_.queue(), nullptr, false, {}};
    const auto bytes = pixels(d.image, 3);
    const Tensor x = model.prepared(context, bytes, 3);
    const Tensor logits = model.compute(context, {&x, 1}, {&model.outputs()[0].node, 1})[0];
    const std::vector<double> expected = bench_.values(ops::softmax(context, logits));
    const std::vector<float> row = model.probabilities(context, bytes, 3);
    EXPECT_TRUE(
        test::within(1e-5, Shape{3, 10}, std::vector<double>(row.begin(), row.end()), expected));
  }
  EXPECT_THAT(message_of<JobError>([] {
                layer_graph(named("vae"), Shape{28, 28, 1}, 10);
              }),
              HasSubstr("a vae is no network of layers in a row"));
}

TEST_F(OpenedModels, LayersAreKnownByTheirNames) {
  const OpenedModel model = open({.model = save(description(named("lenet")))});
  EXPECT_EQ(model.layer("conv1").shape, (Shape{24, 24, 6}));
  EXPECT_EQ(model.layer("fc1").shape, Shape{100});
  EXPECT_EQ(model.kind(), "lenet, gentrain's");
  EXPECT_THAT(message_of<JobError>([&] { static_cast<void>(model.layer("fc3")); }),
              testing::AllOf(HasSubstr("model.h5: the network has no layer 'fc3' (known: "),
                             HasSubstr("fc2")));
  EXPECT_EQ(model.sha256().size(), 64U);
}

TEST_F(OpenedModels, AFolderOfARunIsItsModel) {
  const std::string file = save(description(named("lenet")));
  EXPECT_EQ(open({.model = folder_.string()}).sha256(), open({.model = file}).sha256());
}

TEST_F(OpenedModels, BuiltInNetworksTakeTheirOwnPictures) {
  const OpenedModel model = open({.model = "squeezenet", .weights = "random"});
  EXPECT_EQ(model.image(), (Shape{227, 227, 3}));
  EXPECT_EQ(model.classes(), 1000);
  EXPECT_THAT(model.notes(), testing::Contains("weights: drawn at random, they have learned "
                                               "nothing"));
  Context context{bench_.device(), bench_.queue(), nullptr, false, {}};
  const std::vector<float> row = model.probabilities(context, pixels(model.image(), 1), 1);
  double sum = 0;
  for (const float value : row) {
    sum += static_cast<double>(value);
  }
  EXPECT_NEAR(sum, 1, 1e-4);
  // Without its last layers it predicts nothing, and its output is a map.
  const OpenedModel body =
      open({.model = "squeezenet", .weights = "random", .top = PretrainedOptions::Top::kNone});
  EXPECT_EQ(body.outputs()[0].name, "fire9/concat");
  EXPECT_THAT(
      message_of<JobError>([&] { static_cast<void>(body.classes()); }),
      HasSubstr("squeezenet predicts no classes: that takes one output of a number for each "
                "class, there is fire9/concat [13, 13, 512]"));
}

/// 1 - p and p of a sigmoid; a number that is none says nothing of classes.
TEST_F(OpenedModels, OneOutputIsTwoClassesOrNone) {
  const std::string file = (folder_ / "one.h5").string();
  write_whole_model(file, {.classes = 1, .activation = "sigmoid"});
  const OpenedModel binary = open({.model = file});
  EXPECT_EQ(binary.classes(), 2);
  Context context{bench_.device(), bench_.queue(), nullptr, false, {}};
  const auto bytes = pixels(binary.image(), 2);
  const Tensor x = binary.prepared(context, bytes, 2);
  const std::vector<double> p =
      bench_.values(binary.compute(context, {&x, 1}, {&binary.outputs()[0].node, 1})[0]);
  const std::vector<float> rows = binary.probabilities(context, bytes, 2);
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_NEAR(rows[0], 1 - p[0], 1e-6);
  EXPECT_EQ(static_cast<double>(rows[1]), p[0]);
  EXPECT_EQ(static_cast<double>(rows[3]), p[1]);
  EXPECT_EQ(
      open({.model = file, .classes = write("two.json", R"(["no", "yes"])")}).class_names()[1],
      "yes");
  for (const char* activation : {"linear", "softmax"}) {
    write_whole_model(file, {.classes = 1, .activation = activation});
    const OpenedModel number = open({.model = file});
    EXPECT_THAT(message_of<JobError>([&] { static_cast<void>(number.classes()); }),
                HasSubstr("predicts no classes: that takes one output"));
  }
}

/// What compute() makes of images, compute_graph() makes of what the conversion makes of them.
TEST_F(OpenedModels, ArraysGoPastTheConversion) {
  ModelDescription d = description(named("squeezenet"));
  d.image = Shape{64, 64, 3};
  const OpenedModel model = open({.model = save(d)});
  ASSERT_NE(model.conversion(), nullptr);
  Context context{bench_.device(), bench_.queue(), nullptr, false, {}};
  const Tensor x = model.prepared(context, pixels(d.image, 1), 1);
  const std::vector<int> input = {model.inputs()[0].node};
  const int output = model.outputs()[0].node;
  const Tensor converted = model.conversion()->forward(context, x);
  EXPECT_EQ(bench_.values(model.compute_graph(context, {&converted, 1}, {&output, 1})[0]),
            bench_.values(model.compute(context, {&x, 1}, {&output, 1})[0]));
  EXPECT_EQ(bench_.values(model.compute_graph(context, {&x, 1}, input)[0]), bench_.values(x));
}

/// Only what a row has counts, and it is that picture's error.
TEST_F(OpenedModels, AProbabilityThatIsNotFiniteIsThePicturesError) {
  const OpenedModel model = open({.model = save(description(named("lenet")))});
  const PredictionWork work(model, {});
  std::vector<float> row(10, 0.1F);
  work.check({"a.png", -1}, row);
  row[3] = std::nanf("");
  EXPECT_THAT(message_of<IoError>([&] {
                work.check({"a.png", -1}, row);
              }),
              HasSubstr("gives a probability that is not finite"));
}

TEST_F(OpenedModels, NamesOfClassesComeFromAFile) {
  const std::string model = save(description(named("lenet")));
  EXPECT_THAT(open({.model = model}).class_names(), testing::IsEmpty());
  nlohmann::json index;
  nlohmann::json list = nlohmann::json::array();
  for (int i = 0; i < 10; ++i) {
    index[std::to_string(i)] = {"n" + std::to_string(i), "thing " + std::to_string(i)};
    list.push_back("item " + std::to_string(i));
  }
  EXPECT_EQ(open({.model = model, .classes = write("index.json", index.dump())}).class_names()[9],
            "thing 9");
  EXPECT_EQ(open({.model = model, .classes = write("list.json", list.dump())}).class_names()[0],
            "item 0");
  list.erase(0);
  EXPECT_THAT(message_of<IoError>(
                  [&] { open({.model = model, .classes = write("short.json", list.dump())}); }),
              HasSubstr("short.json: names 9 classes, the model has 10"));
  for (const char* text : {"{\"0\": 3}", "nothing", "{\"1\": [\"a\", \"b\"]}"}) {
    EXPECT_THAT(message_of<IoError>([&] { read_class_list(write("bad.json", text), 1); }),
                HasSubstr("bad.json: is no list of classes"));
  }
}

TEST_F(OpenedModels, RefuseWhatIsNoModel) {
  const auto refused = [&](const ModelChoice& choice) {
    return message_of<Error>([&] { open(choice); });
  };
  EXPECT_THAT(refused({.model = (folder_ / "gone.h5").string()}),
              HasSubstr("gone.h5: No such file"));
  EXPECT_THAT(refused({.model = folder_.string()}), HasSubstr("model.h5"));
  EXPECT_THAT(refused({.model = write("cut.h5", "gentrain m")}),
              HasSubstr("cut.h5 is no gentrain model"));
  const std::string own = save(description(named("lenet")));
  EXPECT_THAT(refused({.model = own, .weights = "random"}),
              HasSubstr("model.h5 has its own weights"));
  EXPECT_THAT(refused({.model = own, .preprocessing = Preprocessing::kCaffe}),
              HasSubstr("--preprocess: "));
  EXPECT_THAT(refused({.model = "squeezenet", .weights = (folder_ / "gone.h5").string()}),
              HasSubstr("gone.h5"));
  EXPECT_THAT(refused({.model = "squeezenet", .weights = "random", .layers = {"fire99"}}),
              HasSubstr("the network has no layer 'fire99'"));
}

TEST(Preprocessing, IsThatOfTheFrameworks) {
  const std::vector<std::uint8_t> pixels = {0, 255, 100, 10, 20, 30};  // 1 x 2, RGB
  const auto values = [&](Preprocessing how, ChannelOrder order = ChannelOrder::kLast) {
    return preprocessed(how, pixels, 2, 3, order);
  };
  EXPECT_THAT(values(Preprocessing::kNone), ElementsAre(0, 255, 100, 10, 20, 30));
  EXPECT_THAT(values(Preprocessing::kNone, ChannelOrder::kFirst),
              ElementsAre(0, 10, 255, 20, 100, 30));
  EXPECT_FLOAT_EQ(values(Preprocessing::kInception)[1], 1);
  EXPECT_FLOAT_EQ(values(Preprocessing::kInception)[0], -1);
  EXPECT_FLOAT_EQ(values(Preprocessing::kCaffe)[0], static_cast<float>(100 - 103.939));
  EXPECT_FLOAT_EQ(values(Preprocessing::kCaffe)[2], 0 - 123.68F);
  EXPECT_FLOAT_EQ(values(Preprocessing::kTorch)[1], (1 - 0.456F) / 0.224F);
  EXPECT_THAT(preprocessed(Preprocessing::kNone, pixels, 3, 1),
              ElementsAre(0, 255, 100, 10, 20, 30));
  EXPECT_THAT(message_of<ShapeError>([&] { preprocessed(Preprocessing::kCaffe, pixels, 3, 1); }),
              HasSubstr("preprocess caffe: images of 1 channels, 3 are needed"));
  EXPECT_EQ(preprocessing_of("torch"), Preprocessing::kTorch);
  EXPECT_EQ(message_of<JobError>([] { preprocessing_of("keras"); }),
            "--preprocess: there is no 'keras' (known: none, inception, caffe, torch)");
}

/// The element at (h, w, c) of a node stands at (c, h, w) of the file.
TEST(ArrayPlaces, FollowTheAxesOfTheFile) {
  const ModelTensor tensor{"x", 0, Shape{2, 3, 4}, {1, 2, 0}};
  const std::vector<std::size_t> places = places_in_file(tensor);
  ASSERT_EQ(places.size(), 24U);
  EXPECT_EQ(places[(2 * 4 + 3) * 2 + 1], (1 * 3 + 2) * 4 + 3U);
  EXPECT_THAT(places_in_file({"y", 0, Shape{3}, {0}}), ElementsAre(0, 1, 2));
  EXPECT_THAT(array_names("input", 1), ElementsAre("input"));
  EXPECT_THAT(array_names("input", 2), ElementsAre("input_0", "input_1"));
}

TEST_F(OpenedModels, SummariesCountEveryLayer) {
  const ModelSummary lenet = summary_of(open({.model = save(description(named("lenet")))}));
  EXPECT_EQ(lenet.parameters, 22278);
  EXPECT_EQ(lenet.trainable, 22278);
  EXPECT_EQ(lenet.flops(), 2.0 * (86400 + 115200 + 19200 + 1000));
  EXPECT_EQ(lenet.layers[1].name, "conv1");
  EXPECT_EQ(lenet.layers[1].parameters, 156);
  EXPECT_THAT(text_of(lenet),
              testing::ContainsRegex("conv2 +convolution +\\[8, 8, 12\\] +1,812 +230,400\n"));
  const nlohmann::json json = to_json(lenet);
  EXPECT_EQ(json.at("layers").at(1).at("output"), (std::vector<std::int64_t>{24, 24, 6}));
  EXPECT_EQ(json.at("parameters"), 22278);

  const ModelSummary inception = summary_of(open(
      {.model = "inception_v3", .top = PretrainedOptions::Top::kNone, .without_weights = true}));
  EXPECT_EQ(inception.parameters, 21802784);
  EXPECT_EQ(inception.trainable, 21802784 - 2 * 17216);
}

TEST(JobSummaries, SayWhatStagesFreeze) {
  TrainOptions job = small_job();
  job.stages.push_back(job.stages[0]);
  job.stages[0].name = "head";
  job.stages[0].trainable = {{"fc2/*", ""}};
  job.stages[1].name = "whole";
  job.stages[1].freeze.parameters = {{"conv1/*", ""}};
  const ModelSummary summary = summary_of_job(job);
  EXPECT_THAT(summary.stages, ElementsAre("head", "whole"));
  const auto frozen = [&](const std::string& name) {
    for (const ModelSummary::Layer& layer : summary.layers) {
      if (layer.name == name) {
        return layer.frozen;
      }
    }
    return std::vector<bool>{};
  };
  EXPECT_THAT(frozen("conv1"), ElementsAre(true, true));
  EXPECT_THAT(frozen("conv2"), ElementsAre(true, false));
  EXPECT_THAT(frozen("fc2"), ElementsAre(false, false));
  EXPECT_THAT(text_of(summary), HasSubstr("  frozen in head\n"));
  EXPECT_EQ(to_json(summary).at("layers").at(1).at("frozen").at("whole"), true);
}

TEST(FeaturePools, AreKnownByName) {
  EXPECT_EQ(feature_pool_of("max"), FeaturePool::kMax);
  EXPECT_EQ(message_of<JobError>([] { feature_pool_of("sum"); }),
            "--pool: there is no 'sum' (known: avg, max, none)");
}

}  // namespace
}  // namespace gentrain::trainers
