// ONNX models that are refused, each with what is said of it.
#include <functional>
#include <limits>

#include <sys/stat.h>

#include "core/onnx/names.h"
#include "tests/core/onnx_models.h"

namespace gentrain::onnx {
namespace {

using testing::HasSubstr;

struct BadModel {
  const char* name;
  std::function<Model()> make;
  const char* message;
};

void PrintTo(const BadModel& bad, std::ostream* out) {
  *out << bad.name;
}

/// One node from x [N, 3, 4, 5] to y.
Model one(const std::string& op_type, std::vector<Attribute> attributes = {},
          std::vector<Tensor> constants = {}, std::int64_t opset = 17) {
  std::vector<std::string> inputs{"x"};
  for (const Tensor& constant : constants) {
    inputs.push_back(constant.name);
  }
  return model({3, 4, 5}, {node(op_type, inputs, {"y"}, std::move(attributes))},
               std::move(constants), opset);
}

Model conv_model(std::vector<Attribute> attributes) {
  return one("Conv", std::move(attributes), {ramp("w", {2, 3, 2, 2})});
}

Model changed(const std::function<void(Model&)>& change) {
  Model made = conv_model({});
  change(made);
  return made;
}

Model external(std::vector<std::pair<std::string, std::string>> entries) {
  return changed([&](Model& made) {
    made.initializers[0].external = true;
    made.initializers[0].external_data = std::move(entries);
  });
}

class OnnxErrors : public OnnxFiles, public testing::WithParamInterface<BadModel> {};

TEST_P(OnnxErrors, SayWhatIsWrong) {
  write("12345678", "short.bin");
  std::error_code ignored;
  std::filesystem::create_symlink("/etc", folder_ / "link", ignored);
  EXPECT_THAT(refusal(GetParam().make()), HasSubstr(GetParam().message));
}

const auto kName = [](const auto& info) { return std::string(info.param.name); };

INSTANTIATE_TEST_SUITE_P(
    Models, OnnxErrors,
    testing::Values(
        BadModel{"NoGraph", [] { return changed([](Model& m) { m.has_graph = false; }); },
                 "it holds no graph"},
        BadModel{"NoOpset", [] { return changed([](Model& m) { m.opsets.clear(); }); },
                 "it uses no opset of ONNX's own operators, opsets 9 to 21 are supported"},
        BadModel{"LaterOpset", [] { return changed([](Model& m) { m.opsets[0].version = 22; }); },
                 "it uses opset 22 of ONNX's own operators"},
        BadModel{"TwoOpsets",
                 [] { return changed([](Model& m) {
                        m.opsets.push_back({"ai.onnx", 9});
                      }); },
                 "the opsets 17 and 9"},
        BadModel{"NoInputs", [] { return changed([](Model& m) { m.inputs.clear(); }); },
                 "node y (Conv) reads the value x, which no node, input or initializer gives"},
        BadModel{"NoOutputs", [] { return changed([](Model& m) { m.outputs.clear(); }); },
                 "the model has no outputs"},
        BadModel{"UnknownOutput", [] { return changed([](Model& m) { m.outputs[0].name = "z"; }); },
                 "an output of the model reads the value z"},
        BadModel{"ConstantOutput",
                 [] { return changed([](Model& m) { m.outputs[0].name = "w"; }); },
                 "output w has not the samples along its first axis"},
        BadModel{
            "GivenTwice",
            [] { return changed([](Model& m) { m.nodes.push_back(node("Relu", {"x"}, {"y"})); }); },
            "the value y is given twice"},
        BadModel{"InputTwice",
                 [] { return changed([](Model& m) { m.inputs.push_back(m.inputs[0]); }); },
                 "two inputs of the model are named 'x'"},
        BadModel{"Cycle", [] { return changed([](Model& m) { m.nodes[0].inputs[0] = "y"; }); },
                 "node y (Conv) depends on itself: the model has a cycle"},
        BadModel{"IntegerInput",
                 [] { return changed([](Model& m) { m.inputs[0].type = ElementType::kInt64; }); },
                 "input x has the element type 7"},
        BadModel{"ShapelessInput",
                 [] { return changed([](Model& m) { m.inputs[0].dims.reset(); }); },
                 "input x has no shape"},
        BadModel{"FreeExtent",
                 [] {
                   return changed([](Model& m) {
                     (*m.inputs[0].dims)[2] = {-1, "height"};
                     (*m.inputs[0].dims)[3] = {-1, ""};
                   });
                 },
                 "input x has no fixed extent along axis 2 (height), axis 3 (without a name)"},
        BadModel{"OtherDomain", [] { return changed([](Model& m) { m.nodes[0].domain = "my"; }); },
                 "node y (Conv): its operator is of the domain my"},
        BadModel{"NameOfOtherBytes",
                 [] { return changed([](Model& m) { m.nodes[0].name = "a\xff"; }); },
                 "the name or text of a node is no printable text in UTF-8"},
        BadModel{"NameOfTwoLines",
                 [] { return changed([](Model& m) { m.producer_name = "a\nb"; }); },
                 "the name or text of the producer is no printable text in UTF-8"},
        BadModel{"UnknownOperator", [] { return one("Magic"); },
                 "node y (Magic): the operator Magic is not supported"},
        BadModel{"NoInputsOfANode", [] { return model({3}, {node("Tanh", {}, {"y"})}); },
                 "node y (Tanh): it has no inputs"}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Tensors, OnnxErrors,
    testing::Values(
        BadModel{"Bytes", [] { return changed([](Model& m) { m.initializers[0].dims[0] = 5; }); },
                 "tensor w [5, 3, 2, 2] needs 240 bytes but the file has 96"},
        BadModel{"NegativeExtent",
                 [] { return changed([](Model& m) { m.initializers[0].dims[0] = -2; }); },
                 "tensor w has the extents [-2, 3, 2, 2]: none may be negative"},
        BadModel{"Overflow",
                 [] {
                   return changed([](Model& m) {
                     m.initializers[0].dims = {std::int64_t{1} << 62, 4, 1, 1};
                   });
                 },
                 "whose product is too large"},
        BadModel{
            "Text",
            [] { return changed([](Model& m) { m.initializers[0].type = ElementType::kString; }); },
            "tensor w has the element type 8"},
        BadModel{"NotFinite",
                 [] {
                   return changed([](Model& m) {
                     const float nan = std::numeric_limits<float>::quiet_NaN();
                     std::memcpy(m.initializers[0].bytes.data(), &nan, sizeof nan);
                   });
                 },
                 "node y (Conv): tensor w holds a value that is not finite"},
        BadModel{"Empty", [] { return one("Add", {}, {reals("c", {0}, {})}); },
                 "node y (Add): tensor c [0] is empty"},
        BadModel{"EmptySlopes", [] { return one("PRelu", {}, {reals("a", {0}, {})}); },
                 "node y (PRelu): tensor a [0] is empty"},
        BadModel{"EmptyMatrix",
                 [] {
                   return one("MatMul", {}, {reals("w", {5, 0}, {})});
                 },
                 "its weights w [5, 0] are no matrix, or empty"},
        BadModel{"EmptyMatrixAndRow",
                 [] {
                   return model({5}, {node("Gemm", {"x", "w", "c"}, {"y"})},
                                {reals("w", {5, 0}, {}), reals("c", {0}, {})});
                 },
                 "its weights w [5, 0] are no matrix, or empty"},
        BadModel{"LocationOfTwoLines",
                 [] {
                   return external({{"location", "a\nb"}});
                 },
                 "the name or text of external data is no printable text in UTF-8"},
        BadModel{"NoLocation",
                 [] {
                   return external({{"offset", "0"}});
                 },
                 "tensor w: its external data have no location"},
        BadModel{"Absolute",
                 [] {
                   return external({{"location", "/etc/passwd"}});
                 },
                 "lie in '/etc/passwd', a path inside the model's folder is needed"},
        BadModel{"Outside",
                 [] {
                   return external({{"location", "a/../../b"}});
                 },
                 "a path inside the model's folder is needed"},
        BadModel{"LinkOutside",
                 [] {
                   return external({{"location", "link/passwd"}});
                 },
                 "'link/passwd' lead out of the model's folder"},
        BadModel{"Missing",
                 [] {
                   return external({{"location", "nobody.bin"}});
                 },
                 "nobody.bin cannot be opened"},
        BadModel{"Offset",
                 [] {
                   return external({{"location", "short.bin"}, {"offset", "-1"}});
                 },
                 "the offset of its external data is '-1'"},
        BadModel{"Length",
                 [] {
                   return external({{"location", "short.bin"}, {"length", "8"}});
                 },
                 "96 bytes are needed but its external data have 8"},
        BadModel{"Short",
                 [] {
                   return external({{"location", "short.bin"}, {"offset", "4"}});
                 },
                 "are 96 bytes from 4 on of"},
        BadModel{"UnknownKey",
                 [] {
                   return external({{"location", "short.bin"}, {"key", "1"}});
                 },
                 "have the unknown key 'key'"}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Attributes, OnnxErrors,
    testing::Values(
        BadModel{"Unknown", [] { return conv_model({integer("magic", 1)}); },
                 "node y (Conv): its attribute magic is not known"},
        BadModel{"Twice",
                 [] {
                   return conv_model({integer("group", 1), integer("group", 1)});
                 },
                 "its attribute group is there twice"},
        BadModel{"Bytes", [] { return conv_model({text("auto_pad", "\x80")}); },
                 "the name or text of an attribute is no printable text in UTF-8"},
        BadModel{"Type", [] { return conv_model({text("group", "two")}); },
                 "its attribute group is a text, an integer is needed"},
        BadModel{"Choice", [] { return one("Gelu", {text("approximate", "sin")}); },
                 "its approximate is 'sin': none or tanh is needed"},
        BadModel{"Stride",
                 [] {
                   return conv_model({integers("strides", {0, 1})});
                 },
                 "its strides are [0, 1]: only 1 to 1048576 are supported"},
        BadModel{"Pads",
                 [] {
                   return conv_model({integers("pads", {-1, 0, 0, 0})});
                 },
                 "its pads are [-1, 0, 0, 0]"},
        BadModel{
            "PadsBesideAuto",
            [] {
              return conv_model({integers("pads", {1, 0, 0, 0}), text("auto_pad", "SAME_UPPER")});
            },
            "it has the pads [1, 0, 0, 0] beside the auto_pad SAME_UPPER"},
        BadModel{"AutoPad", [] { return conv_model({text("auto_pad", "SOME")}); },
                 "its auto_pad is 'SOME'"},
        BadModel{"Group", [] { return conv_model({integer("group", 2)}); },
                 "its group is 2: it must divide 3 channels and 2 outputs"},
        BadModel{"KernelShape",
                 [] {
                   return conv_model({integers("kernel_shape", {5, 5})});
                 },
                 "its kernel_shape is [5, 5] but its weights are of [2, 2]"},
        BadModel{"Window",
                 [] {
                   return one("MaxPool", {integers("kernel_shape", {9, 9})});
                 },
                 "its window of 9 does not fit into 4"},
        BadModel{"NoKernel", [] { return one("MaxPool"); }, "kernel_shape is missing"},
        BadModel{"Blocks", [] { return one("DepthToSpace", {integer("blocksize", 2)}); },
                 "its mode is DCR and its blocksize 2 for 3 channels"},
        BadModel{
            "ResizeMode",
            [] {
              return one("Resize", {text("mode", "magic")}, {reals("r", {0}, {}), ramp("s", {4})});
            },
            "its mode is 'magic', which is not supported"}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Samples, OnnxErrors,
    testing::Values(
        BadModel{"ReduceAll", [] { return one("ReduceMean"); }, "it has no axes, which means all"},
        BadModel{"ReduceSamples", [] { return one("ReduceMean", {integers("axes", {0})}); },
                 "it works along axis 0, the samples'"},
        BadModel{"Transposed",
                 [] {
                   return one("Transpose", {integers("perm", {1, 0, 2, 3})});
                 },
                 "output y has not the samples along its first axis"},
        BadModel{
            "TransposedInside",
            [] {
              return model({3}, {node("Transpose", {"x"}, {"t"}), node("Softmax", {"t"}, {"y"})});
            },
            "has not the samples along its first axis, one entry for each"},
        BadModel{"Mixed",
                 [] {
                   return one("Reshape", {}, {list("s", {1, -1})});
                 },
                 "mixes 60 elements of each sample with those of others"},
        BadModel{"TwoFree",
                 [] {
                   return one("Reshape", {}, {list("s", {-1, -1})});
                 },
                 "its shape is [-1, -1]"},
        BadModel{"WrongCount",
                 [] {
                   return one("Reshape", {}, {list("s", {0, 7})});
                 },
                 "60 elements of a sample do not fit into the shape [N, 7]"},
        BadModel{"Counted",
                 [] {
                   return model({3, 4},
                                {node("Shape", {"x"}, {"s"}), node("Mul", {"s", "two"}, {"d"}),
                                 node("Reshape", {"x", "d"}, {"y"})},
                                {list("two", {2, 2, 2})});
                 },
                 "node d (Mul): it computes with the number of samples"},
        BadModel{"Broadcast",
                 [] {
                   Model made = model({3, 3}, {node("Add", {"x", "z"}, {"y"})});
                   made.inputs.push_back(value("z", {-1, 3}));
                   return made;
                 },
                 "the number of samples of one would meet another axis of the other"},
        BadModel{"ProductOfTwo",
                 [] {
                   return model({3, 3}, {node("MatMul", {"x", "x"}, {"y"})});
                 },
                 "none of its inputs is a constant"},
        BadModel{"Indices",
                 [] {
                   Model made = one("MaxPool", {integers("kernel_shape", {2, 2})});
                   made.nodes[0].outputs = {"a", "y"};
                   return made;
                 },
                 "its output 1 (y) is not supported"},
        BadModel{"Training",
                 [] {
                   return one("BatchNormalization", {integer("training_mode", 1)},
                              {ramp("s", {3}), ramp("b", {3}), ramp("m", {3}), ramp("v", {3})});
                 },
                 "its training_mode is 1"},
        BadModel{"Condition",
                 [] {
                   return model({3}, {node("Greater", {"x", "x"}, {"y"})});
                 },
                 "it compares with something else than a constant of one element"}),
    kName);

INSTANTIATE_TEST_SUITE_P(
    Sizes, OnnxErrors,
    testing::Values(
        BadModel{"HugePads",
                 [] {
                   return one("Pad", {}, {list("p", {0, 0, 0, 0, 0, 0, 0, 1 << 30})});
                 },
                 "its pads are [0, 1073741824]"},
        BadModel{"HugeConstant",
                 [] {
                   return model(
                       {3}, {node("ConstantOfShape", {"s"}, {"c"}), node("Add", {"x", "c"}, {"y"})},
                       {list("s", {1 << 20, 1 << 10})});
                 },
                 "which is out of proportion to the file"},
        BadModel{"HugeSlice",
                 [] {
                   return model(
                       {std::int64_t{1} << 36}, {node("Slice", {"x", "b", "e", "a"}, {"y"})},
                       {list("b", {1}), list("e", {std::int64_t{1} << 35}), list("a", {1})});
                 },
                 "which is out of proportion to the file"},
        BadModel{"HugeSliceBeyondTheEnd",
                 [] {
                   return model(
                       {std::int64_t{1} << 36}, {node("Slice", {"x", "b", "e", "a"}, {"y"})},
                       {list("b", {1}), list("e", {std::int64_t{1} << 50}), list("a", {1})});
                 },
                 "node y (Slice): it would take 68719476735 values"},
        BadModel{"HugeSplit",
                 [] {
                   return model({std::int64_t{1} << 36},
                                {node("Split", {"x"}, {"y", "z"}, {integer("axis", 1)})});
                 },
                 "which is out of proportion to the file"},
        BadModel{"HugeSliceOfNothing",
                 [] {
                   return model(
                       {3},
                       {node("ConstantOfShape", {"s"}, {"c"}),
                        node("Slice", {"c", "b", "e", "a"}, {"d"}), node("Add", {"x", "d"}, {"y"})},
                       {list("s", {0, std::int64_t{1} << 40}), list("b", {0}),
                        list("e", {std::int64_t{1} << 39}), list("a", {1})});
                 },
                 "which is out of proportion to the file"},
        BadModel{"HugeExpand",
                 [] {
                   return model({1}, {node("Expand", {"x", "s"}, {"y"})},
                                {list("s", {1, std::int64_t{1} << 40})});
                 },
                 "its repetitions are"},
        BadModel{
            "ReflectTooFar",
            [] {
              return one("Pad", {text("mode", "reflect")}, {list("p", {0, 0, 4, 0, 0, 0, 0, 0})});
            },
            "by reflection need more than the 4 positions of axis 2"}),
    kName);

TEST(OnnxNames, ArePrintableTextInUtf8) {
  for (const char* good : {"", "conv 1:0/w", "K\xc3\xa4se", "\xe2\x82\xac", "\xf0\x9f\x90\x88"}) {
    EXPECT_TRUE(is_printable(good)) << good;
  }
  for (const char* bad : {"\x7f", "\t", "\xc0\xaf", "\xc2\x80", "\xc3", "\xe0\x80\x80",
                          "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80", "\x80"}) {
    EXPECT_FALSE(is_printable(bad)) << testing::PrintToString(bad);
  }
  EXPECT_FALSE(is_printable(std::string_view("a\0b", 3)));
}

class OnnxOtherFiles : public OnnxFiles {
 protected:
  [[nodiscard]] std::string refusal_of(const std::string& bytes) const {
    write(bytes);
    return behind_path(
        test::message_of<IoError>([&] { static_cast<void>(graph::import_model(path_)); }));
  }
};

TEST_F(OnnxOtherFiles, AreToldByTheirFirstBytes) {
  EXPECT_EQ(refusal_of(""), "the file is empty, no model");
  EXPECT_THAT(refusal_of("words"), HasSubstr("this is neither a model of Keras"));
  EXPECT_THAT(refusal_of("\x08\x08\xff"), HasSubstr("this is no ONNX model, or it is damaged"));
  write(onnx_library().serialize(conv_model({})));
  EXPECT_EQ(graph::import_model(path_).writer, "ONNX opset 17, test 1.0");
}

TEST_F(OnnxOtherFiles, PipesAreNotWaitedFor) {
  const std::string pipe = (folder_ / "pipe.onnx").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const auto function : {graph::import_model, graph::import_onnx}) {
    EXPECT_THAT(test::message_of<IoError>([&] { static_cast<void>(function(pipe)); }),
                HasSubstr("pipe.onnx"));
  }
}

TEST_F(OnnxOtherFiles, MissingOnesAreNamed) {
  const std::string missing = (folder_ / "nobody.onnx").string();
  for (const auto function : {graph::import_model, graph::import_onnx}) {
    EXPECT_THAT(test::message_of<IoError>([&] { static_cast<void>(function(missing)); }),
                testing::StartsWith(missing + ": "));
  }
}

}  // namespace
}  // namespace gentrain::onnx
