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

/// Where training and test set are.
struct ImageFolders {
  std::filesystem::path train;
  std::filesystem::path test;  // empty: there is none
};

/// What share of the training images is set aside where data.path holds no test set and
/// data.validation is 0.
inline constexpr double kSetAside = 0.2;

/// data.folder and data.test_folder. Of data.path: the test set is the folder "validation" in it,
/// else "val", else "test". The training set is the folder "train"; beside a test set also the
/// first by name that begins so. Where there is none, data.path itself is the training set, without
/// a test set: its folders are classes, of whatever name. With data.classes it is always data.path
/// itself. Throws IoError naming data.path if it is
/// no folder or cannot be read.
ImageFolders folders_of(const DataOptions& options);

/// The training and test set of data.source: folder, and the files that were left out of both, as
/// data.on_bad_file: skip says: which they are the ranks find out together. Collective.
struct ImagePair {
  data::DataPair pair;
  std::vector<image::BadFile> left_out;  // those of the training set first
  std::string chosen;  // which folders of data.path were chosen; empty where none was
};

/// Throws IoError (see image::list_images, image::open_pack; a test set with other classes or
/// another shape), JobError for a folder without data.size.
ImagePair load_images(const DataOptions& options, int threads, comm::Communicator& communicator);

/// "left out 3 of 40 images: a.jpg is empty; b.jpg is truncated: ...; ..."; empty if none was.
std::string left_out_note(const std::vector<image::BadFile>& left_out, std::int64_t all);

}  // namespace gentrain::trainers
