// data.source: lfw, prepared faces of photographs: made by the first run that needs them, taken
// from the cache by all others.
#pragma once

#include <filesystem>
#include <optional>

#include "comm/communicator.h"
#include "trainers/data_source.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// Whether a job takes photographs of faces: data.source is lfw, or it is auto with a model that
/// makes images of them (srgan) and there are some. Rank 0 decides for all. Collective.
bool takes_photographs(const TrainOptions& options, comm::Communicator& communicator);

/// Training and test set of prepared faces, [size, size, 3] without classes, values -1..1.
///
/// Where the cache (data.cache) does not have them, all ranks prepare them together, each from the
/// photographs as its own host sees them, while rank 0 holds their lock: of all runs that share the
/// cache one prepares them, and the others wait. Rank 0 alone reads and writes the cache and sends
/// the packs to all, so that hosts need not share it. They are kept under a hash of the
/// photographs' names and contents, data.faces, the method and the image library. Collective.
///
/// Throws IoError as list_photographs() and prepare_faces(); naming data.cache if the faces cannot
/// be kept there; naming the pack if one that is kept is damaged.
LoadedData load_faces(const DataOptions& options, int threads, comm::Communicator& communicator);

/// Packs of prepared faces that the cache has.
struct KeptFaces {
  std::filesystem::path train;
  std::filesystem::path test;
};
/// Those that load_faces() would take, if they are there. For a lone process; creates nothing.
/// Throws IoError as list_photographs().
std::optional<KeptFaces> find_kept_faces(const DataOptions& options, int threads);

}  // namespace gentrain::trainers
