// Data sets of images: a folder of them, or a pack that `gentrain pack` made of one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/data/dataset.h"
#include "core/image/folder.h"
#include "core/image/pack.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// Constants of images that nothing else is known of: pixels become -1 to 1.
inline constexpr data::Normalization kImageNormalization{0.5, 0.5};

/// The training and test set of data.source: folder, and the files that were left out of both, as
/// data.on_bad_file: skip says: which they are the ranks find out together. Collective.
struct ImagePair {
  data::DataPair pair;
  std::vector<image::BadFile> left_out;  // those of the training set first
};

/// Throws IoError (see image::list_images, image::open_pack; a test set with other classes or
/// another shape), JobError for a folder without data.size.
ImagePair load_images(const DataOptions& options, int threads, comm::Communicator& communicator);

/// "left out 3 of 40 images: a.jpg is empty; b.jpg is truncated: ...; ..."; empty if none was.
std::string left_out_note(const std::vector<image::BadFile>& left_out, std::int64_t all);

}  // namespace gentrain::trainers
