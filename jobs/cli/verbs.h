// The verbs. Each reads its own options from the arguments behind its name and returns an exit
// code.
#pragma once

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"

namespace gentrain::jobs {

using Arguments = std::vector<std::string>;

/// What a verb is given by main.
struct Session {
  comm::Communicator& communicator;
  std::chrono::system_clock::time_point process_start;
};

struct Verb {
  std::string_view name;
  std::string_view usage;    // "check JOB [--ranks N]"
  std::string_view summary;  // one line
  int (*run)(Session& session, const Arguments& arguments);
  bool on_ranks = true;  // over the ranks of a launcher; else alone, and MPI is not touched
};

/// gentrain JOB: trains. Also `gentrain train JOB`.
int train_verb(Session& session, const Arguments& arguments);
/// gentrain launch -np N JOB: starts mpirun, passes signals on, restarts after failures.
int launch_verb(Session& session, const Arguments& arguments);
/// gentrain submit JOB: writes a batch script and hands it to Slurm.
int submit_verb(Session& session, const Arguments& arguments);
/// gentrain bench JOB: times whole steps; the last line printed is one JSON object.
int bench_verb(Session& session, const Arguments& arguments);

/// gentrain check JOB: the resolved job and what it will take; trains nothing.
int check_verb(Session& session, const Arguments& arguments);
/// gentrain eval MODEL [DATA]: loss and accuracy; the last line is one JSON object.
int eval_verb(Session& session, const Arguments& arguments);
/// gentrain predict MODEL [IMAGES...]: labels and probabilities.
int predict_verb(Session& session, const Arguments& arguments);
/// gentrain features MODEL PICTURES...|IN.h5 --out OUT.h5: outputs of a model's layers.
int features_verb(Session& session, const Arguments& arguments);
/// gentrain summary MODEL|JOB: layers, shapes, parameters, FLOPs.
int summary_verb(Session& session, const Arguments& arguments);
/// gentrain export MODEL OUT.h5|OUT.onnx: the network for other frameworks.
int export_verb(Session& session, const Arguments& arguments);
/// gentrain sample MODEL OUT.png: images that a model makes of noise.
int sample_verb(Session& session, const Arguments& arguments);
/// gentrain upscale MODEL IMAGE... --out DIR: images four times as high and wide.
int upscale_verb(Session& session, const Arguments& arguments);
/// gentrain pack FOLDER FILE: decodes a folder of images into one file.
int pack_verb(Session& session, const Arguments& arguments);
/// gentrain fetch NAME...: data sets and weights from the network.
int fetch_verb(Session& session, const Arguments& arguments);
/// gentrain cache [--clear [WHAT]]: what is prepared for later runs, and its end.
int cache_verb(Session& session, const Arguments& arguments);
/// gentrain verify FILE: whether a file of gentrain's own is whole.
int verify_verb(Session& session, const Arguments& arguments);
/// gentrain list [WHAT]: the names that jobs and commands know.
int list_verb(Session& session, const Arguments& arguments);

/// All verbs, in the order of --help.
const std::vector<Verb>& verbs();

/// Version, build, libraries, instruction set and the numeric rules, one line each.
std::string version_text();

}  // namespace gentrain::jobs
