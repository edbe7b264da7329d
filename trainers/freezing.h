// What a stage freezes, as names of parameters.
#pragma once

#include "core/parameters.h"
#include "trainers/objective.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// The stage with freeze.through, and statistics that stay as they are (model.batch_norm: frozen:
/// batch normalisations take them as constants), as names in freeze.parameters.
///
/// Throws JobError naming where freeze.through stands: the model is no network that is a graph, or
/// has no such layer (lists names near it).
StageOptions frozen_by_name(const StageOptions& stage, const ModelOptions& model,
                            const Objective& objective, const ParameterSet& parameters);

}  // namespace gentrain::trainers
