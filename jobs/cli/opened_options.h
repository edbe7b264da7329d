// Options of the verbs that take a model of any writer: predict, features and summary.
#pragma once

#include "jobs/cli/options.h"
#include "trainers/opened_model.h"

namespace gentrain::jobs {

/// --weights, --preprocess, --fit and --classes; and unless `top` is empty --top original or none,
/// whose default it is.
void add_opened_options(OptionSet& options, const std::string& top = "");
/// --batch, of streams.
void add_batch_option(OptionSet& options);

/// What they say of MODEL. Throws JobError for a word that an option does not know.
trainers::ModelChoice model_choice(const OptionSet& options);
/// What --top says, where there is one. Throws JobError for another word.
trainers::PretrainedOptions::Top top_of(const OptionSet& options);
/// Throws JobError for a batch out of range.
std::int64_t batch_of(const OptionSet& options);

}  // namespace gentrain::jobs
