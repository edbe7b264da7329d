// How calls of Keras's layers refer to each other, and all that is refused about it.
#include "core/keras/model_config.h"
#include "core/keras/references.h"
#include "core/keras/weights.h"
#include "tests/core/keras_models.h"

namespace gentrain::keras {
namespace {

using ::testing::HasSubstr;

class KerasCalls : public KerasModels {
 protected:
  /// Of a model x -> a -> b whose second call list is replaced.
  std::string with_calls(const json& nodes) {
    json model = plain();
    model["config"]["layers"][1]["inbound_nodes"] = nodes;
    return refusal(model);
  }
  static json plain() {
    return functional({called(input("x", {2}), {}), called(layer("Flatten", "a"), {of({{"x", 0}})}),
                       called(layer("Flatten", "b"), {of({{"a", 0}})})},
                      {"x"}, {{"b", 0}});
  }
  template <class Change>
  std::string changed(const Change& change) {
    json model = plain();
    change(model["config"]);
    return refusal(model);
  }
};

TEST_F(KerasCalls, FormsThatAreNotKnown) {
  EXPECT_EQ(with_calls(json::array({of({{"b", 0}})})),
            ": its layers take each other's outputs in a cycle: a, b");
  EXPECT_EQ(with_calls(json::array({of({{"nobody", 0}})})),
            ": layer a: there is no layer nobody, whose output is taken");
  EXPECT_EQ(with_calls(json::array({of({{"x", 1}})})),
            ": layer a: node 1 of layer x is taken, which is called 1 times");
  EXPECT_EQ(with_calls(json::parse(R"([[["x", 0, 1]]])")),
            ": layer a: output 1 of layer x is taken, which has 1");
  EXPECT_EQ(with_calls(3), ": layer a: inbound_nodes is 3: a list is needed");
  EXPECT_EQ(with_calls(json::array({json::array()})),
            ": layer a: a call takes no output of a layer");
  EXPECT_EQ(with_calls(json::parse(R"([[["x", 0]]])")),
            ": layer a: [\"x\",0] is no output of a layer: [name, node, tensor] is needed");
  EXPECT_EQ(with_calls(json::parse(R"([[["x", -1, 0]]])")),
            ": layer a: node is -1: an integer, at least 0, is needed");
  EXPECT_EQ(with_calls(json::array({7})), ": layer a: 7 is no list of outputs of layers");
  EXPECT_EQ(with_calls(json::parse(R"([[["x", 0, 0, {"training": true}]]])")),
            ": layer a: a call has the argument training = true, which is not supported");
  EXPECT_EQ(with_calls(json::parse(R"([[["x", 0, 0, 5]]])")),
            ": layer a: a call has the arguments 5: an object is needed");
  EXPECT_EQ(with_calls(json::parse(R"([{"args": [4]}])")),
            ": layer a: a call has the argument 4: only outputs of layers are supported");
}

TEST_F(KerasCalls, ListsThatAreNotKnown) {
  EXPECT_EQ(changed([](json& config) {
              config["layers"][2]["name"] = "a";
              config["layers"][2]["config"]["name"] = "a";
            }),
            ": two layers are named a");
  EXPECT_EQ(changed([](json& config) { config["layers"][2]["config"]["name"] = "c"; }),
            ": layer b: its config calls it c");
  EXPECT_EQ(changed([](json& config) { config.erase("input_layers"); }),
            ": input_layers: it has no input_layers");
  EXPECT_EQ(changed([](json& config) { config["layers"][1].erase("inbound_nodes"); }),
            ": layer a: it has no inbound_nodes");
  EXPECT_EQ(changed([](json& config) {
              config["input_layers"] = {{"a", 0, 0}};
            }),
            ": input_layers: layer a is no InputLayer");
  EXPECT_EQ(changed([](json& config) {
              config["input_layers"].push_back({"x", 0, 0});
            }),
            ": input_layers: layer x is there twice");
  EXPECT_EQ(changed([](json& config) { config["output_layers"] = json::array(); }),
            ": a model without an input or without an output");
  EXPECT_EQ(changed([](json& config) {
              config["output_layers"] = {{"out", {"b", 0, 0}}};
            }),
            ": output_layers: {\"out\":[\"b\",0,0]} is no list of outputs of layers");
  EXPECT_EQ(changed([](json& config) { config["layers"].push_back(called(input("y", {1}), {})); }),
            ": layer y is an input that is not among input_layers");
  EXPECT_EQ(changed([](json& config) {
              config["layers"][0]["inbound_nodes"] = json::array({of({{"a", 0}})});
            }),
            ": layer x is an input that takes something");
  EXPECT_EQ(changed([](json& config) { config["layers"][1]["extra"] = 1; }),
            ": layer a: the entry extra = 1 is not known");
  EXPECT_EQ(changed([](json& config) { config["layers"][1]["registered_name"] = "my>Flatten"; }),
            ": layer a: its class Flatten is no layer of Keras but a custom one (my>Flatten)");
  EXPECT_EQ(changed([](json& config) { config["layers"][1]["module"] = "__main__"; }),
            ": layer a: its class Flatten is no layer of Keras but a custom one (__main__)");
  EXPECT_EQ(changed([](json& config) { config["layers"][1]["name"] = 5; }),
            ": layer a: name is 5: a text is needed");
}

TEST_F(KerasCalls, InputsThatDoNotFit) {
  EXPECT_THAT(refusal(sequential({layer("InputLayer", "x", {{"batch_input_shape", {nullptr, 0}}}),
                                  layer("Flatten", "f")})),
              HasSubstr("an extent is 0: an integer, at least 1, is needed"));
  EXPECT_THAT(refusal(sequential(
                  {layer("InputLayer", "x", {{"batch_input_shape", 7}}), layer("Flatten", "f")})),
              HasSubstr("its shape is 7: the samples' axis and 1 to 4 extents are needed"));
  EXPECT_THAT(refusal(sequential(
                  {layer("InputLayer", "x", {{"batch_shape", {nullptr, 2}}, {"sparse", true}}),
                   layer("Flatten", "f")})),
              HasSubstr("sparse is true, which is not supported"));
  EXPECT_EQ(refusal(sequential({input("x", {2}), input("y", {2})})),
            ": layer y is an input behind other layers");
  const json inner = sequential({input("in", {3}), layer("Flatten", "f")}, "inner");
  EXPECT_EQ(refusal(sequential({input("x", {2}), inner})),
            ": layer inner/in (InputLayer): it is given [2] of a sample, but takes [3]");
  const json pair = functional({called(input("p", {2}), {}), called(input("q", {2}), {}),
                                called(layer("Add", "s"), {of({{"p", 0}, {"q", 0}})})},
                               {"p", "q"}, {{"s", 0}}, "pair");
  EXPECT_EQ(refusal(sequential({input("x", {2}), pair})),
            ": layer pair has 2 inputs and 1 outputs: in a sequential model each has one");
  EXPECT_EQ(refusal(functional({called(input("x", {2}), {}), called(pair, {of({{"x", 0}})})}, {"x"},
                               {{"pair", 1}})),
            ": layer pair (Functional): it takes 2 inputs but is given 1");
}

TEST_F(KerasCalls, OperationsOfKerasThreeAreNoLayers) {
  json model = sequential({input("x", {2}), layer("Sin", "sin")});
  EXPECT_EQ(
      refusal(model, {}, "3.3.3"),
      ": layer sin: Sin is an operation of Keras 3 between layers, not a layer; these are not "
      "supported");
}

TEST(KerasArrayNames, OwnersAndRoles) {
  const auto is = [](const char* name, const char* owner, std::optional<Role> role) {
    const ArrayName read = read_array_name(name);
    EXPECT_EQ(read.owner, owner) << name;
    EXPECT_EQ(read.role, role) << name;
  };
  is("conv/kernel:0", "conv", Role::kKernel);
  is("stem/conv_1/kernel", "stem/conv_1", Role::kKernel);
  is("dw/depthwise_kernel:0", "dw", Role::kDepthwiseKernel);
  is("conv_1_W:0", "conv_1", Role::kKernel);
  is("block1/conv_W_1:0", "block1/conv", Role::kKernel);
  is("bn_running_std:0", "bn", Role::kVariance);
  is("bn/moving_mean:0", "bn", Role::kMean);
  is("prelu_alphas:0", "prelu", Role::kAlpha);
  is("norm/count:0", "norm", Role::kCount);
  is("kernel:0", "", Role::kKernel);
  is("param_0", "param_0", std::nullopt);
  is("l/lstm_cell/mykernel:0", "l/lstm_cell/mykernel", std::nullopt);
}

}  // namespace
}  // namespace gentrain::keras
