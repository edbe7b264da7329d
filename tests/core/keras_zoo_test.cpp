// Models that real versions of Keras wrote: outputs and layers as Keras computed them, and damaged
// files, each with what is said of it. Needs the folder models of $GENTRAIN_DATA.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

#include "core/graph/executor.h"
#include "tests/core/keras_models.h"
#include "tests/support/compare.h"
#include "tests/support/hdf5_reader.h"
#include "tests/support/workbench.h"

namespace gentrain::keras {
namespace {

namespace fs = std::filesystem;

/// The folder of models, or nothing.
std::optional<fs::path> models() {
  const char* root = std::getenv("GENTRAIN_DATA");
  const fs::path folder = fs::path(root == nullptr ? "data" : root) / "models";
  return fs::is_directory(folder) ? std::optional(folder) : std::nullopt;
}

/// Paths of all arrays below a group.
std::vector<std::string> arrays_below(const fs::path& path, const std::string& group) {
  const io::Bytes file = io::read_file(path);
  const io::Hdf5Objects objects(std::as_bytes(std::span(file.data.get(), file.size)));
  std::vector<std::string> paths = objects.leaves();
  std::erase_if(paths, [&](const std::string& name) { return !name.starts_with(group); });
  return paths;
}

class KerasZoo : public testing::Test {
 protected:
  void SetUp() override {
    if (!models()) {
      GTEST_SKIP() << "no folder models in $GENTRAIN_DATA";
    }
  }
};
class KerasZooFolders : public KerasZoo, public testing::WithParamInterface<const char*> {};

/// One model: its parameters are registered once.
class Comparison {
 public:
  void expect_as_stored(const fs::path& path) {
    SCOPED_TRACE(path.string());
    const fs::path stored = fs::path(path).replace_extension(".expected.h5");
    const ImportedModel model = graph::import_keras(path);
    ASSERT_NO_FATAL_FAILURE(fill(model));
    const graph::Executor executor(model.graph, parameters_);
    const io::Hdf5Lock lock;
    const test::Hdf5Reader reader(stored.string());
    std::vector<Tensor> inputs;
    for (const std::string& name : arrays_below(stored, "input")) {
      const test::Hdf5Array array = reader.read(name);
      inputs.push_back(bench_.tensor(array.shape, array.values, DType::kF32));
    }
    std::vector<std::string> names = arrays_below(stored, "output");
    std::vector<int> wanted;
    for (const graph::ImportedTensor& output : model.outputs) {
      wanted.push_back(output.node);
    }
    ASSERT_EQ(names.size(), wanted.size());
    for (const std::string& name : arrays_below(stored, "layers/")) {
      const std::string layer = name.substr(std::string("layers/").size());
      const auto found = std::ranges::find(model.layers, layer, &graph::ImportedTensor::name);
      ASSERT_NE(found, model.layers.end()) << layer;
      names.push_back(name);
      wanted.push_back(found->node);
    }
    Context context{bench_.device(), bench_.queue(), nullptr, false, RngKey(1)};
    const std::vector<Tensor> results = executor.compute(context, inputs, wanted);
    for (std::size_t i = 0; i < names.size(); ++i) {
      expect_near(reader.read(names[i]), results[i], names[i]);
    }
  }

 private:
  /// The model's parameters with the file's values.
  void fill(const ImportedModel& model) {
    graph::register_parameters(model.graph, parameters_, {Initializer::Kind::kZeros});
    parameters_.allocate(bench_.device(), bench_.queue());
    ASSERT_EQ(static_cast<std::size_t>(parameters_.size()), model.arrays.size());
    for (const ImportedArray& array : model.arrays) {
      const int index = parameters_.find(array.parameter);
      ASSERT_GE(index, 0) << array.parameter;
      ASSERT_EQ(parameters_.info(index).shape, array.shape) << array.parameter;
      copy_from_host<float>(bench_.device(), bench_.queue(), array.values, parameters_[index]);
    }
    parameters_.mark_changed();
  }

  void expect_near(const test::Hdf5Array& expected, const Tensor& actual, const std::string& what) {
    ASSERT_EQ(actual.shape(), expected.shape) << what;
    EXPECT_TRUE(test::within(1e-4, expected.shape, bench_.values(actual), expected.values)) << what;
  }

  test::Workbench bench_{test::cpu_device()};
  ParameterSet parameters_;
};

TEST_P(KerasZooFolders, ComputeWhatKerasComputed) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(*models() / GetParam())) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".expected.h5")) {
      Comparison().expect_as_stored(entry.path());
      ++count;
    }
  }
  EXPECT_GT(count, 0);
}

INSTANTIATE_TEST_SUITE_P(Versions, KerasZooFolders,
                         testing::Values("keras1", "keras2_old", "keras2", "keras3"),
                         [](const auto& info) { return std::string(info.param); });

TEST_F(KerasZoo, TrainingOnlyLayersAreNamed) {
  const ImportedModel model = graph::import_keras(*models() / "keras2" / "training_only.h5");
  EXPECT_THAT(model.training_only,
              testing::ElementsAre("gaussian_noise", "spatial_dropout2d", "gaussian_dropout",
                                   "alpha_dropout", "activity_regularization"));
  EXPECT_EQ(model.writer, "Keras 2.21.0");
}

/// What is said of each file of the folder bad; those that may be read are not among them.
const std::map<std::string, std::string> kRefusals = {
    {"empty.h5", "it is no HDF5 file"},
    {"text.h5", "it is no HDF5 file"},
    {"keras2_conv1d.h5", "layer conv1d (Conv1D): layers of the type Conv1D are not supported"},
    {"keras2_custom_layer.h5", "Doubled"},
    {"keras2_cut_json.h5", "its JSON is damaged"},
    {"keras2_cycle.h5", "its layers take each other's outputs in a cycle: a, b, sum"},
    {"keras2_header_only.h5", "HDF5"},
    {"keras2_huge_shape.h5", "layer conv: array conv/kernel:0 has the extents [3, 3, 1000000, "},
    {"keras2_huge_units.h5", "layer dense (Dense): units is 1000000000000: more than can be"},
    {"keras2_integer_weight.h5", "its elements are no floating-point numbers"},
    {"keras2_kernel_too_large.h5", "layer conv (Conv2D): "},
    {"keras2_lambda.h5", "(Lambda): layers of the type Lambda are not supported"},
    {"keras2_lstm.h5", "layer lstm (LSTM): layers of the type LSTM are not supported"},
    {"keras2_missing_weight.h5", "layer conv: array conv/kernel:0"},
    {"keras2_negative_stride.h5", "strides is -1: an integer, at least 1, is needed"},
    {"keras2_no_filters.h5", "layer conv (Conv2D): it has no attribute filters or nb_filter"},
    {"keras2_no_layer_names.h5", "layer_names"},
    {"keras2_no_weights_group.h5", "layer_names"},
    {"keras2_same_name_twice.h5", "two layers are named a"},
    {"keras2_text_for_number.h5", "filters is \"three\": an integer, at least 1, is needed"},
    {"keras2_truncated.h5", "HDF5"},
    {"keras2_unknown_activation.h5", "its activation 'frobnicate' is not known"},
    {"keras2_unknown_input.h5", "layer a: there is no layer nobody, whose output is taken"},
    {"keras2_weights_only.h5", "it has no attribute model_config"},
    {"keras2_wrong_shape.h5", "layer conv: array conv/kernel:0 has the extents [3, 3, 3, 2]"},
    {"keras3_lambda.h5", "(Lambda): layers of the type Lambda are not supported"},
    {"keras3_lstm.h5", "layer lstm (LSTM): layers of the type LSTM are not supported"},
    {"keras3_ops.h5", "layer sin: Sin is an operation of Keras 3 between layers"},
    {"keras3_truncated.keras", "its zip is damaged or cut off"},
    {"keras3_weights_only.weights.h5", "it has no attribute model_config"},
};

TEST_F(KerasZoo, BadFilesAreRefused) {
  for (const auto& [name, reason] : kRefusals) {
    const fs::path path = *models() / "bad" / name;
    EXPECT_THAT(
        test::message_of<IoError>([&] { static_cast<void>(graph::import_keras(path)); }),
        testing::AllOf(testing::StartsWith(path.string() + ": "), testing::HasSubstr(reason)));
  }
}

// Nothing is stored to compare with: that they fit is what can be said.
TEST_F(KerasZoo, ChannelsFirstAreRead) {
  for (const char* name : {"keras2_channels_first.h5", "keras3_channels_first.h5"}) {
    const ImportedModel model = graph::import_keras(*models() / "bad" / name);
    EXPECT_EQ(model.graph.node(model.inputs[0].node).shape, Shape({3, 12, 11}));
    EXPECT_EQ(model.graph.node(model.outputs[0].node).shape, Shape({2}));
  }
}

}  // namespace
}  // namespace gentrain::keras
