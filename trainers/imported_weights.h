// Initial weights out of whole models of other frameworks.
#pragma once

#include <filesystem>
#include <string>

#include "core/graph/imported.h"
#include "core/graph/keras_import.h"
#include "core/parameters.h"
#include "trainers/models/graph_network.h"
#include "trainers/pretrained_weights.h"

namespace gentrain::trainers {

/// Reads the arrays of the file that an imported network is out of into the run's parameters, which
/// are initialised: those that the file has not, of a head, keep their values, and all do with
/// weights.file "random" or init_from. A network that is a checkpoint's has no file: as
/// weights_of_checkpoint().
///
/// Collective. Throws IoError naming the file and a parameter of another shape; CommError if the
/// ranks have different files.
PretrainedWeights load_imported(TrainingRun& run, GraphNetwork& network);

/// Of a parameter NAME/weight; NAME may have slashes too.
std::string layer_of(const std::string& parameter);

/// A file's arrays for the parameters of another network.
struct ImportedSource {
  const std::filesystem::path& path;
  const graph::ImportedModel& model;
  const graph::KerasRules& rules;
};

/// As graph::read_keras_weights, with parameters in place of arrays: PARAMETER of the network takes
/// the file's of that name. Throws IoError naming the file and each parameter that is missing or of
/// another shape, and each layer that the network has not; nothing was written then.
graph::KerasReport read_imported(const ImportedSource& source, ParameterSet& parameters,
                                 Device& device, Queue& queue);

}  // namespace gentrain::trainers
