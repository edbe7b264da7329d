// From a job's data options to data sets.
#pragma once

#include <filesystem>
#include <vector>

#include "core/data/dataset.h"
#include "trainers/options.h"

namespace gentrain::trainers {

/// Folders in which MNIST is looked for, in order: the job's own if it names one; else
/// $GENTRAIN_DATA/mnist, data/mnist.
std::vector<std::filesystem::path> mnist_folders(const DataOptions& options);

/// Training and test set of a job; with data.validation the part set aside stands in `test`.
/// `note` is a line for the log where the job left the choice open ("auto").
///
/// Throws IoError: missing (says where it was looked for and how to get it), unreadable, damaged.
struct LoadedData {
  data::DataPair pair;
  std::string note;
};
LoadedData load_data(const DataOptions& options, std::uint64_t seed, int threads);

}  // namespace gentrain::trainers
