// HDF5 arrays as data sets, with the size that decides between memory and disk.
#pragma once

#include <cstdint>
#include <filesystem>

#include "core/data/dataset.h"

namespace gentrain::data {

/// load_hdf5() keeps pixels up to this many bytes in memory and reads larger files sample by
/// sample.
inline constexpr std::int64_t kHdf5InMemory = std::int64_t{512} << 20;

/// As load_hdf5(), with another limit.
DataPair load_hdf5_arrays(const std::filesystem::path& train_file,
                          const std::filesystem::path& test_file, std::int64_t in_memory_bytes);

}  // namespace gentrain::data
