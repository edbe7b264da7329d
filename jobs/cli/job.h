// The job: what a job file says, with every default. jobs/cli/schema.h describes the keys once;
// reading, dumping, the identity and docs/job-reference.md follow from that description.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "trainers/dream_options.h"
#include "trainers/feature_regression.h"
#include "trainers/options.h"

namespace gentrain::jobs {

/// kPrepareFaces: makes packs of faces of a folder of photographs. It reads data.folder,
/// data.faces, threads and output alone, and its file has no other keys.
///
/// kFeatureRegression: fits a logistic regression to features; its keys are those of
/// describe_features.h.
///
/// kDeepDream: changes images until layers of a network answer more strongly; its keys are those of
/// describe_dream().
enum class JobKind : std::uint8_t { kTrain, kPrepareFaces, kFeatureRegression, kDeepDream };

/// A job, read and checked. The defaults of its parts are the member initialisers in
/// trainers/options.h and core/optim/options.h.
struct Job : trainers::TrainOptions {
  JobKind kind = JobKind::kTrain;
  trainers::RegressionOptions regression;  // kFeatureRegression
  trainers::DreamOptions dream;            // kDeepDream
  std::string output;  // folder of the run; runs/<name> unless the job says otherwise
  std::string name;    // the job file's name without folder and extension; no key, not compared
  std::string file;    // the job file as it was named; no key, not compared
};

/// Whether all keys have equal values.
bool operator==(const Job& a, const Job& b);

/// Reads a job file and applies overrides, each "a.b=value" with the value in YAML, in order.
///
/// Throws JobError with one line for everything that is wrong, in order of the file:
/// "jobs/x.yaml:3:1: unknown key 'bach' in the job (did you mean 'batch'?)". Positions of overrides
/// are "--set a.b=value".
Job load_job(const std::filesystem::path& path, const std::vector<std::string>& overrides = {});

/// As load_job, for the text of a job file. `source` names it in positions, and gives the job's
/// name.
Job parse_job(std::string_view text, const std::string& source,
              const std::vector<std::string>& overrides = {});

/// The resolved job as YAML: every key with its value. Reads again to an equal job.
std::string dump_job(const Job& job);

/// What makes two runs the same computation, and what ranks must have alike, one "key: value" line
/// each: every key but output, device, threads, checkpoint, log, data.cache, its features, and
/// content.cache. Without the stages' `stop`, and regression.max_iterations, it is what a run that
/// goes on must have alike with the one before.
std::string job_identity(const Job& job, bool with_stop = true);

/// The text of docs/job-reference.md: every key with type, default, range and meaning.
std::string job_reference();

}  // namespace gentrain::jobs
