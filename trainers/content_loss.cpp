// The content loss: its network, the scales of its maps, the loss itself.
#include "trainers/content_loss.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/shards.h"
#include "core/io/keras_weights.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "trainers/contract.h"
#include "trainers/data_source.h"
#include "trainers/model_io.h"
#include "trainers/training.h"
#include "trainers/units.h"
#include "trainers/weight_files.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kContentKey = 0x434F4E54;
constexpr std::int64_t kScaleImages = 256;  // that maps are scaled by

/// What files of a network's weights are called.
struct WeightNames {
  const char* begin;      // of those that are looked for
  const char* published;  // Keras's own
};

WeightNames weight_names(bool vgg19) {
  return vgg19 ? WeightNames{"vgg19", "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"}
               : WeightNames{"vgg16", "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"};
}

struct FoundWeights {
  fs::path file;
  std::unique_ptr<io::KerasWeights> content;
};

/// A file that has all layers of the network; null of another one, and to `passed_over` what is
/// wrong with it.
std::unique_ptr<io::KerasWeights> open_if_whole(const fs::path& file, const VggFeatures& features,
                                                std::vector<std::string>& passed_over) {
  try {
    auto content = std::make_unique<io::KerasWeights>(file);
    const std::vector<std::string> missing = features.missing_in(*content);
    if (missing.empty()) {
      return content;
    }
    passed_over.push_back(fmt::format("{} lacks {}", file.string(), fmt::join(missing, ", ")));
  } catch (const IoError& error) {
    passed_over.emplace_back(error.what());
  }
  return nullptr;
}

/// Of the first folder in which a file has all layers of the network the first such file.
FoundWeights find_weights(const VggFeatures& features, const WeightNames& names) {
  const std::vector<fs::path> folders = data_folders({}, "weights");
  std::vector<std::string> passed_over;
  for (const fs::path& folder : folders) {
    for (const fs::path& file : weight_files(folder, names.begin)) {
      if (auto content = open_if_whole(file, features, passed_over)) {
        return {file, std::move(content)};
      }
    }
  }
  if (passed_over.empty()) {
    throw IoError(fmt::format(
        "the weights of the content loss are not there: {}*.h5 was looked for in {}. Put the file "
        "of Keras Applications ({}) into one of them, set GENTRAIN_DATA or content.weights, or "
        "take content.weights: random, which have learned nothing",
        names.begin, joined(folders), names.published));
  }
  throw IoError(fmt::format(
      "content.weights: no {}*.h5 in {} has all layers that content.maps need: {}. Put the whole "
      "file of Keras Applications ({}) into one of them, name another one, or take maps of "
      "earlier layers",
      names.begin, joined(folders), fmt::join(passed_over, "; "), names.published));
}

/// Images of shards: of those of a full batch, and of an epoch's last one.
std::vector<std::int64_t> shard_sizes(const LoopOptions& loop, std::int64_t shards) {
  std::set<std::int64_t> sizes;
  for (const std::int64_t batch :
       {std::min(loop.batch_images, loop.samples), loop.samples % loop.batch_images}) {
    for (std::int64_t shard = 0; shard < shards; ++shard) {
      sizes.insert(comm::part_of(batch, shards, shard).size());
    }
  }
  sizes.erase(0);
  return {sizes.begin(), sizes.end()};
}

std::string text_of(const MapCache& cache, const fs::path& folder, std::int64_t images) {
  const double size = mib(cache.bytes_of_image());
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  return fmt::format(
      "content: maps of training images are kept in {}: {:.2f} MiB each, {:.1f} MiB for all of "
      "{}{}",
      folder.string(), size, size * static_cast<double>(images), with_commas(images),
      error ? ""
            : fmt::format("; {:.1f} MiB are free there",
                          static_cast<double>(space.available) / kMib));
}

}  // namespace

void ContentLoss::prepare(TrainingRun& run) {
  const ContentOptions& content = run.options().content;
  if (content.network == ContentOptions::Network::kPixels) {
    return;
  }
  const bool vgg19 = content.network == ContentOptions::Network::kVgg19;
  std::vector<VggMap> maps;
  for (const std::string& layer : content_maps(content)) {
    maps.push_back({layer, content.before_activation});
  }
  const bool caffe = content.preprocess == ContentOptions::Preprocess::kCaffe;
  auto features = std::make_unique<VggFeatures>(vgg19 ? VggNet::kVgg19 : VggNet::kVgg16, maps,
                                                caffe ? VggInput::kCaffe : VggInput::kAsIs);
  features->keep_in(run.share_frozen(
      static_cast<std::size_t>(features->parameters().arena_elements()) * sizeof(float)));
  Queue& queue = run.runner().queue();
  if (content.weights == "random") {
    features->initialize(run.device(), queue, RngKey(run.options().seed).fold(kContentKey));
    notes_.emplace_back("content: weights drawn at random");
  } else {
    const FoundWeights weights =
        content.weights.empty()
            ? find_weights(*features, weight_names(vgg19))
            : FoundWeights{content.weights, std::make_unique<io::KerasWeights>(content.weights)};
    features->load(run.device(), queue, *weights.content);
    notes_.push_back(
        fmt::format("content: weights of {} ({})", weights.file.string(), features->file_sha256()));
  }
  check_equal_on_all_ranks(run.communicator(), [&]() -> std::vector<NamedText> {
    return {{"content.weights", features->file_sha256()}};
  });
  std::vector<double> weights = content.map_weights;
  weights.resize(maps.size(), 1.0);
  set(std::move(features), std::move(maps), std::move(weights), content.pixel_weight);
  if (content.scale == ContentOptions::Scale::kMeanSquare) {
    find_scales(run);
  }
  if (content.cache) {
    make_cache(run);
  }
}

void ContentLoss::set(std::unique_ptr<VggFeatures> features, std::vector<VggMap> maps,
                      std::vector<double> map_weights, double pixel_weight) {
  features_ = std::move(features);
  maps_ = std::move(maps);
  map_weights_ = std::move(map_weights);
  pixel_weight_ = pixel_weight;
  cache_.reset();
}

/// Divides the maps' weights by their mean squares over training images.
void ContentLoss::find_scales(TrainingRun& run) {
  const data::DataPair& data = run.data();
  std::vector<std::int64_t> first(
      static_cast<std::size_t>(std::min(kScaleImages, data.train->size())));
  std::iota(first.begin(), first.end(), std::int64_t{0});
  const auto part = data::subset(data.train, std::move(first));
  const std::vector<double> sums = sum_over_chunks(
      run.communicator(), run.runner(), {*part, data.train_normalization, run.evaluation_chunk()},
      maps_.size(), [&](Context& context, const Tensor& x, const Tensor& /*labels*/) {
        std::vector<double> squares;
        for (const Tensor& map : features_->forward(context, x, maps_)) {
          const double elements =
              static_cast<double>(map.elements()) / static_cast<double>(x.shape()[0]);
          squares.push_back(sum_of(context, ops::squared_error(context, map, 0.0, 1.0).rows) /
                            elements);
        }
        return squares;
      });
  for (std::size_t i = 0; i < maps_.size(); ++i) {
    const double scale = sums[i] / static_cast<double>(part->size());
    if (!(scale > 0)) {
      throw JobError(fmt::format("content.maps: {} is zero on all of {} training images",
                                 maps_[i].layer, part->size()));
    }
    map_weights_[i] /= scale;
    notes_.push_back(fmt::format("content: {} divided by its mean square {:.6g} over {} images",
                                 maps_[i].layer, scale, part->size()));
  }
}

/// All that the maps depend on beside the image: the program's own kernels too.
std::string ContentLoss::identity_of_maps(TrainingRun& run) const {
  const DeviceIdentity& device = run.device().identity();
  const bool caffe = run.options().content.preprocess == ContentOptions::Preprocess::kCaffe;
  std::string text =
      fmt::format("content maps, program {}, {} {}, {}, {}, weights {}, {}", program_hash(),
                  device.kind, device.isa, device.libraries, name_of(run.options().precision),
                  weights_sha256(run.device(), run.runner().queue(), features_->parameters()),
                  caffe ? "caffe" : "as they are");
  for (const VggMap& map : maps_) {
    text += fmt::format(", {}{}", map.layer, map.before_activation ? " before activation" : "");
  }
  return text;
}

/// Each rank keeps the maps of an image of its own at once: where that fails nobody is to learn it
/// hours later.
void ContentLoss::make_cache(TrainingRun& run) {
  const data::DataPair& data = run.data();
  Context context{run.device(), run.runner().queue(), nullptr, true, {}};
  context.bf16 = run.options().precision == Precision::kBf16Emulated;
  const auto compute = [features = features_.get(), maps = maps_](Context& with,
                                                                  const Tensor& images) {
    return features->forward(with, images, maps);
  };
  const std::int64_t first = run.communicator().rank() % data.train->size();
  const std::array<std::int64_t, 2> indices{first, (first + 1) % data.train->size()};
  const Tensor two = read_images(context, *data.train, data.train_normalization, indices);
  if (run.communicator().rank() == 0) {  // the others have the same kernels
    check_images_are_independent(context, two,
                                 shard_sizes(run.loop_options(), run.options().batch.shards),
                                 compute, "content.cache");
  }
  std::vector<Shape> shapes;
  for (const Tensor& map : compute(context, two)) {
    shapes.emplace_back(map.shape().extents().subspan(1));
  }
  fs::path folder;
  try {
    folder = cache_folder(run.options().data);
    cache_ = std::make_unique<MapCache>(folder, identity_of_maps(run), std::move(shapes), compute);
    const auto image = two.shape().extents();
    cache_->keep(context, two.slice(0, {1, image[1], image[2], image[3]}));
  } catch (const IoError& error) {
    throw IoError(fmt::format(
        "data.cache: maps cannot be kept: {}; name another folder, or set content.cache to false",
        error.what()));
  }
  notes_.push_back(text_of(*cache_, folder, data.train->size()));
}

std::string ContentLoss::identity() const {
  if (features_ == nullptr) {
    return "";
  }
  return features_->file_sha256().empty() ? "content weights drawn at random"
                                          : "content weights " + features_->file_sha256();
}

double ContentLoss::products(std::int64_t h, std::int64_t w) const {
  return features_ == nullptr ? 0.0 : features_->products(h, w);
}

ContentLoss::Result ContentLoss::compute(Context& context, const Images& made,
                                         const Tensor& original, double scale) const {
  Result result;
  const auto compare = [&](const Tensor& a, const Tensor& b, double weight) {
    const double elements = static_cast<double>(a.elements()) / static_cast<double>(a.shape()[0]);
    const ops::SquaredError error = ops::squared_error(context, a, b, weight / elements * scale);
    result.loss = result.loss.defined() ? ops::add(context, result.loss, error.loss) : error.loss;
    return weight / elements * sum_of(context, error.rows);
  };
  if (features_ != nullptr) {
    Context constants = context;
    constants.tape = nullptr;
    const std::vector<Tensor> targets = cache_ != nullptr
                                            ? cache_->get(constants, original)
                                            : features_->forward(constants, original, maps_);
    const std::vector<Tensor> maps = features_->forward(context, made.for_maps, maps_);
    for (std::size_t i = 0; i < maps.size(); ++i) {
      result.maps += compare(maps[i], targets[i], map_weights_[i]);
    }
  }
  if (pixel_weight_ > 0) {
    result.pixels = compare(made.for_pixels, original, pixel_weight_);
  }
  return result;
}

}  // namespace gentrain::trainers
