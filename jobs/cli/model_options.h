// Options of the verbs that work with a trained model.
#pragma once

#include "jobs/cli/options.h"
#include "trainers/inference.h"

namespace gentrain::jobs {

/// MODEL, --threads and --isa.
void add_model_options(OptionSet& options);
/// What they say. Throws JobError for an isa that is none.
trainers::InferenceOptions inference_options(const OptionSet& options);

}  // namespace gentrain::jobs
