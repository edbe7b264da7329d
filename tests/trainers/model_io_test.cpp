// Model files: what is written comes back bit by bit, and files of other networks or
// without a model's header are refused by name.
#include "trainers/model_io.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/io/array_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ModelFiles : public ::testing::Test {
 protected:
  ModelFiles() { fs::create_directories(folder_); }
  ~ModelFiles() override { fs::remove_all(folder_); }
  ModelFiles(const ModelFiles&) = delete;
  ModelFiles& operator=(const ModelFiles&) = delete;

  ModelDescription lenet() {
    ModelDescription d;
    d.model.name = "lenet";
    d.image = Shape{28, 28, 1};
    d.classes = 10;
    d.train_normalization = {0.1307, 0.3081};
    d.test_normalization = {0.1325, 0.3105};
    d.record = {{"job", "small"}, {"steps", 8}};
    return d;
  }

  ModelDescription vae() {
    ModelDescription d = lenet();
    d.model.name = "vae";
    d.model.vae = {.latent = 3, .hidden = 7};
    d.train_normalization = d.test_normalization = {0, 1};
    return d;
  }

  /// Writes a model with weights of the given seed and gives their hash.
  std::string save(const ModelDescription& description, std::uint64_t seed = 1) {
    ParameterSet parameters;
    const auto objective =
        make_objective(description.model, {}, description.image, description.classes, parameters);
    parameters.allocate(*device_, *queue_);
    parameters.initialize(*device_, *queue_, RngKey(seed));
    save_model(file_, description, *device_, *queue_, parameters);
    return weights_sha256(*device_, *queue_, parameters);
  }
  LoadedModel load() { return load_model(file_, *device_, *queue_); }

  /// Changes the file's content, with right hashes.
  template <class Change>
  void change(Change change_it) {
    io::ArrayFile file = io::read_array_file(file_, io::FileKind::kModel);
    change_it(file);
    io::write_array_file(file_, file);
  }
  std::string load_error() {
    return message_of<IoError>([&] { load(); });
  }

  fs::path folder_ = fs::temp_directory_path() / ("gentrain_model_io_" + std::to_string(getpid()));
  fs::path file_ = folder_ / "model.h5";
  std::unique_ptr<Device> device_ = make_cpu_device();
  std::unique_ptr<Queue> queue_ = device_->make_queue();
};

TEST_F(ModelFiles, RoundTrip) {
  ModelDescription layers = lenet();
  layers.model.name.clear();
  layers.model.layers = lenet_layers();
  std::string before;
  for (const ModelDescription& description : {lenet(), layers}) {
    const std::string hash = save(description, 9);
    const LoadedModel loaded = load();
    EXPECT_EQ(weights_sha256(*device_, *queue_, *loaded.parameters), hash);
    EXPECT_EQ(loaded.description.model, description.model);
    EXPECT_EQ(loaded.description.image, description.image);
    EXPECT_EQ(loaded.description.classes, 10);
    EXPECT_EQ(loaded.description.train_normalization.mean, 0.1307);
    EXPECT_EQ(loaded.description.test_normalization.stddev, 0.3105);
    EXPECT_EQ(loaded.description.record, description.record);
    if (!before.empty()) {
      EXPECT_EQ(hash, before);  // names are no part of the values
    }
    before = hash;
  }
}

TEST_F(ModelFiles, ClassesHaveNamesAndImagesAFit) {
  ModelDescription description = lenet();
  save(description);
  EXPECT_TRUE(load().description.class_names.empty());
  EXPECT_EQ(load().description.fit, image::Fit::kCrop);
  description.classes = 2;
  description.class_names = {"cats", "dogs"};
  description.fit = image::Fit::kStretch;
  save(description);
  EXPECT_EQ(load().description.class_names, description.class_names);
  EXPECT_EQ(load().description.fit, image::Fit::kStretch);
  change([](io::ArrayFile& file) { file.header["class_names"] = {"a", "b", "c"}; });
  EXPECT_EQ(load_error(), file_.string() + ": the header has 3 names for 2 classes");
  save(description);
  change([](io::ArrayFile& file) {  // as they were before
    file.header.erase("class_names");
    file.header.erase("stretch");
  });
  EXPECT_TRUE(load().description.class_names.empty());
}

TEST_F(ModelFiles, RoundTripOfAnAutoencoder) {
  ModelDescription description = vae();
  const std::string hash = save(description, 9);
  const LoadedModel loaded = load();
  EXPECT_EQ(weights_sha256(*device_, *queue_, *loaded.parameters), hash);
  EXPECT_EQ(loaded.description.model, description.model);
  EXPECT_EQ(loaded.objective->classifier(), nullptr);
  EXPECT_EQ(loaded.objective->names().back(), "divergence");
  change([](io::ArrayFile& file) { file.header["model"]["latent"] = 4; });
  EXPECT_EQ(load_error(), file_.string() +
                              ": holds encoder/latent/weight [6, 7] where the network has "
                              "encoder/latent/weight [8, 7]");
  change([](io::ArrayFile& file) { file.header["model"]["latent"] = -1; });
  EXPECT_EQ(load_error(), file_.string() +
                              ": model vae: latent is -1 but must be at least 1 and at most "
                              "10000000");
}

TEST_F(ModelFiles, AnArrayOfAnotherNetworkIsNamed) {
  save(lenet());
  change([](io::ArrayFile& file) { file.arrays[2].shape = Shape{12, 25, 6}; });
  EXPECT_EQ(load_error(), file_.string() +
                              ": holds conv2/weight [12, 25, 6] where the network has "
                              "conv2/weight [12, 5, 5, 6]");
  save(lenet());
  change([](io::ArrayFile& file) { file.arrays[5].name = "linear1/bias"; });
  EXPECT_EQ(load_error(),
            file_.string() + ": holds linear1/bias [100] where the network has fc1/bias [100]");
  save(lenet());
  change([](io::ArrayFile& file) { file.arrays.pop_back(); });
  EXPECT_EQ(load_error(), file_.string() + ": holds 7 arrays but the network has 8");
}

TEST_F(ModelFiles, AHeaderThatIsNoModelsIsRefused) {
  save(lenet());
  change([](io::ArrayFile& file) { file.header.erase("classes"); });
  EXPECT_THAT(load_error(),
              AllOf(StartsWith(file_.string() + ": the header is not that of a model: "),
                    HasSubstr("classes")));
  save(lenet());
  change([](io::ArrayFile& file) { file.header["image"] = "large"; });
  EXPECT_THAT(load_error(), StartsWith(file_.string() + ": the header is not that of a model: "));
  save(lenet());
  change([](io::ArrayFile& file) { file.header["model"] = {{"name", "resnet"}}; });
  EXPECT_EQ(load_error(), file_.string() +
                              ": model: there is no 'resnet' (known: lenet, vae, vae_conv, srgan, "
                              "inception_v3, vgg16, vgg19, squeezenet)");
  save(lenet());
  change([](io::ArrayFile& file) { file.header["image"] = {-8, 28, 1}; });
  EXPECT_THAT(load_error(), StartsWith(file_.string() + ": shape "));
  save(lenet());
  change([](io::ArrayFile& file) { file.header["normalization"]["test"]["stddev"] = 1e-60; });
  EXPECT_EQ(load_error(),
            file_.string() +
                ": normalization.test: mean 0.1325 and std 1e-60 give pixels that are "
                "not finite");
}

TEST_F(ModelFiles, AMissingFileIsNamed) {
  EXPECT_THAT(load_error(), HasSubstr(file_.string()));
}

TEST_F(ModelFiles, HashesCoverValuesAlone) {
  ParameterSet small;
  small.add("odd", {3}, {Initializer::Kind::kOnes}, 1, 1);  // a gap follows in the arena
  small.add("even", {2}, {Initializer::Kind::kZeros}, 1, 1);
  small.allocate(*device_, *queue_);
  small.initialize(*device_, *queue_, RngKey(1));
  const std::vector<float> values = {1, 1, 1, 0, 0};
  EXPECT_EQ(weights_sha256(*device_, *queue_, small), io::sha256(std::as_bytes(std::span(values))));
  std::vector<float> state(static_cast<std::size_t>(small.arena_elements()), 7.0F);
  const std::vector<float> both = {1, 1, 1, 0, 0, 7, 7, 7, 7, 7};
  const std::string hash = state_sha256(*device_, *queue_, small, {state});
  EXPECT_EQ(hash, io::sha256(std::as_bytes(std::span(both))));
  state[3] = 0;  // in the gap
  EXPECT_EQ(state_sha256(*device_, *queue_, small, {state}), hash);
  state[2] = 0;
  EXPECT_NE(state_sha256(*device_, *queue_, small, {state}), hash);
}

TEST_F(ModelFiles, HashesTakeLargeParametersInPieces) {
  ParameterSet large;
  large.add("large", {700, 900}, {Initializer::Kind::kXavierUniform}, 700, 900);
  large.add("odd", {3}, {Initializer::Kind::kOnes}, 1, 1);
  large.allocate(*device_, *queue_);
  large.initialize(*device_, *queue_, RngKey(1));
  std::vector<float> values = copy_to_host<float>(*device_, *queue_, large[0]);
  values.insert(values.end(), 3, 1.0F);
  EXPECT_EQ(weights_sha256(*device_, *queue_, large), io::sha256(std::as_bytes(std::span(values))));
}

}  // namespace
}  // namespace gentrain::trainers
