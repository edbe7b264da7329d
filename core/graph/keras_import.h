// Weights that Keras wrote, by layer name, into the parameters of a graph: the node NAME takes the
// layer NAME. All of it is checked before anything is written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "core/io/keras_weights.h"
#include "core/parameters.h"

namespace gentrain::graph {

/// What need not come from the file. Patterns (matches() in core/pattern.h) stand for parameters,
/// "conv2d_82/weight", and for layers, "conv2d_82": all of its parameters.
struct KerasRules {
  std::vector<std::string> allow_missing = {};  // may be missing in the file
  std::vector<std::string> allow_extra = {};    // layers of the file that the network has not
  std::vector<std::string> reinit = {};         // are not taken, whatever the file has
  std::vector<std::string> reinit_zeros = {};   // values that are 0 in the file are not taken
};

/// What was done.
struct KerasReport {
  struct Refill {
    std::string parameter;
    std::int64_t values = 0;  // that were 0 in the file
  };
  std::string file_sha256;
  std::vector<std::string> read;         // parameters that are from the file, but for the refills
  std::vector<std::string> initialized;  // parameters that kept their values
  std::vector<Refill> refilled;          // by reinit_zeros, where a value was 0
  std::vector<std::string> left;         // layers with weights that the network has not
};

/// Reads the parameters of a graph's nodes: kernels, biases, gamma, beta and running statistics.
///
/// parameters f32, allocated and initialised: what is not taken from the file keeps its values,
///            which are a pure function of the key that they were initialised with
///
/// Throws IoError naming the file and each array or layer that is missing, not needed or of other
/// extents, and as io::KerasWeights where one cannot be read; JobError for a pattern that matches
/// nothing. Nothing was written then, unless an array could not be read.
KerasReport read_keras_weights(const Graph& graph, const io::KerasWeights& weights,
                               const KerasRules& rules, ParameterSet& parameters, Device& device,
                               Queue& queue);

}  // namespace gentrain::graph
