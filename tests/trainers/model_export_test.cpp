// Opened models exported and opened again: the same outputs for the same inputs, whatever stood
// before the graph, and what is refused.
#include "trainers/model_export.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"
#include "tests/trainers/named_model.h"
#include "tests/trainers/small_runs.h"
#include "tests/trainers/whole_models.h"
#include "trainers/models/imported.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::HasSubstr;

class ModelExports : public testing::Test {
 protected:
  ModelExports() { fs::create_directories(folder_); }
  ~ModelExports() override { fs::remove_all(folder_); }
  ModelExports(const ModelExports&) = delete;
  ModelExports& operator=(const ModelExports&) = delete;

  /// A model file with weights drawn at random.
  [[nodiscard]] std::string save(const ModelOptions& model, const Shape& image) const {
    ModelDescription d;
    d.model = model;
    d.image = image;
    d.classes = 10;
    d.train_normalization = d.test_normalization = {0.13, 0.31};
    d.record = {{"job", "small"}};
    ParameterSet parameters;
    const auto objective = make_objective(d.model, {}, d.image, d.classes, parameters);
    parameters.allocate(bench_.device(), bench_.queue());
    parameters.initialize(bench_.device(), bench_.queue(), RngKey(1));
    const std::string path = (folder_ / "model.h5").string();
    save_model(path, d, bench_.device(), bench_.queue(), parameters);
    return path;
  }
  [[nodiscard]] OpenedModel open(const ModelChoice& choice) const {
    return OpenedModel(choice, bench_.device(), bench_.queue());
  }
  [[nodiscard]] std::vector<double> outputs(const OpenedModel& model, const Tensor& x) const {
    Context context{bench_.device(), bench_.queue(), nullptr, false, {}};
    return bench_.values(model.compute(context, {&x, 1}, {&model.outputs()[0].node, 1})[0]);
  }
  /// Out in both formats, and in again.
  void expect_same(const OpenedModel& model) const {
    const Shape& image = model.image();
    const Shape batch{2, image[0], image[1], image[2]};
    const Tensor x = bench_.random(batch, RngKey(5), DType::kF32);
    const std::vector<double> expected = outputs(model, x);
    for (const char* name : {"out.onnx", "out.h5"}) {
      SCOPED_TRACE(name);
      const fs::path path = folder_ / name;
      export_model(model, bench_.queue(), path, "1.2.3");
      const OpenedModel back = open({.model = path.string()});
      EXPECT_EQ(back.inputs()[0].name, model.inputs()[0].name);
      EXPECT_EQ(back.outputs()[0].shape, model.outputs()[0].shape);
      EXPECT_TRUE(test::within(1e-5, Shape{static_cast<std::int64_t>(expected.size())},
                               outputs(back, x), expected));
    }
  }

  fs::path folder_ = fs::temp_directory_path() / ("gentrain_exports_" + std::to_string(getpid()));
  test::Workbench bench_{test::cpu_device()};
};

TEST_F(ModelExports, LayersInARow) {
  expect_same(open({.model = save(named("lenet"), {28, 28, 1})}));
  ModelOptions layers;
  layers.layers = {conv_layer(5, 3),
                   layer_of(LayerKind::kSigmoid),
                   pool_layer(LayerKind::kAveragePool, 3),
                   layer_of(LayerKind::kFlatten),
                   dropout_layer(0.5),
                   linear_layer(10)};
  expect_same(open({.model = save(layers, {28, 28, 1})}));
}

TEST_F(ModelExports, TheConversionOfColoursIsALayer) {
  const OpenedModel model = open({.model = save(named("squeezenet"), {64, 64, 3})});
  ASSERT_NE(model.conversion(), nullptr);
  expect_same(model);
  EXPECT_EQ(open({.model = (folder_ / "out.h5").string()}).layer("preprocessing").shape,
            (Shape{64, 64, 3}));
}

TEST_F(ModelExports, TheConversionTakesANameThatNobodyHas) {
  const fs::path file = folder_ / "whole.h5";
  write_whole_model(file, {.classes = 10, .conv = "preprocessing"});
  ModelOptions options;
  options.imported.file = file.string();
  options.imported.preprocess = Preprocessing::kCaffe;
  ParameterSet parameters;
  const auto network = make_imported(options, {}, {12, 10, 3}, 10, parameters);
  const OpenedModel model =
      open({.model = save(self_contained(options, network.get()), {12, 10, 3})});
  ASSERT_NE(model.conversion(), nullptr);
  expect_same(model);
}

TEST_F(ModelExports, BuiltInNetworksGoOutAsTheyAre) {
  const OpenedModel model = open({.model = "squeezenet", .weights = "random"});
  EXPECT_EQ(model.conversion(), nullptr);
  expect_same(model);
}

TEST_F(ModelExports, WhatTheCallerDoesWithPixels) {
  EXPECT_EQ(pixels_taken(open({.model = save(named("lenet"), {28, 28, 1})})),
            "(x / 255 - 0.13) / 0.31");
  EXPECT_EQ(pixels_taken(open({.model = "squeezenet", .weights = "random"})),
            "x - (103.939, 116.779, 123.68), BGR");
  EXPECT_EQ(
      pixels_taken(open(
          {.model = "squeezenet", .weights = "random", .preprocessing = Preprocessing::kTorch})),
      "(x / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225), RGB");
  EXPECT_EQ(pixels_taken(open({.model = "inception_v3", .weights = "random"})),
            "x / 127.5 - 1, RGB");
  const OpenedModel lenet = open({.model = save(named("lenet"), {28, 28, 1})});
  export_model(lenet, bench_.queue(), folder_ / "out.onnx", "1.2.3");
  EXPECT_EQ(pixels_taken(open({.model = (folder_ / "out.onnx").string()})),
            "as the file's authors say");
}

TEST_F(ModelExports, WhatIsNoGraphIsRefused) {
  const OpenedModel vae = open({.model = save(named("vae"), {28, 28, 1})});
  EXPECT_THAT(message_of<JobError>(
                  [&] { export_model(vae, bench_.queue(), folder_ / "out.onnx", "1.2.3"); }),
              HasSubstr("model.h5 (vae, gentrain's) cannot be exported: it is no graph of layers"));
  EXPECT_FALSE(fs::exists(folder_ / "out.onnx"));
}

TEST_F(ModelExports, EndingsSayTheFormat) {
  EXPECT_EQ(export_format_of("a.h5"), ExportFormat::kKeras);
  EXPECT_EQ(export_format_of("a.HDF5"), ExportFormat::kKeras);
  EXPECT_EQ(export_format_of("a.b/c.onnx"), ExportFormat::kOnnx);
  EXPECT_EQ(message_of<JobError>([] { export_format_of("a.keras"); }),
            "a.keras: its ending says no format: .h5 (Keras) or .onnx is needed");
}

}  // namespace
}  // namespace gentrain::trainers
