// Images of any size enlarged by SRGAN's generator. They are cut into tiles that see everything
// their results depend on, so that no seam shows and memory does not grow with the image's height.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/data/dataset.h"
#include "core/image/image.h"
#include "core/image/png_writer.h"
#include "core/image/tiles.h"
#include "trainers/models/srgan.h"
#include "trainers/step.h"

namespace gentrain::trainers {

/// An image file, and the PNG file that its enlargement becomes.
struct UpscaleFile {
  std::filesystem::path from;
  std::filesystem::path to;
};

/// What became of one.
struct UpscaleReport {
  std::int64_t h = 0;  // of the image as it was read
  std::int64_t w = 0;
  double seconds = 0;
  std::string error;  // why there is no enlargement; empty if there is one
};

/// Who is told how it goes. Called by workers, one at a time; may be empty.
struct UpscaleWatch {
  std::function<void(std::size_t file, const UpscaleReport& report)> finished;
  /// Tiles of one image, where all workers share it.
  std::function<void(std::int64_t done, std::int64_t all)> tile;
};

/// Enlarges images on the workers of one rank. The bytes of a result are a function of the image,
/// the weights and the contract.
class Upscaler {
 public:
  /// Rows and columns that a tile has at most, where `tile` is 0: 192, or four times the
  /// generator's reach if that is more.
  Upscaler(StepRunner& runner, const Generator& generator, const data::Normalization& normalization,
           std::int64_t tile = 0);

  /// Each file in turn: small ones a worker each, large ones by all workers. IoErrors are reports:
  /// of a file that cannot be read (see image::decode_image) or written, or whose enlargement would
  /// have more than image::kMostExtent rows or columns. Throws NumericError naming the file if a
  /// result is not finite.
  std::vector<UpscaleReport> run(std::span<const UpscaleFile> files, const UpscaleWatch& watch);

 private:
  class Source;
  struct Band;
  /// Calls a piece of work for each number below `count`, on one worker or on all.
  using Work = std::function<void(std::int64_t item, Worker& worker)>;
  using ForEach = std::function<void(std::int64_t count, const Work& work)>;
  struct Hands {
    ForEach each;
    int workers = 1;
    std::function<void(std::int64_t done, std::int64_t all)> tile;  // or empty
  };

  [[nodiscard]] bool is_for_one(const Source& source, std::size_t files) const;
  void enlarge(const Source& source, const std::filesystem::path& to, const Hands& hands);
  void compute(Worker& worker, const Source& source, const image::TileSpan& rows,
               const image::TileSpan& columns, Band& band) const;
  void on_all_workers(std::int64_t count, const Work& work);

  StepRunner& runner_;
  const Generator& generator_;
  data::Normalization normalization_;
  std::int64_t tile_;
  std::mutex watching_;
};

/// What became of all files.
struct UpscaleSummary {
  std::vector<UpscaleReport> reports;  // by file
  double peak_rss_mib = 0;             // of the largest rank
};

/// Shares the files out over the ranks: file i is rank i mod ranks'. `watch` is told of this rank's
/// own, by their numbers among all. Collective; throws as Upscaler::run().
UpscaleSummary upscale(comm::Communicator& communicator, Upscaler& upscaler,
                       std::span<const UpscaleFile> files, const UpscaleWatch& watch);

}  // namespace gentrain::trainers
