// Whole models of Keras: what becomes of lists of layers, calls and models within models, and of
// their arrays.
#include "tests/core/keras_models.h"

namespace gentrain::keras {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class KerasImport : public KerasModels {};

json small_sequential() {
  return sequential({input("x", {3}), layer("Dense", "fc", {{"units", 2}, {"activation", "relu"}}),
                     layer("Dropout", "drop", {{"rate", 0.25}}),
                     layer("GaussianNoise", "noise", {{"stddev", 0.1}}),
                     layer("Dense", "out", {{"units", 1}, {"activation", "softmax"}})});
}

Layers small_arrays() {
  return {{"fc", {counting("fc/kernel:0", {3, 2}, 1), counting("fc/bias:0", {2}, 7)}},
          {"drop", {}},
          {"noise", {}},
          {"out", {counting("out/kernel:0", {2, 1}, 4), counting("out/bias:0", {1}, 9)}}};
}

TEST_F(KerasImport, ASequentialModelIsOneNodeBehindTheOther) {
  const ImportedModel model = import(small_sequential(), small_arrays());
  EXPECT_THAT(names_of(model.graph), ElementsAre("x", "fc", "drop", "noise", "out/linear", "out"));
  EXPECT_EQ(kind_of<graph::Dense>(model, "fc").activation, Activation::kRelu);
  EXPECT_EQ(kind_of<graph::Dropout>(model, "drop").rate, 0.25);
  EXPECT_EQ(node_of(model, "out/linear").parameters, "out");
  EXPECT_EQ(kind_of<graph::Softmax>(model, "out").axis, -1);
  EXPECT_THAT(model.training_only, ElementsAre("noise"));
  EXPECT_EQ(array_of(model, "fc/weight").shape, Shape({2, 3}));
  EXPECT_THAT(array_of(model, "fc/weight").values, ElementsAre(1, 2, 3, 1.5, 2.5, 3.5));
  EXPECT_THAT(array_of(model, "fc/bias").values, ElementsAre(7, 7.5));
  EXPECT_THAT(array_of(model, "out/weight").values, ElementsAre(4, 4.5));
  EXPECT_EQ(model.arrays.size(), 4);
  EXPECT_THAT(names_of(model.inputs), ElementsAre("x"));
  EXPECT_THAT(names_of(model.outputs), ElementsAre("out"));
  EXPECT_EQ(model.outputs[0].node, model.graph.size() - 1);
  EXPECT_THAT(names_of(model.layers), ElementsAre("x", "fc", "drop", "noise", "out"));
  EXPECT_EQ(model.writer, "Keras 2.13.1");
  EXPECT_EQ(model.sha256, io::KerasWeights(path_).sha256());
}

TEST_F(KerasImport, ABareListOfKerasOneHasItsShapeInTheFirstLayer) {
  json first = layer("Dense", "fc", {{"output_dim", 2}, {"bias", false}, {"activation", "linear"}});
  first["config"]["batch_input_shape"] = {nullptr, 3};
  first["config"]["input_dtype"] = "float32";
  const ImportedModel model = import({{"class_name", "Sequential"}, {"config", {first}}},
                                     {{"fc", {counting("fc_W:0", {3, 2}, 1)}}}, "1.2.2");
  EXPECT_THAT(names_of(model.graph), ElementsAre("fc_input", "fc"));
  EXPECT_EQ(node_of(model, "fc_input").shape, Shape({3}));
  EXPECT_FALSE(kind_of<graph::Dense>(model, "fc").bias);
}

TEST_F(KerasImport, ShapesThatOnlyTheBuildKnew) {
  json model = sequential({layer("Flatten", "flat")});
  model["config"]["build_input_shape"] = {nullptr, 2, 2, 1};
  EXPECT_EQ(node_of(import(model), "flat").shape, Shape({4}));
  model["config"].erase("build_input_shape");
  model["build_config"] = {{"input_shape", {nullptr, 2, 3, 1}}};
  EXPECT_EQ(node_of(import(model), "flat").shape, Shape({6}));
  model.erase("build_config");
  EXPECT_EQ(refusal(model),
            ": layer flat_input (InputLayer): the shape of the model's input is not said in the "
            "file");
  EXPECT_THAT(refusal(sequential(
                  {layer("InputLayer", "x", {{"batch_input_shape", {nullptr, nullptr, 3}}})})),
              HasSubstr("layer x (InputLayer): an extent of the model's input is free"));
}

TEST_F(KerasImport, CallsRunWhenTheirInputsAreThere) {
  const json model = functional(
      {called(input("x", {2}), {}), called(layer("Add", "sum"), {of({{"b", 0}, {"a", 1}})}),
       called(layer("Dense", "a", {{"units", 2}}), {of({{"b", 0}}), of({{"x", 0}})}),
       called(layer("Activation", "b", {{"activation", "tanh"}}), {of({{"a", 1}})}),
       called(layer("Flatten", "end"), {of({{"a", 0}})})},
      {"x"}, {{"sum", 0}, {"end", 0}});
  const ImportedModel imported =
      import(model, {{"a", {counting("a/kernel:0", {2, 2}), counting("a/bias:0", {2})}}});
  EXPECT_THAT(names_of(imported.graph), ElementsAre("x", "a:1", "b", "sum", "a", "end"));
  EXPECT_EQ(node_of(imported, "a:1").parameters, "a");
  EXPECT_EQ(node_of(imported, "a").parameters, "a");
  EXPECT_EQ(imported.arrays.size(), 2);
  EXPECT_THAT(names_of(imported.outputs), ElementsAre("sum", "end"));
  EXPECT_EQ(imported.graph.outputs(), (std::vector<int>{3, 5}));
}

TEST_F(KerasImport, AnOutputThatIsThereTwiceGetsAnotherName) {
  const json model =
      functional({called(input("x", {2}), {}), called(layer("Softmax", "s"), {of({{"x", 0}})})},
                 {"x"}, {{"s", 0}, {"s", 0}});
  const ImportedModel imported = import(model);
  EXPECT_THAT(names_of(imported.outputs), ElementsAre("s", "s"));
  EXPECT_EQ(imported.graph.outputs(), (std::vector<int>{1, 2}));
}

/// A model within a model: dense layers "a" and "b", one behind the other.
json inner_model(const json& config_a = {}, const json& config_b = {}) {
  json a = {{"units", 2}, {"use_bias", false}};
  json b = a;
  a.update(config_a.is_null() ? json::object() : config_a);
  b.update(config_b.is_null() ? json::object() : config_b);
  return functional(
      {called(input("in", {2}), {}), called(layer("Dense", "a", a), {of({{"in", 0}})}),
       called(layer("Dense", "b", b), {of({{"a", 0}})})},
      {"in"}, {{"b", 0}}, "inner");
}

json twice_nested(const json& inner, int first) {
  return functional(
      {called(input("x", {2}), {}), called(inner, {of({{"x", 0}}), of({{"inner", first}})}),
       called(layer("Dense", "a", {{"units", 2}, {"use_bias", false}}),
              {of({{"inner", first + 1}})})},
      {"x"}, {{"a", 0}});
}

TEST_F(KerasImport, AModelIsCalledTwice) {
  const Layers layers = {
      {"inner", {counting("a/kernel:0", {2, 2}, 1), counting("b/kernel:0", {2, 2}, 5)}},
      {"a", {counting("a_1/kernel:0", {2, 2}, 9)}}};
  const ImportedModel model = import(twice_nested(inner_model(), 1), layers);
  EXPECT_THAT(names_of(model.graph),
              ElementsAre("x", "inner/a", "inner/b", "inner:1/a", "inner:1/b", "a"));
  EXPECT_EQ(node_of(model, "inner:1/b").parameters, "inner/b");
  EXPECT_EQ(node_of(model, "inner:1/a").inputs, std::vector<int>{2});
  EXPECT_EQ(model.arrays.size(), 3);
  EXPECT_THAT(array_of(model, "inner/a/weight").values, ElementsAre(1, 2, 1.5, 2.5));
  EXPECT_THAT(array_of(model, "inner/b/weight").values, ElementsAre(5, 6, 5.5, 6.5));
  EXPECT_THAT(array_of(model, "a/weight").values, ElementsAre(9, 10, 9.5, 10.5));
  EXPECT_THAT(names_of(model.layers),
              ElementsAre("x", "inner/in", "inner/a", "inner/b", "inner", "a"));
  EXPECT_EQ(model.layers[4].node, 2);
}

TEST_F(KerasImport, KerasThreeCountsCallsOfModelsFromZeroButInOutputs) {
  const Layers layers = {
      {"inner", {counting("a/kernel", {2, 2}, 1), counting("b/kernel", {2, 2}, 5)}}};
  const auto outer = [&](int output) {
    json inner =
        called(with_dtypes(inner_model()), {of_tensors({{"x", 0}}), of_tensors({{"inner", 0}})});
    return functional({called(input("x", {2}), {}), inner}, {"x"}, {{"inner", output}});
  };
  const ImportedModel second = import(with_dtypes(outer(2)), layers, "3.3.3");
  EXPECT_EQ(second.graph.node(second.outputs[0].node).name, "inner:1/b");
  const ImportedModel first = import(with_dtypes(outer(1)), layers, "3.3.3");
  EXPECT_EQ(first.graph.node(first.outputs[0].node).name, "inner/b");
  EXPECT_EQ(refusal(with_dtypes(outer(0)), layers, "3.3.3"),
            ": output_layers: node 0 of layer inner is taken, which is called 2 times");
}

TEST_F(KerasImport, ModelsWithinASequentialOneOfKerasOneHaveNoNames) {
  const auto list = [](const std::vector<json>& layers) {
    return json{{"class_name", "Sequential"}, {"config", layers}};
  };
  json first = layer("Dense", "fc1", {{"output_dim", 2}, {"bias", false}});
  first["config"]["batch_input_shape"] = {nullptr, 3};
  const json second = layer("Dense", "fc2", {{"output_dim", 1}, {"bias", false}});
  const json model = list({list({first}), list({second})});
  const ImportedModel imported = import(
      model, {{"low", {counting("fc1_W:0", {3, 2})}}, {"top", {counting("fc2_W:0", {2, 1})}}},
      "1.2.2");
  EXPECT_THAT(names_of(imported.graph), ElementsAre("sequential_input", "low/fc1", "top/fc2"));
  EXPECT_EQ(node_of(imported, "low/fc1").shape, Shape({2}));
}

TEST_F(KerasImport, ArraysOfFrozenLayersComeBehindTheOthers) {
  // Names that say nothing: Keras lists what trains first.
  const Layers layers = {
      {"inner", {counting("p/kernel:0", {2, 2}, 1), counting("q/kernel:0", {2, 2}, 5)}},
      {"a", {counting("a/kernel:0", {2, 2})}}};
  const ImportedModel both = import(twice_nested(inner_model(), 1), layers);
  EXPECT_EQ(array_of(both, "inner/a/weight").values[0], 1);
  const ImportedModel frozen = import(twice_nested(inner_model({{"trainable", false}}), 1), layers);
  EXPECT_EQ(array_of(frozen, "inner/a/weight").values[0], 5);
  EXPECT_EQ(array_of(frozen, "inner/b/weight").values[0], 1);
}

TEST_F(KerasImport, NamesTellWhoseArraysAreWhateverTheirOrder) {
  const Layers layers = {
      {"inner",
       {counting("model/inner/b/kernel:0", {2, 2}, 5), counting("inner/a/kernel:0", {2, 2}, 1)}},
      {"a", {counting("a/kernel:0", {2, 2})}}};
  const ImportedModel model = import(twice_nested(inner_model(), 1), layers);
  EXPECT_EQ(array_of(model, "inner/a/weight").values[0], 1);
  EXPECT_EQ(array_of(model, "inner/b/weight").values[0], 5);
}

TEST_F(KerasImport, ArraysThatDoNotFitAreAllNamed) {
  Layers layers = small_arrays();
  layers[0].arrays[0] = counting("fc/kernel:0", {3, 1});
  layers[1].arrays = {counting("drop/kernel:0", {1})};
  layers[3].arrays[1].name = "out/gamma:0";
  layers.push_back({"other", {counting("other/kernel:0", {1})}});
  EXPECT_EQ(
      refusal(small_sequential(), layers),
      ": layer drop: its array drop/kernel:0 [1] is not needed; layer other: the file has its "
      "array other/kernel:0, but the model has no such layer; layer fc: array fc/kernel:0 has "
      "the extents [3, 1], but [3, 2] are needed; layer out: its array out/gamma:0 [1] is not "
      "needed; layer out: its bias [1] is missing; the file has out/kernel:0 [2, 1], "
      "out/gamma:0 [1]");
  layers = small_arrays();
  layers[0].arrays[0].values[4] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(refusal(small_sequential(), layers),
              AllOf(HasSubstr("layer fc: array fc/kernel:0: "), HasSubstr("must be finite")));
}

TEST_F(KerasImport, ArraysOfANestedModelThatDoNotFit) {
  Layers layers = {{"inner",
                    {counting("a/kernel:0", {2, 2}), counting("b/kernel:0", {2, 2}),
                     counting("c/kernel:0", {2, 2})}},
                   {"a", {counting("a/kernel:0", {2, 2})}}};
  EXPECT_EQ(refusal(twice_nested(inner_model(), 1), layers),
            ": layer inner: its array c/kernel:0 [2, 2] belongs to none of its layers");
  layers[0].arrays.erase(layers[0].arrays.begin() + 1, layers[0].arrays.end());
  EXPECT_EQ(refusal(twice_nested(inner_model(), 1), layers),
            ": layer inner/b: its kernel [2, 2] is missing; the file has no arrays of it");
}

TEST_F(KerasImport, NamesWithoutARoleGoByOrder) {
  Layers layers = small_arrays();
  layers[0].arrays[0].name = "param_0";
  layers[0].arrays[1].name = "param_1";
  const ImportedModel model = import(small_sequential(), layers);
  EXPECT_THAT(array_of(model, "fc/bias").values, ElementsAre(7, 7.5));
  layers[0].arrays.push_back(counting("param_2", {2}));
  EXPECT_THAT(refusal(small_sequential(), layers),
              HasSubstr("layer fc: its array param_2 [2] is not needed"));
}

TEST_F(KerasImport, NoWholeModel) {
  write(small_arrays());
  EXPECT_EQ(
      refusal(),
      ": it has no attribute model_config: no whole model, but weights alone or another file");
  std::filesystem::remove(path_);
  EXPECT_EQ(refusal(), " is missing: a model of Keras (.h5, .keras) was looked for");
  std::filesystem::create_directory(path_);
  EXPECT_EQ(refusal(), ": it is no regular file");
  std::filesystem::remove(path_);
  std::ofstream(path_) << "This is no HDF5 file.\n";
  EXPECT_EQ(refusal(), ": it is no HDF5 file");
}

TEST_F(KerasImport, VersionsThatAreNotKnown) {
  EXPECT_EQ(refusal(small_sequential(), small_arrays(), "4.0.0"),
            ": it was written by Keras 4.0.0; Keras 1, 2 and 3 are known");
  EXPECT_EQ(refusal(small_sequential(), small_arrays(), "new"),
            ": keras_version is 'new': no version of Keras");
}

TEST_F(KerasImport, DamagedConfigurations) {
  const auto said = [&](const std::string& config) {
    save_text(config, {}, "2.13.1");
    return refusal();
  };
  EXPECT_THAT(said(R"({"class_name": "Sequential", "config": [)"),
              StartsWith(": its JSON is damaged: "));
  EXPECT_EQ(said(std::string(300, '[')), ": its JSON is nested more than 200 deep");
  EXPECT_EQ(said("[1]"),
            ": it holds [1]; models of the classes Sequential, Functional and Model "
            "are known");
  EXPECT_EQ(
      said(R"({"class_name": "Mine", "config": {}})"),
      ": it holds a model of the class Mine; models of the classes Sequential, Functional and "
      "Model are known");
  EXPECT_EQ(said(R"({"class_name": "Sequential", "config": []})"),
            ": its layers are []: a list of 1 to 100000 is needed");
  EXPECT_EQ(said(R"({"class_name": "Functional", "config": []})"),
            ": its config is []: an object is needed");
  EXPECT_EQ(said(R"({"class_name": "Sequential", "config": [7]})"),
            ": layer 0 of the list: 7 is no layer: class_name and config are needed");
  EXPECT_EQ(said(R"({"class_name": "Sequential", "config": {"layers": [], "speed": 1}})"),
            ": the model's attribute speed = 1 is not known");
  EXPECT_EQ(said(R"({"class_name": "Sequential", "config": [
                     {"class_name": "Flatten", "config": {}}]})"),
            ": layer 0 of the list: a layer without a name");
}

/// Each level calls the one below twice.
json doubled(json model, int levels) {
  for (int level = 1; level <= levels; ++level) {
    const std::string below = "m" + std::to_string(level - 1);
    model =
        functional({called(input("x", {1}), {}), called(model, {of({{"x", 0}}), of({{below, 1}})})},
                   {"x"}, {{below, 2}}, "m" + std::to_string(level));
  }
  return model;
}

TEST_F(KerasImport, ModelsThatWouldBecomeTooLarge) {
  std::vector<json> layers = {called(input("x", {1}), {})};
  std::string last = "x";
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    layers.push_back(called(layer("Flatten", name), {of({{last, 0}})}));
    last = name;
  }
  EXPECT_THAT(refusal(doubled(functional(layers, {"x"}, {{"e", 0}}, "m0"), 17)),
              EndsWith("the model has more than 65536 operations"));
}

/// Calls cost time even if no operation comes of them.
TEST_F(KerasImport, ModelsOfTooManyCalls) {
  const json nothing = functional({called(input("x", {1}), {})}, {"x"}, {{"x", 0}}, "m0");
  EXPECT_THAT(refusal(doubled(nothing, 24)),
              EndsWith("the model has more than 262144 calls of layers"));
}

}  // namespace
}  // namespace gentrain::keras
