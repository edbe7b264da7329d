// HDF5 arrays: labels are checked and kept at opening; pixels are read whole if they are few, else
// sample by sample through HDF5's cache of decoded chunks. One pass over the training pixels gives
// their statistics.
#include "core/data/hdf5_arrays.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hdf5.h>

#include "core/data/memory_dataset.h"
#include "core/io/hdf5.h"
#include "core/io/posix_file.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::data {
namespace {

namespace fs = std::filesystem;
using io::check_hdf5;
using io::Hdf5Handle;
using io::Hdf5Lock;

constexpr std::size_t kChunkCacheBytes = std::size_t{64} << 20;
constexpr std::size_t kChunkCacheSlots = 12421;  // a prime, about 100 times the chunks that fit
constexpr std::int64_t kBlockBytes = std::int64_t{4} << 20;
constexpr int kMaxPixelRank = 4;
constexpr std::int64_t kLargestLabel = 65535;  // a stray one must not become a huge last layer

/// The array /x of a file, open for reading rows. All calls are made under Hdf5Lock.
class PixelArray {
 public:
  PixelArray(const Hdf5Handle& file, std::string where) : where_(std::move(where)) {
    const Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose, where_);
    check_hdf5(H5Pset_chunk_cache(access.get(), kChunkCacheSlots, kChunkCacheBytes, 1.0), where_);
    array_ = Hdf5Handle(H5Dopen2(file.get(), "x", access.get()), H5Dclose, where_);
    space_ = Hdf5Handle(H5Dget_space(array_.get()), H5Sclose, where_);
    const Hdf5Handle type(H5Dget_type(array_.get()), H5Tclose, where_);
    if (H5Tget_class(type.get()) != H5T_INTEGER || H5Tget_size(type.get()) != 1 ||
        H5Tget_sign(type.get()) != H5T_SGN_NONE) {
      throw IoError(where_ + ": its elements are no unsigned bytes (u8)");
    }
    rank_ = H5Sget_simple_extent_ndims(space_.get());
    if (rank_ != 3 && rank_ != kMaxPixelRank) {
      throw IoError(
          fmt::format("{}: it has {} extents, [n, h, w] or [n, h, w, c] is needed", where_, rank_));
    }
    extents_[3] = 1;
    check_hdf5(H5Sget_simple_extent_dims(space_.get(), extents_.data(), nullptr), where_);
    check_extents();
  }

  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(extents_[0]); }
  [[nodiscard]] Shape row_shape() const {
    return {static_cast<std::int64_t>(extents_[1]), static_cast<std::int64_t>(extents_[2]),
            static_cast<std::int64_t>(extents_[3])};
  }
  void read(std::int64_t first, std::int64_t count, std::uint8_t* pixels) const {
    std::array<hsize_t, kMaxPixelRank> start{static_cast<hsize_t>(first)};
    std::array<hsize_t, kMaxPixelRank> block = extents_;
    block[0] = static_cast<hsize_t>(count);
    check_hdf5(H5Sselect_hyperslab(space_.get(), H5S_SELECT_SET, start.data(), nullptr,
                                   block.data(), nullptr),
               where_);
    const Hdf5Handle memory(H5Screate_simple(rank_, block.data(), nullptr), H5Sclose, where_);
    check_hdf5(
        H5Dread(array_.get(), H5T_NATIVE_UINT8, memory.get(), space_.get(), H5P_DEFAULT, pixels),
        where_);
    progress::tick();
  }

 private:
  void check_extents() const {
    hsize_t elements = 1;
    for (const hsize_t extent : extents_) {
      if (extent > 0 && elements > static_cast<hsize_t>(Shape::kMaxElements) / extent) {
        throw IoError(fmt::format("{}: its extents {} are more than can be", where_,
                                  fmt::join(extents_, " x ")));
      }
      elements *= std::max<hsize_t>(extent, 1);
    }
  }

  std::string where_;
  Hdf5Handle array_;
  Hdf5Handle space_;
  int rank_ = 0;
  std::array<hsize_t, kMaxPixelRank> extents_{};
};

/// An open file whose arrays fit together.
struct OpenFile {
  Hdf5Handle file;
  std::unique_ptr<PixelArray> pixels;
  std::vector<std::int32_t> labels;
};

void require_array(const Hdf5Handle& file, const fs::path& path, const char* name) {
  if (H5Lexists(file.get(), name, H5P_DEFAULT) <= 0) {
    throw IoError(fmt::format("{}: it has no array /{}; /x (images) and /y (labels) are needed",
                              path.string(), name));
  }
}

/// The labels of a file that holds `images` of them.
std::vector<std::int32_t> read_labels(const Hdf5Handle& file, const std::string& name,
                                      std::int64_t images) {
  const std::string where = name + ": /y";
  const Hdf5Handle array(H5Dopen2(file.get(), "y", H5P_DEFAULT), H5Dclose, where);
  const Hdf5Handle space(H5Dget_space(array.get()), H5Sclose, where);
  const Hdf5Handle type(H5Dget_type(array.get()), H5Tclose, where);
  if (H5Tget_class(type.get()) != H5T_INTEGER) {
    throw IoError(where + ": its elements are no integers");
  }
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank != 1) {
    throw IoError(fmt::format("{}: it has {} extents, [n] is needed", where, rank));
  }
  const std::int64_t labels = H5Sget_simple_extent_npoints(space.get());
  if (labels != images) {  // before memory is taken
    throw IoError(fmt::format("{}: /x holds {} images but /y {} labels", name, images, labels));
  }
  std::vector<std::int64_t> wide(static_cast<std::size_t>(labels));
  check_hdf5(H5Dread(array.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, wide.data()),
             where);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    if (wide[i] < 0 || wide[i] > kLargestLabel) {
      throw IoError(fmt::format("{}: label {} is {}, from 0 to {} were expected", where, i, wide[i],
                                kLargestLabel));
    }
  }
  return {wide.begin(), wide.end()};
}

OpenFile open_file(const fs::path& path) {
  if (!io::is_there(path)) {
    throw IoError(path.string() + " is missing: an HDF5 file with /x and /y was looked for");
  }
  const std::string name = path.string();
  OpenFile open;
  open.file = Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, name);
  require_array(open.file, path, "x");
  require_array(open.file, path, "y");
  open.pixels = std::make_unique<PixelArray>(open.file, name + ": /x");
  open.labels = read_labels(open.file, name, open.pixels->rows());
  const auto labels = static_cast<std::int64_t>(open.labels.size());
  if (labels == 0 || open.pixels->row_shape().elements() == 0) {
    throw IoError(fmt::format("{}: holds no samples: {} of {}", name, labels,
                              open.pixels->row_shape().str()));
  }
  return open;
}

/// Samples that stay on disk.
class DiskDataset final : public HashedDataset {
 public:
  DiskDataset(OpenFile open, int classes, std::string description)
      : open_(std::move(open)), classes_(classes), description_(std::move(description)) {}
  ~DiskDataset() override {
    const Hdf5Lock lock;
    open_.pixels.reset();
    open_.file = Hdf5Handle();
  }
  DiskDataset(const DiskDataset&) = delete;
  DiskDataset& operator=(const DiskDataset&) = delete;

  [[nodiscard]] std::int64_t size() const override { return open_.pixels->rows(); }
  [[nodiscard]] Shape sample_shape() const override { return open_.pixels->row_shape(); }
  [[nodiscard]] int classes() const override { return classes_; }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    const Hdf5Lock lock;
    open_.pixels->read(index, 1, pixels);
  }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return open_.labels[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] bool in_memory() const override { return false; }
  [[nodiscard]] std::string description() const override { return description_; }

 private:
  OpenFile open_;
  int classes_;
  std::string description_;
};

/// Calls block(first, count) for the rows of an array, some at a time.
template <class Block>
void for_each_block(const PixelArray& pixels, const Block& block) {
  const std::int64_t per_block =
      std::max<std::int64_t>(kBlockBytes / pixels.row_shape().elements(), 1);
  for (std::int64_t first = 0; first < pixels.rows(); first += per_block) {
    block(first, std::min(per_block, pixels.rows() - first));
  }
}

/// Counts all pixels.
void count_pixels(const PixelArray& pixels, PixelStatistics& statistics) {
  std::vector<std::uint8_t> values;
  for_each_block(pixels, [&](std::int64_t first, std::int64_t count) {
    values.resize(static_cast<std::size_t>(count * pixels.row_shape().elements()));
    pixels.read(first, count, values.data());
    statistics.add(values);
  });
}

/// The data set of a file; its pixels go into `statistics` unless that is null.
std::shared_ptr<const Dataset> make_dataset(OpenFile open, int classes, const fs::path& path,
                                            std::int64_t in_memory_bytes,
                                            PixelStatistics* statistics) {
  std::string description = "hdf5 file " + path.string();
  const std::int64_t row_bytes = open.pixels->row_shape().elements();
  const std::int64_t bytes = open.pixels->rows() * row_bytes;
  if (bytes > in_memory_bytes) {
    if (statistics != nullptr) {
      count_pixels(*open.pixels, *statistics);
    }
    return std::make_shared<DiskDataset>(std::move(open), classes, std::move(description));
  }
  io::Bytes pixels = io::make_bytes(static_cast<std::size_t>(bytes));
  for_each_block(*open.pixels, [&](std::int64_t first, std::int64_t count) {
    open.pixels->read(first, count, pixels.data.get() + first * row_bytes);
  });
  if (statistics != nullptr) {
    statistics->add({pixels.data.get(), pixels.size});
  }
  return std::make_shared<MemoryDataset>(std::move(pixels), open.pixels->row_shape(),
                                         std::move(open.labels), classes, std::move(description));
}

void check_fit(const OpenFile& train, int classes, const OpenFile& test, const fs::path& path) {
  if (test.pixels->row_shape() != train.pixels->row_shape()) {
    throw IoError(fmt::format("{}: samples are {}, those of the training set {}", path.string(),
                              test.pixels->row_shape().str(), train.pixels->row_shape().str()));
  }
  const auto bad = std::find_if(test.labels.begin(), test.labels.end(),
                                [classes](std::int32_t label) { return label >= classes; });
  if (bad != test.labels.end()) {
    throw IoError(fmt::format("{}: /y: label {} is {}, the training set has classes 0 to {}",
                              path.string(), bad - test.labels.begin(), *bad, classes - 1));
  }
}

}  // namespace

DataPair load_hdf5_arrays(const std::filesystem::path& train_file,
                          const std::filesystem::path& test_file, std::int64_t in_memory_bytes) {
  const Hdf5Lock lock;
  OpenFile train = open_file(train_file);
  const int classes = *std::max_element(train.labels.begin(), train.labels.end()) + 1;
  DataPair pair;
  if (!test_file.empty()) {
    OpenFile test = open_file(test_file);
    check_fit(train, classes, test, test_file);
    pair.test = make_dataset(std::move(test), classes, test_file, in_memory_bytes, nullptr);
  }
  PixelStatistics statistics;
  pair.train = make_dataset(std::move(train), classes, train_file, in_memory_bytes, &statistics);
  pair.train_normalization = statistics.normalization();
  pair.test_normalization = pair.train_normalization;
  return pair;
}

DataPair load_hdf5(const std::filesystem::path& train_file,
                   const std::filesystem::path& test_file) {
  return load_hdf5_arrays(train_file, test_file, kHdf5InMemory);
}

}  // namespace gentrain::data
