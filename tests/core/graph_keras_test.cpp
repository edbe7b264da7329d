// Keras weights into the parameters of a graph: values where they belong, what may be missing or is
// made anew, and every misfit by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/graph/executor.h"
#include "core/graph/keras_import.h"
#include "tests/core/keras_fixture.h"
#include "tests/support/workbench.h"

namespace gentrain::graph {
namespace {

using io::counting;
using test::message_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Layers = std::vector<test::KerasFileLayer>;

/// A convolution without bias, a batch norm without gamma, one with a name in two parts, a dense
/// layer.
Graph small_graph() {
  Graph graph;
  Convolution conv;
  conv.out = 2;
  conv.kernel_h = 1;
  conv.kernel_w = 2;
  conv.bias = false;
  int x = graph.add("input_1", Input{{3, 3, 3}});
  x = graph.add("conv", conv, {x});
  x = graph.add("norm", BatchNormalization{.epsilon = 1e-3, .gamma = false}, {x});
  conv.kernel_w = 1;
  conv.bias = true;
  x = graph.add("fire2/squeeze", conv, {x});
  x = graph.add("flat", GlobalPooling{}, {x});
  graph.add("dense", Dense{.out = 3}, {x});
  return graph;
}

Layers small_file() {
  return {{"input_1", {}},
          {"conv", {counting("conv/kernel:0", {1, 2, 3, 2}, 1)}},
          {"norm",
           {counting("norm/beta:0", {2}, 10), counting("norm/moving_mean:0", {2}, 20),
            counting("norm/moving_variance:0", {2}, 30)}},
          {"fire2/squeeze", {counting("uniform1", {1, 1, 2, 2}), counting("squeeze_b", {2}, 5)}},
          {"dense", {counting("dense_W_1:0", {2, 3}, 1), counting("dense_b_1:0", {3}, 7)}}};
}

class GraphKeras : public io::KerasFiles {
 protected:
  GraphKeras() {
    register_parameters(graph_, parameters_, {Initializer::Kind::kUniformFanIn});
    parameters_.allocate(bench_.device(), bench_.queue());
    initialize();
  }

  void initialize() { parameters_.initialize(bench_.device(), bench_.queue(), RngKey(1)); }
  KerasReport read(const KerasRules& rules = {}) {
    return read_keras_weights(graph_, io::KerasWeights(path_), rules, parameters_, bench_.device(),
                              bench_.queue());
  }
  template <class ThrownError = IoError>
  std::string error_of(const KerasRules& rules = {}) {
    return behind_path(message_of<ThrownError>([&] { read(rules); }));
  }
  [[nodiscard]] std::vector<double> values(const std::string& name) const {
    return bench_.values(parameters_[parameters_.find(name)]);
  }

  Graph graph_ = small_graph();
  test::Workbench bench_{test::cpu_device()};
  ParameterSet parameters_;
};

TEST_F(GraphKeras, EveryArrayGoesWhereItBelongs) {
  write(small_file());
  const std::uint64_t version = parameters_[0].weights().version;
  const KerasReport report = read();
  EXPECT_EQ(report.read.size(), 8);
  EXPECT_THAT(report.initialized, IsEmpty());
  EXPECT_THAT(report.refilled, IsEmpty());
  EXPECT_THAT(report.left, IsEmpty());
  EXPECT_EQ(report.file_sha256, io::KerasWeights(path_).sha256());
  EXPECT_THAT(values("conv/weight"), ElementsAre(1, 2, 3, 4, 5, 6, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5));
  EXPECT_THAT(values("norm/beta"), ElementsAre(10, 10.5));
  EXPECT_THAT(values("norm/running_mean"), ElementsAre(20, 20.5));
  EXPECT_THAT(values("norm/running_var"), ElementsAre(30, 30.5));
  EXPECT_THAT(values("fire2/squeeze/weight"), ElementsAre(0, 1, 0.5, 1.5));
  EXPECT_THAT(values("fire2/squeeze/bias"), ElementsAre(5, 5.5));
  EXPECT_THAT(values("dense/weight"), ElementsAre(1, 2.5, 1.5, 3, 2, 3.5));
  EXPECT_THAT(values("dense/bias"), ElementsAre(7, 7.5, 8));
  EXPECT_NE(parameters_[0].weights().version, version) << "kernels must look again";
}

TEST_F(GraphKeras, WhatMayBeMissingKeepsItsInitialValues) {
  Layers layers = small_file();
  layers.pop_back();
  layers[2].arrays.erase(layers[2].arrays.begin());
  write(layers);
  const std::vector<double> initial = values("dense/weight");
  const KerasReport report = read({.allow_missing = {"dense", "norm/beta"}});
  EXPECT_THAT(report.initialized, ElementsAre("norm/beta", "dense/weight", "dense/bias"));
  EXPECT_EQ(values("dense/weight"), initial);
  EXPECT_THAT(values("norm/running_mean"), ElementsAre(20, 20.5));
  EXPECT_EQ(error_of({.allow_missing = {"norm/*"}}), ": layer dense: it is missing");
}

TEST_F(GraphKeras, WhatIsMadeAnewMayHaveAnyExtents) {
  Layers layers = small_file();
  layers.back() = {"dense", {counting("dense_W_1:0", {2, 9}), counting("dense_b_1:0", {3}, 7)}};
  write(layers);
  const std::vector<double> initial = values("dense/weight");
  const KerasReport report = read({.reinit = {"dense/weight"}});
  EXPECT_THAT(report.initialized, ElementsAre("dense/weight"));
  EXPECT_EQ(values("dense/weight"), initial);
  EXPECT_THAT(values("dense/bias"), ElementsAre(7, 7.5, 8));
  EXPECT_EQ(error_of(),
            ": layer dense: array dense_W_1:0: its extents are [2, 9], but [2, 3] are "
            "needed");
}

TEST_F(GraphKeras, ZerosAreFilledByTheInitializer) {
  Layers layers = small_file();
  for (const std::size_t i : {0, 3, 4}) {
    layers[1].arrays[0].values[i] = 0;
  }
  write(layers);
  const std::vector<double> initial = values("conv/weight");
  const KerasReport report = read({.reinit_zeros = {"conv/weight", "dense"}});
  ASSERT_EQ(report.refilled.size(), 1) << "the dense layer has no zeros";
  EXPECT_EQ(report.refilled[0].parameter, "conv/weight");
  EXPECT_EQ(report.refilled[0].values, 3);
  EXPECT_EQ(report.read.size(), 8);
  EXPECT_THAT(values("conv/weight"),
              ElementsAre(initial[0], 2, initial[2], 4, 5, 6, 1.5, initial[7], 3.5, 4.5, 5.5, 6.5));
  const std::vector<double> once = values("conv/weight");
  initialize();
  read({.reinit_zeros = {"conv*"}});
  EXPECT_EQ(values("conv/weight"), once) << "a function of the key";
  read();
  EXPECT_EQ(values("conv/weight")[0], 0);
}

TEST_F(GraphKeras, LayersThatTheNetworkHasNot) {
  Layers layers = small_file();
  layers.push_back({"predictions", {counting("predictions/kernel:0", {3, 4})}});
  layers.push_back({"pool", {}});
  write(layers);
  EXPECT_EQ(error_of(), ": layer predictions: the network has no such layer");
  EXPECT_THAT(read({.allow_extra = {"pred*"}}).left, ElementsAre("predictions"));
}

TEST_F(GraphKeras, EveryMisfitIsNamedAndNothingIsWritten) {
  Layers layers = small_file();
  layers[0].arrays.push_back(counting("input_1/bias:0", {2}));
  layers[1].arrays[0] = counting("conv/kernel:0", {2, 1, 3, 2});
  layers[1].arrays.push_back(counting("conv/bias:0", {2}));
  layers[2].arrays.pop_back();
  layers[3].name = "fire3/squeeze";
  write(layers);
  const std::vector<double> before = values("dense/weight");
  EXPECT_EQ(error_of(),
            ": layer input_1: its array input_1/bias:0 [2] is not needed; needed: nothing; "
            "layer conv: its array conv/bias:0 [2] is not needed; needed: kernel [1, 2, 3, 2]; "
            "layer conv: array conv/kernel:0: its extents are [2, 1, 3, 2], but [1, 2, 3, 2] are "
            "needed: they are the same in another order; "
            "layer norm: its moving_variance [2] is missing; it has norm/beta:0 [2], "
            "norm/moving_mean:0 [2]; layer fire2/squeeze: it is missing; "
            "layer fire3/squeeze: the network has no such layer");
  EXPECT_EQ(values("dense/weight"), before);
}

TEST_F(GraphKeras, WeightsOfAnotherNetwork) {
  Layers layers;
  for (int i = 1; i <= 13; ++i) {
    layers.push_back({"block" + std::to_string(i), {counting("W", {1, 1})}});
  }
  write(layers);
  EXPECT_THAT(error_of(), AllOf(HasSubstr("layer conv: it is missing; layer norm: it is missing"),
                                HasSubstr("layer block1: the network has no such layer"),
                                EndsWith("; and 5 more")));
}

TEST_F(GraphKeras, PatternsThatMatchNothing) {
  write(small_file());
  EXPECT_EQ(error_of<JobError>({.allow_missing = {"head_*"}}),
            "allow_missing: 'head_*' matches no parameter and no layer with parameters of the "
            "network");
  EXPECT_EQ(error_of<JobError>({.reinit = {"input_1"}}),
            "reinit: 'input_1' matches no parameter and no layer with parameters of the network");
  EXPECT_EQ(error_of<JobError>({.reinit_zeros = {"conv/kernel"}}),
            "reinit_zeros: 'conv/kernel' matches no parameter and no layer with parameters of the "
            "network");
  EXPECT_EQ(error_of<JobError>({.allow_extra = {"x"}}),
            "allow_extra: 'x' matches no layer of " + path_.string());
}

TEST_F(GraphKeras, ValuesThatAreNotFinite) {
  Layers layers = small_file();
  layers[4].arrays[1].values[1] = std::nan("");
  write(layers);
  EXPECT_THAT(error_of(), HasSubstr("layer dense: array dense_b_1:0: its element [1] is nan"));
}

}  // namespace
}  // namespace gentrain::graph
