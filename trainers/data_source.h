// From a job's data options to data sets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/data/dataset.h"
#include "core/image/folder.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// Folders in which a data set is looked for, in order: the job's own if it names one; else
/// $GENTRAIN_DATA/NAME, data/NAME.
std::vector<std::filesystem::path> data_folders(const DataOptions& options, const char* name);

/// Where a job keeps what is prepared for later runs. Throws IoError as io::default_cache_folder().
std::filesystem::path cache_folder(const DataOptions& options);

/// Those of MNIST.
std::vector<std::filesystem::path> mnist_folders(const DataOptions& options);

/// The first of the folders that holds an idx file, plain or packed; empty if none does.
std::filesystem::path find_folder(const std::vector<std::filesystem::path>& folders,
                                  const char* file);

/// "a, b"
std::string joined(const std::vector<std::filesystem::path>& folders);

struct LoadedData {
  data::DataPair pair;
  /// A line for the log, or empty: where "auto" fell back to drawn images, images that were left
  /// out.
  std::string note;
  std::vector<image::BadFile> left_out;  // all of those images
  std::string fact;  // a line for the log that is no warning, on rank 0, or empty
  /// What training and test set are parts of, where the latter was set aside; else null.
  std::shared_ptr<const data::Dataset> whole = {};
};

/// Training and test set of a job; with data.validation the part set aside stands in `test`. Where
/// the job leaves the choice open, rank 0 makes it for all. Collective.
///
/// Throws IoError: missing (says where it was looked for and how to get it), unreadable, damaged.
/// Throws JobError: constants of normalisation that give no finite values; see load_images() and
/// load_faces().
LoadedData load_data(const TrainOptions& job, int threads, comm::Communicator& communicator);

/// Equal for equal data: sizes, shape, classes, constants, and a hash over 256 samples of each set.
std::string data_identity(const data::DataPair& pair);
/// The same of one set.
std::string data_identity(const data::Dataset& dataset);

/// Throws JobError unless the constants keep pixels in 0..1, which the targets of a sigmoid must
/// be.
void check_pixels_are_probabilities(const data::DataPair& pair);
/// Throws JobError unless the constants bring pixels to -1..1.
void check_pixels_are_signed(const data::DataPair& pair, const std::string& model);

/// Throws JobError unless the constants give finite values for every pixel; `name` says which they
/// are.
void check_normalization(const data::Normalization& normalization, const std::string& name);

}  // namespace gentrain::trainers
