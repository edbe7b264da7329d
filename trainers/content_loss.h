// How like the originals generated images are: by the maps that a network has of both, and pixel by
// pixel.
// Source: Johnson et al. 2016, arXiv:1603.08155; Ledig et al. 2017, arXiv:1609.04802.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/context.h"
#include "trainers/map_cache.h"
#include "trainers/models/options.h"
#include "trainers/models/vgg.h"

namespace gentrain::trainers {

class TrainingRun;

/// Of pixels until set() or prepare() gives it a network.
class ContentLoss {
 public:
  /// Makes the network, the maps' scales and, with content.cache, the files' keeper as the run's
  /// job says. Collective. Throws JobError, IoError (see VggFeatures; if no file has all layers
  /// that the maps need, naming those that were looked at; if no map can be kept).
  void prepare(TrainingRun& run);
  /// Images are compared by these maps of a network that has its weights, and by their pixels,
  /// each mean squared difference times its weight: what prepare() takes from the job.
  void set(std::unique_ptr<VggFeatures> features, std::vector<VggMap> maps,
           std::vector<double> map_weights, double pixel_weight);

  /// The network's weights as a text; "" of pixels.
  [[nodiscard]] std::string identity() const;
  /// Where they are from, and the maps' scales.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  /// Multiply-adds of the network forward over one image of h x w pixels; 0 of pixels.
  [[nodiscard]] double products(std::int64_t h, std::int64_t w) const;

  /// The generated images [n, h, w, 3] as each comparison sees them: with histories of their own,
  /// so that a gradient can be told from the other.
  struct Images {
    Tensor for_maps, for_pixels;
  };
  struct Result {
    Tensor loss;      // []: both sums times `scale`, with the history
    double maps = 0;  // sums over the images, weighted; 0 where nothing is compared so
    double pixels = 0;
  };
  /// original [n, h, w, 3]: what the images are to be like. With content.cache its maps come from
  /// files where they are kept.
  Result compute(Context& context, const Images& made, const Tensor& original, double scale) const;

 private:
  void find_scales(TrainingRun& run);
  void make_cache(TrainingRun& run);
  std::string identity_of_maps(TrainingRun& run) const;

  std::unique_ptr<VggFeatures> features_;  // null: only pixels are compared
  std::vector<VggMap> maps_;
  std::vector<double> map_weights_;  // divided by the maps' scales
  double pixel_weight_ = 1;
  std::vector<std::string> notes_;
  std::unique_ptr<MapCache> cache_;  // of originals; null: their maps are computed in each step
};

}  // namespace gentrain::trainers
