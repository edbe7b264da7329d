// Upscaler: rows of tiles become bands of rows of the result; while one is computed, the one before
// is encoded.
#include "trainers/upscale.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/image/format.h"
#include "core/io/posix_file.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/json_members.h"
#include "trainers/models/preprocessing.h"
#include "trainers/objective.h"
#include "trainers/pictures.h"
#include "trainers/preflight.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace {

namespace fs = std::filesystem;

/// Larger tiles look at fewer pixels twice, smaller ones take less memory. MPixel of result a
/// second on one core (Zen 3) and MiB a worker, at the width and depth of the book: 0.72 and 44
/// with 96, 0.83 and 67 with 128, 0.86 and 132 with 192, 0.97 and 224 with 256.
constexpr std::int64_t kTile = 192;
/// A worker computes an image of up to so many pixels alone where there are enough others.
constexpr std::int64_t kPixelsAlone = std::int64_t{1} << 20;

}  // namespace

/// A file that has been looked at, and its pixels once they are needed.
class Upscaler::Source {
 public:
  /// Throws IoError.
  explicit Source(const fs::path& path)
      : name_(path.string()), file_(io::read_file(path)), info_(image::inspect(bytes(), name_)) {
    constexpr std::int64_t kMost = image::kMostExtent / kUpscale;
    if (info_.h > kMost || info_.w > kMost) {
      throw IoError(
          fmt::format("{}: {} x {} pixels, but images of up to {} rows and columns can be "
                      "enlarged",
                      name_, info_.h, info_.w, kMost));
    }
  }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const image::ImageInfo& info() const { return info_; }
  [[nodiscard]] const image::Image& image() const { return image_; }
  /// The file itself is not kept. Throws IoError.
  void decode() {
    const progress::Flush decoding;  // as long: one call, and the image may have 2^27 pixels
    image_ = image::decode_image(bytes(), name_);
    file_ = {};
  }

 private:
  [[nodiscard]] std::span<const std::uint8_t> bytes() const {
    return {file_.data.get(), file_.size};
  }

  std::string name_;
  io::Bytes file_;
  image::ImageInfo info_;
  image::Image image_;
};

/// Rows of the result, from `first` on.
struct Upscaler::Band {
  std::int64_t first = 0;
  std::vector<std::uint8_t> pixels;
};

Upscaler::Upscaler(StepRunner& runner, const Generator& generator,
                   const data::Normalization& normalization, std::int64_t tile)
    : runner_(runner),
      generator_(generator),
      normalization_(normalization),
      tile_(tile > 0 ? tile : std::max(kTile, 4 * generator.reach())) {}

bool Upscaler::is_for_one(const Source& source, std::size_t files) const {
  const image::ImageInfo& info = source.info();
  const bool is_tile = info.h <= tile_ && info.w <= tile_;
  const bool enough = files >= 2 * static_cast<std::size_t>(runner_.pool().workers());
  return is_tile || (enough && info.h * info.w <= kPixelsAlone);
}

void Upscaler::on_all_workers(std::int64_t count, const Work& work) {
  WorkerPool& pool = runner_.pool();
  std::atomic<std::int64_t> next{0};
  pool.run([&](int worker) {
    while (!pool.failed()) {
      const std::int64_t item = next.fetch_add(1, std::memory_order_relaxed);
      if (item >= count) {
        return;
      }
      work(item, runner_.worker(worker));
    }
  });
}

std::vector<UpscaleReport> Upscaler::run(std::span<const UpscaleFile> files,
                                         const UpscaleWatch& watch) {
  std::vector<UpscaleReport> reports(files.size());
  // The file is computed on `hands`, or not if it is put aside.
  const auto try_file = [&](std::size_t i, const Hands& hands, bool may_put_aside) {
    UpscaleReport& report = reports[i];
    const auto start = std::chrono::steady_clock::now();
    try {
      Source source(files[i].from);
      if (may_put_aside && !is_for_one(source, files.size())) {
        return false;
      }
      source.decode();
      report.h = source.image().h;
      report.w = source.image().w;
      enlarge(source, files[i].to, hands);
    } catch (const IoError& error) {
      report.error = error.what();
    }
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (const std::lock_guard lock(watching_); watch.finished) {
      watch.finished(i, report);
    }
    return true;
  };
  std::vector<std::uint8_t> is_done(files.size());  // one byte each: workers write side by side
  on_all_workers(std::ssize(files), [&](std::int64_t item, Worker& worker) {
    const auto each = [&worker](std::int64_t count, const Work& work) {
      for (std::int64_t i = 0; i < count; ++i) {
        work(i, worker);
      }
    };
    const auto i = static_cast<std::size_t>(item);
    is_done[i] = try_file(i, {each, 1, {}}, true) ? 1 : 0;
  });
  const Hands all{[this](std::int64_t count, const Work& work) { on_all_workers(count, work); },
                  runner_.pool().workers(), watch.tile};
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (is_done[i] == 0) {
      try_file(i, all, false);
    }
  }
  return reports;
}

void Upscaler::enlarge(const Source& source, const fs::path& to, const Hands& hands) {
  const image::Image& low = source.image();
  const auto rows = image::cut_into_tiles(low.h, generator_.reach(), tile_);
  const auto columns = image::cut_into_tiles(low.w, generator_.reach(), tile_);
  const std::int64_t across = std::ssize(columns);
  // Enough tiles at a time that workers seldom wait for the last of them.
  constexpr std::int64_t kTilesOfWorker = 4;
  const std::int64_t together =
      hands.workers == 1 ? 1 : (kTilesOfWorker * hands.workers + across - 1) / across;
  image::PngWriter out(to, kUpscale * low.h, kUpscale * low.w);
  Band before;
  Band now;
  std::int64_t done = 0;
  for (std::int64_t top = 0; top < std::ssize(rows); top += together) {
    const auto group = std::span(rows).subspan(
        static_cast<std::size_t>(top),
        static_cast<std::size_t>(std::min(together, std::ssize(rows) - top)));
    now.first = kUpscale * group.front().kept_first;
    now.pixels.resize(static_cast<std::size_t>((kUpscale * group.back().kept_last - now.first) *
                                               kUpscale * low.w * kColours));
    hands.each(1 + std::ssize(group) * across, [&](std::int64_t item, Worker& worker) {
      if (item == 0) {
        out.write(before.pixels);
        return;
      }
      compute(worker, source, group[static_cast<std::size_t>((item - 1) / across)],
              columns[static_cast<std::size_t>((item - 1) % across)], now);
      if (const std::lock_guard lock(watching_); hands.tile) {
        hands.tile(++done, across * std::ssize(rows));
      }
    });
    std::swap(before, now);
  }
  out.write(before.pixels);
  out.finish();
}

void Upscaler::compute(Worker& worker, const Source& source, const image::TileSpan& rows,
                       const image::TileSpan& columns, Band& band) const {
  const image::Image& low = source.image();
  std::vector<std::uint8_t>& pixels = worker.batch.pixels;
  pixels.resize(static_cast<std::size_t>(rows.size() * columns.size() * kColours));
  for (std::int64_t y = rows.first; y < rows.last; ++y) {
    std::copy_n(low.pixels.begin() + (y * low.w + columns.first) * kColours,
                columns.size() * kColours,
                pixels.begin() + (y - rows.first) * columns.size() * kColours);
  }
  Context context{runner_.device(), *worker.queue, nullptr, false, {}};
  const Tensor made = generator_.forward(
      context, normalized_images(context, pixels, 1, {rows.size(), columns.size(), kColours},
                                 normalization_));
  if (!ops::all_finite(context, made)) {
    throw NumericError(fmt::format("{}: what the model makes of it is not finite", source.name()));
  }
  const std::vector<float> values = copy_to_host<float>(context.device, context.queue, made);
  const std::int64_t kept = kUpscale * (columns.kept_last - columns.kept_first) * kColours;
  for (std::int64_t y = kUpscale * rows.kept_first; y < kUpscale * rows.kept_last; ++y) {
    const auto from = values.begin() + kUpscale * kColours *
                                           ((y - kUpscale * rows.first) * columns.size() +
                                            columns.kept_first - columns.first);
    std::transform(
        from, from + kept,
        band.pixels.begin() + kUpscale * kColours * ((y - band.first) * low.w + columns.kept_first),
        [](float value) { return byte_of(value, -1); });
  }
}

UpscaleSummary upscale(comm::Communicator& communicator, Upscaler& upscaler,
                       std::span<const UpscaleFile> files, const UpscaleWatch& watch) {
  const comm::PhaseScope phase(communicator.activity(), comm::Phase::kEvaluating);
  const auto ranks = static_cast<std::size_t>(communicator.size());
  const auto rank = static_cast<std::size_t>(communicator.rank());
  std::vector<UpscaleFile> mine;
  for (std::size_t i = rank; i < files.size(); i += ranks) {
    mine.push_back(files[i]);
  }
  UpscaleWatch of_mine = watch;
  if (watch.finished) {
    of_mine.finished = [&](std::size_t i, const UpscaleReport& report) {
      watch.finished(rank + i * ranks, report);
    };
  }
  nlohmann::json told = nlohmann::json::array();
  for (const UpscaleReport& report : upscaler.run(mine, of_mine)) {
    told.push_back({report.h, report.w, report.seconds, report.error});
  }
  told.push_back(peak_rss_mib());
  UpscaleSummary summary;
  summary.reports.resize(files.size());
  // A file's name need not be UTF-8.
  const auto texts = communicator.all_gather_text(told.dump(-1, ' ', false, kReplace));
  for (std::size_t r = 0; r < ranks; ++r) {
    const nlohmann::json all = nlohmann::json::parse(texts[r]);
    for (std::size_t i = 0; i + 1 < all.size(); ++i) {
      summary.reports[r + i * ranks] = {all[i][0], all[i][1], all[i][2], all[i][3]};
    }
    summary.peak_rss_mib = std::max(summary.peak_rss_mib, all.back().get<double>());
  }
  return summary;
}

}  // namespace gentrain::trainers
