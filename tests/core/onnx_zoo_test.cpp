// Models that exporters of PyTorch and TensorFlow, and onnx.helper, wrote: outputs as ONNX Runtime
// computed them, and damaged files, each with what is said of it. Needs the folder models of
// $GENTRAIN_DATA.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "tests/core/imported_computation.h"
#include "tests/core/onnx_models.h"
#include "tests/support/hdf5_reader.h"

namespace gentrain::onnx {
namespace {

using graph::Computation;

namespace fs = std::filesystem;

/// The folder of models, or nothing.
std::optional<fs::path> models() {
  const char* root = std::getenv("GENTRAIN_DATA");
  const fs::path folder = fs::path(root == nullptr ? "data" : root) / "models";
  return fs::is_directory(folder) ? std::optional(folder) : std::nullopt;
}

class OnnxZoo : public testing::Test {
 protected:
  void SetUp() override {
    if (!models()) {
      GTEST_SKIP() << "no folder models in $GENTRAIN_DATA";
    }
  }
};
class OnnxZooWriters : public OnnxZoo, public testing::WithParamInterface<const char*> {};

/// /output, or /output_0, ...
std::vector<Computation::Result> read_all(const test::Hdf5Reader& reader, const std::string& name,
                                          std::size_t count) {
  std::vector<Computation::Result> arrays;
  for (std::size_t i = 0; i < count; ++i) {
    test::Hdf5Array array = reader.read(count == 1 ? "/" + name : fmt::format("/{}_{}", name, i));
    arrays.push_back({array.shape, std::move(array.values)});
  }
  return arrays;
}

void expect_as_stored(const fs::path& path) {
  SCOPED_TRACE(path.string());
  const ImportedModel imported = graph::import_onnx(path);
  const io::Hdf5Lock lock;
  const test::Hdf5Reader reader(fs::path(path).replace_extension(".expected.h5").string());
  const auto expected = read_all(reader, "output", imported.outputs.size());
  const auto actual =
      Computation(imported).outputs(read_all(reader, "input", imported.inputs.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(actual[i].shape, expected[i].shape) << imported.outputs[i].name;
    EXPECT_TRUE(test::within(1e-4, expected[i].shape, actual[i].values, expected[i].values))
        << imported.outputs[i].name;
  }
}

TEST_P(OnnxZooWriters, ComputesWhatOnnxRuntimeComputed) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(*models() / "onnx")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(GetParam()) && name.ends_with(".onnx")) {
      expect_as_stored(entry.path());
      ++count;
    }
  }
  EXPECT_GT(count, 0);
}

INSTANTIATE_TEST_SUITE_P(All, OnnxZooWriters, testing::Values("op_", "torch_", "tf2onnx_"),
                         [](const auto& info) {
                           const std::string name = info.param;
                           return name.substr(0, name.size() - 1);
                         });

/// What is said of each file of the folder bad; onnx_not_sorted is right, if unusual.
const std::map<std::string, std::string> kRefusals = {
    {"bit_noise", "this is no ONNX model, or it is damaged or cut short"},
    {"control_flow", "node m (ReduceMax): it has no axes, which means all, the samples' too"},
    {"custom_domain", "node d (Magic): its operator is of the domain com.example"},
    {"cycle", "node c (Conv) depends on itself: the model has a cycle"},
    {"dims_do_not_match_data", "tensor w [5, 3, 3, 3] needs 540 bytes but the file has 432"},
    {"empty", "the file is empty"},
    {"external_absolute", "lie in '/etc/passwd', a path inside the model's folder is needed"},
    {"external_beyond_end", "are 432 bytes from 1000000000000 on of"},
    {"external_missing", "nobody.bin cannot be opened"},
    {"external_outside", "a path inside the model's folder is needed"},
    {"external_wrong_length", "432 bytes are needed but its external data have 9"},
    {"future_opset", "it uses opset 999 of ONNX's own operators, opsets 9 to 21 are supported"},
    {"group_does_not_divide", "its group is 3: it must divide 3 channels and 4 outputs"},
    {"huge_dims", "tensor w has the extents [2147483648, 2147483648, 3, 3], whose product is too"},
    {"huge_pads", "node c (Conv): its pads are [1099511627776, "},
    {"negative_dims", "tensor w has the extents [-4, 3, 3, 3]: none may be negative"},
    {"negative_pads", "node c (Conv): its pads are [-1, 0, 0, 0]"},
    {"no_default_opset", "it uses no opset of ONNX's own operators"},
    {"no_graph", "it holds no graph"},
    {"output_unknown", "an output of the model reads the value nobody"},
    {"overflowing_dims", "whose product is too large"},
    {"reshape_two_free", "node y (Reshape): its shape is [-1, -1]"},
    {"reshape_wrong_count", "60 elements of a sample do not fit into the shape [N, 7]"},
    {"same_output_twice", "the value y is given twice"},
    {"string_for_number", "its attribute group is a text, an integer is needed"},
    {"text", "this is neither a model of Keras (HDF5 or .keras) nor an ONNX model"},
    {"truncated", "this is no ONNX model, or it is damaged or cut short"},
    {"unknown_operator", "node c (Convolute): the operator Convolute is not supported"},
    {"unknown_tensor", "node c (Conv) reads the value nobody"},
    {"unsupported_operator", "the operator LSTM is not supported"},
    {"weight_is_string", "tensor w has the element type 8"},
    {"wrong_channels", "its weights w [3, 4, 3, 3] are for 4 channels but it gets 3"},
    {"wrong_kernel_shape", "its kernel_shape is [5, 5] but its weights are of [3, 3]"},
    {"zero_stride", "its strides are [0, 1]"},
};

TEST_F(OnnxZoo, BadFilesAreRefused) {
  for (const auto& [name, reason] : kRefusals) {
    const fs::path path = *models() / "bad" / fmt::format("onnx_{}.onnx", name);
    EXPECT_THAT(
        test::message_of<IoError>([&] { static_cast<void>(graph::import_model(path)); }),
        testing::AllOf(testing::StartsWith(path.string() + ": "), testing::HasSubstr(reason)));
  }
}

TEST_F(OnnxZoo, OrderOfNodesIsFree) {
  const ImportedModel imported = graph::import_model(*models() / "bad" / "onnx_not_sorted.onnx");
  EXPECT_EQ(kinds_of(imported.graph), (std::vector<std::string>{"input", "convolution", "relu"}));
}

}  // namespace
}  // namespace gentrain::onnx
