// What tests of published networks against PyTorch share: tests/golden/pretrained.json, networks of
// hashed numbers, and how an array is compared with a few numbers of it.
#pragma once

#include <cmath>
#include <fstream>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/hashed_values.h"
#include "tests/support/workbench.h"
#include "trainers/models/graph_network.h"
#include "trainers/models/pretrained.h"

namespace gentrain::trainers {

inline nlohmann::json golden_pretrained() {
  std::ifstream file(GENTRAIN_SOURCE_DIR "/tests/golden/pretrained.json");
  return nlohmann::json::parse(file);
}

/// Whether an array has the mean, norm, projection and single values of a golden one: norm and
/// projection to bound * norm, the mean to bound * norm / sqrt(elements), a value to bound times
/// the larger one of that and of itself.
inline ::testing::AssertionResult has_numbers(const std::vector<double>& x,
                                              const nlohmann::json& golden, double bound) {
  const double norm = golden.at("norm");
  const double typical = norm / std::sqrt(static_cast<double>(x.size()));
  const std::vector<double> weights =
      test::hashed_values("projection", 0, static_cast<std::int64_t>(x.size()));
  ::testing::AssertionResult failure = ::testing::AssertionFailure();
  bool agrees = true;
  const auto check = [&](const std::string& what, double actual, double expected, double size) {
    if (!(std::abs(actual - expected) <= bound * size)) {
      agrees = false;
      failure << fmt::format("{} is {}, {} by PyTorch: off by {:.2e} of {:.1e} allowed; ", what,
                             actual, expected, std::abs(actual - expected) / size, bound);
    }
  };
  check("the mean", std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size()),
        golden.at("mean"), typical);
  check("the norm", std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0)), norm, norm);
  check("the projection", std::inner_product(x.begin(), x.end(), weights.begin(), 0.0),
        golden.at("projection"), norm);
  for (const nlohmann::json& pair : golden.at("at")) {
    const auto place = pair.at(0).get<std::size_t>();
    const double value = pair.at(1);
    check(fmt::format("element {}", place), x.at(place), value, std::max(typical, std::abs(value)));
  }
  return agrees ? ::testing::AssertionSuccess() : failure;
}

/// Allocates parameters and fills them with numbers out of their names, as HashedWeights of
/// tests/tools/golden_networks.py does.
inline void load_hashed(ParameterSet& parameters, const test::Workbench& bench,
                        const nlohmann::json& entry, DType dtype = DType::kF32) {
  parameters.allocate(bench.device(), bench.queue(), dtype);
  const double bias = entry.at("bias");
  for (int p = 0; p < parameters.size(); ++p) {
    const ParameterInfo& info = parameters.info(p);
    const std::string part = info.name.substr(info.name.rfind('/') + 1);
    std::vector<double> values =
        test::hashed_values(info.name, entry.at("seed"), info.shape.elements());
    const double fan_in = static_cast<double>(info.shape.elements() / info.shape[0]);
    const double factor = part == "weight"        ? std::sqrt(6.0 / fan_in)
                          : part == "bias"        ? bias
                          : part == "running_var" ? 0.25
                                                  : 0.125;
    const double shift = part == "running_var" ? 1 : 0;
    for (double& value : values) {
      value = static_cast<float>(shift + value * factor);
    }
    const Tensor from = bench.tensor(info.shape, values, dtype);
    bench.device().to_device(bench.queue(), from.data(), parameters[p].data(), from.bytes());
  }
  bench.queue().wait();
  parameters.mark_changed();
}

/// The images of a golden network or step, [n, h, w, 3] in -1..1.
inline Tensor hashed_images(const test::Workbench& bench, const nlohmann::json& entry,
                            DType dtype = DType::kF32) {
  const nlohmann::json& extents = entry.at("images");
  const Shape shape{extents.at(0).get<std::int64_t>(), extents.at(1).get<std::int64_t>(),
                    extents.at(2).get<std::int64_t>(), 3};
  return bench.tensor(shape, test::hashed_values("images", entry.at("seed"), shape.elements()),
                      dtype);
}

/// The shape [h, w, c] of one of many.
inline Shape image_of(const Tensor& images) {
  const Shape& shape = images.shape();
  return {shape[1], shape[2], shape[3]};
}

/// What becomes of a node when a graph is built anew; its inputs keep their indices.
using Alter = std::function<void(graph::Node& node)>;

inline graph::Graph altered(const graph::Graph& graph, const Alter& alter) {
  graph::Graph result;
  for (int i = 0; i < graph.size(); ++i) {
    graph::Node node = graph.node(i);
    alter(node);
    result.add(node.name, node.kind, node.inputs);
  }
  return result;
}

/// InceptionV3 with a head of 1024 / divisor units, all widths divided.
inline graph::Graph thin_inception(const Shape& image, std::int64_t divisor, std::int64_t classes) {
  ModelOptions model;
  model.name = "inception_v3";
  model.pretrained.hidden = 1024 / divisor;
  return altered(make_graph(model, image, classes), [&](graph::Node& node) {
    if (auto* const convolution = std::get_if<graph::Convolution>(&node.kind)) {
      convolution->out /= divisor;
    }
  });
}

}  // namespace gentrain::trainers
