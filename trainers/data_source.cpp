// Choosing and loading data sets.
#include "trainers/data_source.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/backoff.h"
#include "comm/shards.h"
#include "core/data/digits.h"
#include "core/data/faces.h"
#include "core/io/cache.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "trainers/face_preparation.h"
#include "trainers/face_source.h"
#include "trainers/image_source.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

/// Draws this rank's part of a set and fetches the others'.
data::DrawnDigits drawn(const DataOptions& options, data::DigitSet set, std::int64_t count,
                        int threads, comm::Communicator& communicator) {
  data::DrawnDigits digits(count);
  std::vector<comm::Bytes> pixels;
  std::vector<comm::Bytes> labels;
  const std::size_t pixel_bytes = digits.pixels.size / digits.labels.size();
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const comm::Range part = comm::part_of(count, communicator.size(), rank);
    const auto first = static_cast<std::size_t>(part.first);
    const auto size = static_cast<std::size_t>(part.size());
    pixels.push_back({digits.pixels.data.get() + first * pixel_bytes, size * pixel_bytes});
    labels.push_back({digits.labels.data() + first, size * sizeof(std::int32_t)});
  }
  const comm::Range mine = comm::part_of(count, communicator.size(), communicator.rank());
  data::draw_digits(options.seed, set, mine.first, mine.last, threads, digits);
  const int tag = communicator.reserve_tags(2, false);
  const auto pixels_here = communicator.all_gather(pixels, tag);
  const auto labels_here = communicator.all_gather(labels, tag + 1);
  for (comm::Backoff backoff; !pixels_here->poll() || !labels_here->poll();) {
    backoff.pause();
  }
  return digits;
}

data::DataPair digits(const DataOptions& options, int threads, comm::Communicator& communicator) {
  return data::digits_pair(
      drawn(options, data::DigitSet::kTrain, options.train_count, threads, communicator),
      drawn(options, data::DigitSet::kTest, options.test_count, threads, communicator));
}

/// Sources that a model chooses where the job leaves it open: faces for srgan.
LoadedData load_face_source(const TrainOptions& options, int threads,
                            comm::Communicator& communicator) {
  if (takes_photographs(options, communicator)) {
    return load_faces(options.data, threads, communicator);
  }
  const DataOptions& data = options.data;
  LoadedData drawn;
  drawn.pair = data::make_faces(data.seed, data.train_count, data.test_count, threads);
  if (data.source == DataOptions::Source::kAuto) {
    drawn.note = fmt::format("photographs of faces were not found in {}: taking drawn faces",
                             joined(photograph_folders(data)));
  }
  return drawn;
}

/// Whether data.path holds no test set and nothing else says what stands for it.
bool sets_aside_by_itself(const DataOptions& options, const data::DataPair& pair) {
  return !options.path.empty() && pair.test == nullptr && options.validation == 0;
}

LoadedData load_source(const TrainOptions& job, int threads, comm::Communicator& communicator) {
  using Source = DataOptions::Source;
  const DataOptions& options = job.data;
  if (options.source == Source::kHdf5) {
    return {data::load_hdf5(options.train_file, options.test_file), "", {}, ""};
  }
  if (options.source == Source::kFolder) {
    ImagePair images = load_images(options, threads, communicator);
    const std::int64_t taken =
        images.pair.train->size() + (images.pair.test ? images.pair.test->size() : 0);
    std::string note = left_out_note(images.left_out, taken + std::ssize(images.left_out));
    if (sets_aside_by_itself(options, images.pair)) {
      note += fmt::format(
          "{}data.path: {} holds no folder validation, val or test: {:.0f} % of the "
          "training images are set aside",
          note.empty() ? "" : "; ", options.path, 100 * kSetAside);
    }
    return {std::move(images.pair), std::move(note), std::move(images.left_out),
            std::move(images.chosen)};
  }
  if (options.source == Source::kFaces || options.source == Source::kLfw ||
      (options.source == Source::kAuto && is_srgan(job.model))) {
    return load_face_source(job, threads, communicator);
  }
  if (options.source == Source::kDigits) {
    return {digits(options, threads, communicator), "", {}, ""};
  }
  const std::vector<fs::path> folders = mnist_folders(options);
  const fs::path folder = find_folder(folders, "train-images-idx3-ubyte");
  bool wanted = options.source == Source::kMnist || !folder.empty();
  communicator.broadcast({&wanted, sizeof wanted}, 0);
  if (!wanted) {
    return {digits(options, threads, communicator),
            fmt::format("MNIST was not found in {}: taking the built-in digits", joined(folders)),
            {},
            ""};
  }
  if (folder.empty()) {
    throw IoError(fmt::format(
        "MNIST is not there: train-images-idx3-ubyte (or .gz) was looked for in {}. Put the four "
        "idx files into one of them, set GENTRAIN_DATA or data.folder, or take data.source: digits",
        joined(folders)));
  }
  return {data::load_mnist(folder), "", {}, ""};
}

}  // namespace

std::vector<fs::path> data_folders(const DataOptions& options, const char* name) {
  if (!options.folder.empty()) {
    return {options.folder};
  }
  std::vector<fs::path> folders;
  if (const char* root = std::getenv("GENTRAIN_DATA"); root != nullptr && *root != '\0') {
    folders.emplace_back(fs::path(root) / name);
  }
  folders.emplace_back(fs::path("data") / name);
  return folders;
}

fs::path cache_folder(const DataOptions& options) {
  return options.cache.empty() ? io::default_cache_folder() : fs::path(options.cache);
}

std::vector<fs::path> mnist_folders(const DataOptions& options) {
  return data_folders(options, "mnist");
}

std::filesystem::path find_folder(const std::vector<fs::path>& folders, const char* file) {
  const auto found = std::find_if(folders.begin(), folders.end(), [file](const fs::path& folder) {
    return data::idx_exists(folder / file);
  });
  return found == folders.end() ? fs::path() : *found;
}

std::string joined(const std::vector<fs::path>& folders) {
  std::vector<std::string> names;
  names.reserve(folders.size());
  for (const fs::path& folder : folders) {
    names.push_back(folder.string());
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

LoadedData load_data(const TrainOptions& job, int threads, comm::Communicator& communicator) {
  const DataOptions& options = job.data;
  LoadedData loaded = load_source(job, threads, communicator);
  data::DataPair& pair = loaded.pair;
  const double set_aside = sets_aside_by_itself(options, pair) ? kSetAside : options.validation;
  if (set_aside > 0) {
    const data::Split split =
        data::split_validation(pair.train, set_aside, options.validation_seed.value_or(job.seed));
    loaded.whole = pair.train;
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
  check_normalization(pair.train_normalization, "data.normalize.train");
  check_normalization(pair.test_normalization, "data.normalize.test");
  return loaded;
}

std::string data_identity(const data::Dataset& dataset) {
  constexpr std::int64_t kMost = 256;
  io::Sha256 hash;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(dataset.sample_shape().elements()));
  const std::int64_t taken = std::min(dataset.size(), kMost);
  for (std::int64_t i = 0; i < taken; ++i) {
    const std::int64_t index = i * dataset.size() / taken;
    dataset.read(index, pixels.data());
    const std::int32_t label = dataset.label(index);
    hash.update(pixels.data(), pixels.size());
    hash.update(&label, sizeof label);
  }
  return fmt::format("{} of {} in {} classes, hash {}", dataset.size(),
                     dataset.sample_shape().str(), dataset.classes(), hash.finish().substr(0, 16));
}

std::string data_identity(const data::DataPair& pair) {
  const auto constants = [](const data::Normalization& n) {
    return fmt::format("mean {} std {}", n.mean, n.stddev);
  };
  return fmt::format("{}, {} and {}, {}", data_identity(*pair.train),
                     constants(pair.train_normalization), data_identity(*pair.test),
                     constants(pair.test_normalization));
}

void check_normalization(const data::Normalization& normalization, const std::string& name) {
  const auto factor = static_cast<float>(normalization.factor());
  const auto shift = static_cast<float>(normalization.shift());
  if (!std::isfinite(factor * 255.0F + shift) || !std::isfinite(shift)) {
    throw JobError(fmt::format("{}: mean {} and std {} give pixels that are not finite", name,
                               normalization.mean, normalization.stddev));
  }
}

void check_pixels_are_probabilities(const data::DataPair& pair) {
  for (const data::Normalization& n : {pair.train_normalization, pair.test_normalization}) {
    if (n.mean != 0 || n.stddev < 1) {
      throw JobError(
          fmt::format("model vae takes pixels in 0..1, but they become (x - {}) / {}: set "
                      "data.normalize.train: {{mean: 0, std: 1}}",
                      n.mean, n.stddev));
    }
  }
}

void check_pixels_are_signed(const data::DataPair& pair, const std::string& model) {
  for (const data::Normalization& n : {pair.train_normalization, pair.test_normalization}) {
    if (n.mean != 0.5 || n.stddev != 0.5) {
      throw JobError(
          fmt::format("model {} takes pixels in -1..1, but they become (x - {}) / {}: set "
                      "data.normalize.train: {{mean: 0.5, std: 0.5}}",
                      model, n.mean, n.stddev));
    }
  }
}

}  // namespace gentrain::trainers
