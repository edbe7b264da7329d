// The module that reads and writes ONNX files: what was written comes back, and what cannot be read
// or written is said.
#include "tests/core/onnx_models.h"

namespace gentrain::onnx {
namespace {

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

Model parsed(const std::string& bytes) {
  return onnx_library().parse({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

/// Every field of every struct.
Model rich_model() {
  Attribute tensor;
  tensor.name = "value";
  tensor.kind = AttributeKind::kTensor;
  tensor.tensor = list("inner", {3, -1});
  Attribute floats;
  floats.name = "floats";
  floats.kind = AttributeKind::kFloats;
  floats.reals = {0.5F, -2};
  Attribute texts;
  texts.name = "texts";
  texts.kind = AttributeKind::kStrings;
  texts.texts = {"a", ""};
  Model made = model(
      {3, 4},
      {node("Odd", {"x", "", "w"}, {"y", ""},
            {integer("i", -7), integers("is", {1, 2}), number("f", 0.25F), text("s", "words"),
             tensor, floats, texts})},
      {ramp("w", {2, 3}),
       {"e", ElementType::kFloat16, {4}, "", true, {{"location", "data.bin"}, {"offset", "8"}}}});
  made.nodes[0].name = "odd";
  made.nodes[0].domain = "com.example";
  made.opsets.push_back({"com.example", 2});
  made.values = {value("inner", {-1, 5})};
  made.values[0].type = ElementType::kDouble;
  ValueInfo shapeless;
  shapeless.name = "shapeless";
  made.values.push_back(shapeless);
  return made;
}

void expect_equal(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.dims, b.dims);
  EXPECT_EQ(a.bytes, b.bytes);
  EXPECT_EQ(a.external, b.external);
  EXPECT_EQ(a.external_data, b.external_data);
}

void expect_equal(const Attribute& a, const Attribute& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.real, b.real);
  EXPECT_EQ(a.integer, b.integer);
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.reals, b.reals);
  EXPECT_EQ(a.integers, b.integers);
  EXPECT_EQ(a.texts, b.texts);
  ASSERT_EQ(a.tensor.has_value(), b.tensor.has_value());
  if (a.tensor) {
    expect_equal(*a.tensor, *b.tensor);
  }
}

TEST(OnnxModule, ModelsComeBackAsTheyWere) {
  const Model made = rich_model();
  const Model read = parsed(onnx_library().serialize(made));
  EXPECT_EQ(read.ir_version, 8);
  EXPECT_EQ(read.producer_name, "test");
  EXPECT_EQ(read.producer_version, "1.0");
  ASSERT_EQ(read.opsets.size(), 2);
  EXPECT_EQ(read.opsets[1].domain, "com.example");
  EXPECT_EQ(read.opsets[1].version, 2);
  EXPECT_TRUE(read.has_graph);
  EXPECT_EQ(read.name, "graph");
  ASSERT_EQ(read.nodes.size(), 1);
  const Node& odd = read.nodes[0];
  EXPECT_EQ(odd.name, "odd");
  EXPECT_EQ(odd.domain, "com.example");
  EXPECT_THAT(odd.inputs, ElementsAre("x", "", "w"));
  EXPECT_THAT(odd.outputs, ElementsAre("y", ""));
  ASSERT_EQ(odd.attributes.size(), made.nodes[0].attributes.size());
  for (std::size_t i = 0; i < odd.attributes.size(); ++i) {
    expect_equal(odd.attributes[i], made.nodes[0].attributes[i]);
  }
  ASSERT_EQ(read.initializers.size(), 2);
  expect_equal(read.initializers[0], made.initializers[0]);
  expect_equal(read.initializers[1], made.initializers[1]);
}

TEST(OnnxModule, ValuesKeepTypeAndShape) {
  const Model read = parsed(onnx_library().serialize(rich_model()));
  ASSERT_EQ(read.inputs.size(), 1);
  const ValueInfo& x = read.inputs[0];
  EXPECT_EQ(x.name, "x");
  EXPECT_TRUE(x.is_tensor);
  EXPECT_EQ(x.type, ElementType::kFloat);
  ASSERT_EQ(x.dims->size(), 3);
  EXPECT_EQ((*x.dims)[0].extent, -1);
  EXPECT_EQ((*x.dims)[0].symbol, "N");
  EXPECT_EQ((*x.dims)[2].extent, 4);
  ASSERT_EQ(read.values.size(), 2);
  EXPECT_EQ(read.values[0].type, ElementType::kDouble);
  EXPECT_FALSE(read.values[1].dims.has_value());
}

TEST(OnnxModule, EqualModelsHaveEqualBytes) {
  EXPECT_EQ(onnx_library().serialize(rich_model()), onnx_library().serialize(rich_model()));
  Model other = rich_model();
  other.nodes[0].name = "even";
  EXPECT_NE(onnx_library().serialize(rich_model()), onnx_library().serialize(other));
}

TEST(OnnxModule, SaysWhatItReadsBy) {
  EXPECT_THAT(onnx_library().version(), MatchesRegex("ONNX IR [0-9]+, protobuf [0-9.]+"));
}

TEST(OnnxModule, OtherBytesAreNoModel) {
  EXPECT_EQ(message_of<IoError>([] { parsed(""); }), "the file is empty");
  EXPECT_THAT(message_of<IoError>([] { parsed("This is a line of text.\n"); }),
              HasSubstr("no ONNX model"));
  const std::string bytes = onnx_library().serialize(rich_model());
  EXPECT_THAT(message_of<IoError>([&] { parsed(bytes.substr(0, bytes.size() - 9)); }),
              HasSubstr("damaged or cut short"));
}

TEST(OnnxModule, WhatItCannotWriteIsSaid) {
  const auto message = [](const std::function<void(Model&)>& change) {
    Model made = rich_model();
    change(made);
    return message_of<IoError>([&] { onnx_library().serialize(made); });
  };
  EXPECT_THAT(message([](Model& made) { made.functions = 1; }), HasSubstr("functions"));
  EXPECT_THAT(message([](Model& made) { made.sparse_initializers = 1; }), HasSubstr("sparse"));
  EXPECT_THAT(message([](Model& made) { made.inputs[0].is_tensor = false; }),
              HasSubstr("value x is no tensor"));
  EXPECT_THAT(
      message([](Model& made) { made.nodes[0].attributes[0].kind = AttributeKind::kOther; }),
      HasSubstr("attribute i has no value"));
}

}  // namespace
}  // namespace gentrain::onnx
