// How like photographs the images of SRGAN generators are: PSNR, the Laplacian's energy (that of
// the photographs in brackets) and, what evaluations do not tell, the mean squared differences of
// VGG19's maps, each divided by the map's mean square over the photographs.
//
// usage: srgan_quality VGG19.h5 PACK.h5 MODEL...
//
// Models or checkpoints of jobs/srgan.yaml, whose generator has no blur and no averages.
//
// PACK.h5 holds the photographs, such as the test set that a run of jobs/srgan.yaml keeps in its
// cache. A line for each model; all maps that the weights' file has.
#include <algorithm>
#include <exception>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/data/dataset.h"
#include "core/image/pack.h"
#include "core/io/keras_weights.h"
#include "core/ops/ops.h"
#include "tests/support/workbench.h"
#include "trainers/image_quality.h"
#include "trainers/image_source.h"
#include "trainers/model_io.h"
#include "trainers/objective.h"
#include "trainers/pictures.h"
#include "trainers/srgan.h"

namespace gentrain::trainers {
namespace {

const std::vector<std::string> kMaps = {"block1_conv2", "block2_conv2", "block3_conv4",
                                        "block4_conv4", "block5_conv4"};

/// VGG19 down to the deepest of the maps that a file of weights has.
class Judge {
 public:
  Judge(const test::Workbench& bench, const std::string& file) {
    const io::KerasWeights weights(file);
    for (const std::string& layer : kMaps) {
      maps_.push_back({layer});
      if (!VggFeatures(VggNet::kVgg19, maps_).missing_in(weights).empty()) {
        maps_.pop_back();
        break;
      }
    }
    features_ = std::make_unique<VggFeatures>(VggNet::kVgg19, maps_, VggInput::kCaffe);
    features_->load(bench.device(), bench.queue(), weights);
  }

  [[nodiscard]] const std::vector<VggMap>& maps() const { return maps_; }

  /// Adds the squared differences from the maps of the photographs x, and the squares of these.
  void compare(Context& context, const Tensor& made, const Tensor& x,
               std::vector<double>& differences, std::vector<double>& squares) const {
    const std::vector<Tensor> targets = features_->forward(context, x, maps_);
    const std::vector<Tensor> maps = features_->forward(context, made, maps_);
    for (std::size_t i = 0; i < maps.size(); ++i) {
      differences[i] += sum_of(context, ops::squared_error(context, maps[i], targets[i], 1.0).rows);
      squares[i] += sum_of(context, ops::squared_error(context, targets[i], 0.0, 1.0).rows);
    }
  }

 private:
  std::vector<VggMap> maps_;
  std::unique_ptr<VggFeatures> features_;
};

void judge(const test::Workbench& bench, const Judge& judge, const data::Dataset& photographs,
           const std::string& model) {
  constexpr std::int64_t kChunk = 8;
  ParameterSet parameters;
  const Srgan srgan({}, {}, photographs.sample_shape(), parameters);
  parameters.allocate(bench.device(), bench.queue(), DType::kF32);
  init_from({model, {Pattern{"generator/*", ""}}}, bench.device(), bench.queue(), parameters);
  Context context{bench.device(), bench.queue(), nullptr, false, {}};
  std::vector<double> differences(judge.maps().size());
  std::vector<double> squares(judge.maps().size());
  double ratio = 0;
  double energy = 0;
  double energy_of_photographs = 0;
  for (std::int64_t first = 0; first < photographs.size(); first += kChunk) {
    std::vector<std::int64_t> indices(
        static_cast<std::size_t>(std::min(kChunk, photographs.size() - first)));
    std::iota(indices.begin(), indices.end(), first);
    const Tensor x = read_images(context, photographs, kImageNormalization, indices);
    const Tensor low = ops::average_pool2d(context, x, {kUpscale, kUpscale}, {kUpscale, kUpscale});
    const Tensor made = srgan.generator().forward(context, low);
    judge.compare(context, made, x, differences, squares);
    const std::vector<image::Image> images = images_of(context, made, -1);
    const std::vector<image::Image> originals = images_of(context, x, -1);
    for (std::size_t i = 0; i < images.size(); ++i) {
      ratio += psnr(images[i], originals[i]);
      energy += laplacian_energy(images[i]);
      energy_of_photographs += laplacian_energy(originals[i]);
    }
  }
  const auto count = static_cast<double>(photographs.size());
  fmt::print("{}: psnr {:.2f} laplacian {:.1f} ({:.1f})", model, ratio / count, energy / count,
             energy_of_photographs / count);
  for (std::size_t i = 0; i < differences.size(); ++i) {
    fmt::print(" {} {:.4f}", judge.maps()[i].layer, differences[i] / squares[i]);
  }
  fmt::print("\n");
}

void judge_all(const std::vector<std::string>& arguments) {
  const test::Workbench bench(test::cpu_device());
  const Judge by(bench, arguments.at(0));
  const image::ImageSet pack = image::open_pack(arguments.at(1), image::FitOptions{});
  for (std::size_t i = 2; i < arguments.size(); ++i) {
    judge(bench, by, *pack.samples, arguments[i]);
  }
}

}  // namespace
}  // namespace gentrain::trainers

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: srgan_quality VGG19.h5 PACK.h5 MODEL...\n");
    return 2;
  }
  try {
    gentrain::trainers::judge_all({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
