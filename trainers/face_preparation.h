// The faces of a folder of photographs, found by all ranks together: two packs, a training and a
// test set, and what became of every file. Neither ranks nor threads leave a trace in them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/image/face_preparation.h"
#include "core/image/folder.h"
#include "core/image/pack.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// What became of the photographs of a listing, in its order.
struct FaceReport {
  struct File {
    std::string name;  // as image::Listing::File
    image::FaceOutcome outcome = image::FaceOutcome::kNone;
    std::string reason;  // kUnreadable: why
  };
  std::vector<File> files;

  [[nodiscard]] std::int64_t count(image::FaceOutcome outcome) const;
};

/// The two sets of the faces that were kept.
enum class FacePart : std::uint8_t { kTrain, kTest };

struct PreparedFaces {
  FaceReport report;         // on every rank
  image::PackContent train;  // on rank 0; empty elsewhere, as `test`
  image::PackContent test;
};

/// Prepares all photographs of a listing (image::prepare_face_file()). Rank r of R takes those of
/// comm::part_of(n, R, r); rank 0 gets the faces. All ranks give the same listing and options.
/// Collective.
///
/// Throws on all ranks IoError naming the folder if a set would be empty, with what became of the
/// photographs.
PreparedFaces prepare_faces(const image::Listing& listing, const image::FaceOptions& options,
                            int threads, comm::Communicator& communicator);

/// Writes one of the sets as a pack without classes. Its header tells, as "faces", how it was made
/// and how many photographs had which outcome. Throws IoError as image::write_pack().
void write_faces(const std::filesystem::path& file, const PreparedFaces& faces, FacePart part,
                 const image::FaceOptions& options);

/// "1,386 of 1,500 photographs are kept: 1,313 for training, 73 for testing; 5 show no frontal
/// face, 108 several, 1 one that is cut off, 0 are too small, 0 unreadable", out of the header of a
/// pack that write_faces() wrote. Throws IoError for another header.
std::string face_summary(const nlohmann::json& header);

/// The folder of photographs: data.folder if it is set, else $GENTRAIN_DATA/lfw or data/lfw, the
/// first one that is there.
std::vector<std::filesystem::path> photograph_folders(const DataOptions& options);
/// That one; empty if none is there.
std::filesystem::path find_photographs(const DataOptions& options);
/// Its images, the same on all ranks. Collective.
///
/// Throws IoError that says where it was looked for and how to get it, or as image::list_images();
/// CommError if ranks see other names.
image::Listing list_photographs(const DataOptions& options, comm::Communicator& communicator);

/// What a job of the kind prepare_faces does: prepares the photographs of data.folder as data.faces
/// says, writes train.h5, test.h5 and report.json to `output`, and logs what it did. Collective.
///
/// Throws IoError as list_photographs() and prepare_faces(), and naming `output` if it cannot be
/// written.
void run_face_preparation(const DataOptions& options, const std::filesystem::path& output,
                          int threads, comm::Communicator& communicator);

}  // namespace gentrain::trainers
