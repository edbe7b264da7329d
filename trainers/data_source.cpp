// Choosing and loading data sets.
#include "trainers/data_source.h"

#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/error.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

bool holds_mnist(const fs::path& folder) {
  std::error_code error;
  const fs::path images = folder / "train-images-idx3-ubyte";
  return fs::exists(images, error) || fs::exists(images.string() + ".gz", error);
}

std::string joined(const std::vector<fs::path>& folders) {
  std::vector<std::string> names;
  for (const fs::path& folder : folders) {
    names.push_back(folder.string());
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

data::DataPair digits(const DataOptions& options, int threads) {
  return data::make_digits(options.seed, options.train_count, options.test_count, threads);
}

LoadedData load_source(const DataOptions& options, int threads) {
  using Source = DataOptions::Source;
  if (options.source == Source::kHdf5) {
    return {data::load_hdf5(options.train_file, options.test_file), ""};
  }
  if (options.source == Source::kDigits) {
    return {digits(options, threads), ""};
  }
  const std::vector<fs::path> folders = mnist_folders(options);
  for (const fs::path& folder : folders) {
    if (holds_mnist(folder)) {
      return {data::load_mnist(folder), fmt::format("data: MNIST in {}", folder.string())};
    }
  }
  if (options.source == Source::kMnist) {
    throw IoError(fmt::format(
        "MNIST is not there: train-images-idx3-ubyte (or .gz) was looked for in {}. Put the four "
        "idx "
        "files into one of them, set GENTRAIN_DATA or data.folder, or take data.source: digits",
        joined(folders)));
  }
  return {
      digits(options, threads),
      fmt::format("data: MNIST was not found in {}; taking the built-in digits", joined(folders))};
}

}  // namespace

std::vector<fs::path> mnist_folders(const DataOptions& options) {
  if (!options.folder.empty()) {
    return {options.folder};
  }
  std::vector<fs::path> folders;
  if (const char* root = std::getenv("GENTRAIN_DATA"); root != nullptr && *root != '\0') {
    folders.emplace_back(fs::path(root) / "mnist");
  }
  folders.emplace_back("data/mnist");
  return folders;
}

LoadedData load_data(const DataOptions& options, std::uint64_t seed, int threads) {
  LoadedData loaded = load_source(options, threads);
  data::DataPair& pair = loaded.pair;
  if (options.validation > 0) {
    const data::Split split = data::split_validation(pair.train, options.validation, seed);
    pair.train = split.train;
    pair.test = split.validation;
    pair.test_normalization = pair.train_normalization;
  }
  if (options.normalize.train) {
    pair.train_normalization = *options.normalize.train;
    pair.test_normalization = *options.normalize.train;
  }
  if (options.normalize.test) {
    pair.test_normalization = *options.normalize.test;
  }
  return loaded;
}

}  // namespace gentrain::trainers
