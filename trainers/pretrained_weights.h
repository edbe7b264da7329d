// The initial weights of a pretrained network: which file they are from, what was taken of it, and
// statistics of batch normalisations whose convolution is not the file's.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainers/models/graph_network.h"

namespace gentrain::trainers {

class TrainingRun;
struct TrainOptions;

/// What was done.
struct PretrainedWeights {
  /// "weights " and the file's SHA-256, of an imported network "model "; "": there is no file.
  std::string identity;
  std::vector<std::string> notes;  // for log and record
};

/// Reads what the job's `weights` says into the run's parameters, which are initialised. Each rank
/// reads the file, as those of a content loss; they must have the same bytes. Nothing is read with
/// weights.file "random" or init_from.
/// Where the values come out of a checkpoint, the file is that which the checkpoint names; if
/// weights.file names one that rank 0 can read, it is that one, whatever the checkpoint says.
///
/// The file is one of Keras's (HDF5, weights alone or a whole model), or a whole model in a .keras
/// archive or an ONNX file, whose parameters are taken by their names then.
///
/// Without allow_missing the head may be missing in the file; without allow_extra the file may have
/// the layers of the original top that the network has not.
///
/// A batch normalisation directly behind a convolution of which some value is not the file's gets
/// the mean and the (biased) variance of that convolution's output over the first 256 images of the
/// first epoch's order, as they are without augmentation: each sees the new statistics of those
/// that it depends on. The sums go over chunks in order: the same bytes for any number of ranks and
/// workers. Each rank keeps the decoded images of its chunks until this is done.
///
/// Collective. Throws IoError: no file is there (says where it was looked for), as
/// graph::read_keras_weights, graph::import_model and read_imported; JobError naming where a
/// pattern stands that matches nothing, and names near it; CommError if the ranks have different
/// files.
PretrainedWeights load_pretrained(TrainingRun& run, const GraphNetwork& network);

/// The same of a run that goes on from a checkpoint, which has all values: which file they began
/// with, as the checkpoint says, or, if `file` is one that rank 0 can read, as that is.
///
/// kind "weights" or "model": what an identity begins with; file: may be empty
///
/// Collective.
PretrainedWeights weights_of_checkpoint(TrainingRun& run, const std::string& kind,
                                        const std::string& file);

/// What a run would say of the file if it is not there or cannot be opened; "" if it can, or if a
/// run of these options reads none.
std::string missing_weights(const TrainOptions& options);

}  // namespace gentrain::trainers
