// Data sets: numbered samples in host memory or on disk, and the order in which an epoch takes
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "kernels/philox.h"
#include "kernels/shape.h"

namespace gentrain::data {

/// Samples as they are stored: bytes that the device turns into floats (x * factor + shift).
class Dataset {
 public:
  virtual ~Dataset() = default;

  [[nodiscard]] virtual std::int64_t size() const = 0;
  /// Shape of one sample, [h, w, c] for images.
  [[nodiscard]] virtual Shape sample_shape() const = 0;
  [[nodiscard]] virtual int classes() const = 0;
  /// The names of the classes; none where they have only numbers.
  [[nodiscard]] virtual std::vector<std::string> class_names() const { return {}; }
  /// Copies sample `index` (u8, sample_shape()) to `pixels`. Thread-safe.
  virtual void read(std::int64_t index, std::uint8_t* pixels) const = 0;
  /// Label of a sample, 0 <= label < classes().
  [[nodiscard]] virtual std::int32_t label(std::int64_t index) const = 0;
  /// Whether read() is a plain copy from memory: then it is not worth a prefetching thread.
  [[nodiscard]] virtual bool in_memory() const = 0;
  /// SHA-256 of the decoded content (sample shape, pixels, labels), lower-case hex. May take a
  /// while; empty if `stop` was asked for meanwhile.
  [[nodiscard]] virtual std::string sha256(const std::stop_token& stop = {}) const = 0;
  /// Where it comes from, for messages: "mnist in /data/mnist", "built-in digits".
  [[nodiscard]] virtual std::string description() const = 0;
};

/// Constants of all channels: value = (pixel / 255 - mean) / stddev = pixel * factor() + shift().
struct Normalization {
  double mean = 0;
  double stddev = 1;
  [[nodiscard]] double factor() const { return 1.0 / (255.0 * stddev); }
  [[nodiscard]] double shift() const { return -mean / stddev; }
};

/// A training set and a test set with what belongs to them.
struct DataPair {
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> test;
  Normalization train_normalization;
  Normalization test_normalization;
};

/// MNIST idx files (train-images-idx3-ubyte and its three siblings, plain or .gz) in a folder.
///
/// Throws IoError naming the file: missing (saying where it was looked for), wrong magic,
/// truncated, counts that differ between images and labels, a damaged .gz, a label above 9. Source:
/// http://yann.lecun.com/exdb/mnist
DataPair load_mnist(const std::filesystem::path& folder);

/// One idx pair of images and labels. Throws IoError as load_mnist.
std::shared_ptr<const Dataset> load_idx(const std::filesystem::path& images,
                                        const std::filesystem::path& labels);

/// Whether an idx file is there, plain or with .gz behind its name.
bool idx_exists(const std::filesystem::path& path);

/// An idx file of images alone: every label() is -1. Throws IoError as load_mnist.
std::shared_ptr<const Dataset> load_idx_images(const std::filesystem::path& images);

/// The built-in 28x28 digits, drawn from (seed, index): strokes, affine and elastic distortions,
/// noise. Counts default to those of MNIST. Sample i of the training set has nothing to do with
/// sample i of the test set. Drawn by `threads` threads, the same bytes for any number. Throws
/// ShapeError if a count or `threads` is below 1.
DataPair make_digits(std::uint64_t seed, std::int64_t train_count = 60000,
                     std::int64_t test_count = 10000, int threads = 1);

/// HDF5 arrays: /x [n, h, w, c] or [n, h, w] u8 and /y [n] integers from 0 to 65535; the largest
/// label of the training set says how many classes there are. Large files are read from disk sample
/// by sample. `test_file` may be empty: then `validation` must set a part aside.
///
/// Throws IoError naming file and array: missing, of another type or rank, too large, empty, counts
/// that differ, a label out of range, a test set that does not fit the training set.
DataPair load_hdf5(const std::filesystem::path& train_file, const std::filesystem::path& test_file);

/// A part of a data set: samples `indices` of `whole`, in that order. Throws ShapeError for an
/// index outside of it.
std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> whole,
                                      std::vector<std::int64_t> indices);

/// Sets aside a fraction for validation: which samples is a pure function of the seed.
struct Split {
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> validation;
};
/// Throws JobError unless 0 < fraction < 1, or if a part would be empty.
Split split_validation(const std::shared_ptr<const Dataset>& whole, double fraction,
                       std::uint64_t seed);

/// The same split of samples 0 to size - 1, as numbers in ascending order.
struct SplitIndices {
  std::vector<std::int64_t> train;
  std::vector<std::int64_t> validation;
};
/// Throws as split_validation().
SplitIndices split_indices(std::int64_t size, double fraction, std::uint64_t seed);

/// The order of an epoch: a permutation of [0, size) that is a pure function of (seed, epoch).
/// Throws JobError unless 0 <= size < 2^32.
std::vector<std::int64_t> sample_order(std::uint64_t seed, std::int64_t epoch, std::int64_t size);

}  // namespace gentrain::data
