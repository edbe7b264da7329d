// Enlarging images: how far a pixel reaches, tiles against the whole image, the same bytes for any
// workers and ranks, files that cannot be read.
#include "trainers/upscale.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::HasSubstr;

/// A generator with weights drawn at random, its statistics too.
struct RandomGenerator {
  RandomGenerator(const test::Workbench& bench, DType dtype, const SrganOptions& options)
      : generator(options, {Initializer::Kind::kXavierUniform, 1}, parameters) {
    parameters.allocate(bench.device(), bench.queue(), dtype);
    parameters.initialize(bench.device(), bench.queue(), RngKey(3));
    for (int i = 0; i < parameters.size(); ++i) {
      const std::string& name = parameters.info(i).name;
      const Tensor target = parameters[i];
      if (name.ends_with("running_mean") || name.ends_with("running_var")) {
        Context context{bench.device(), bench.queue(), nullptr, false, {}};
        const Tensor drawn =
            bench.random(target.shape(), RngKey(static_cast<std::uint64_t>(i)), dtype, 0.1, 0.9);
        ops::copy(context, drawn, target);
      }
    }
    parameters.mark_changed();
  }

  ParameterSet parameters;
  Generator generator;
};

std::vector<double> made_of(const test::Workbench& bench, const Generator& generator,
                            const Tensor& low) {
  Context context{bench.device(), bench.queue(), nullptr, false, {}};
  return bench.values(generator.forward(context, low));
}

/// A changed pixel changes results up to `reach` rows and columns away, and none beyond.
TEST(Generators, ReachAsFarAsTheySay) {
  const test::Workbench bench(test::reference_device());
  for (const auto variant : {SrganOptions::Variant::kBook, SrganOptions::Variant::kPaper}) {
    const RandomGenerator random(bench, DType::kF64, {.variant = variant, .width = 4, .blocks = 1});
    const std::int64_t reach = random.generator.reach();
    EXPECT_EQ(reach, variant == SrganOptions::Variant::kBook ? 6 : 10);
    const std::int64_t side = 2 * reach + 3;
    const std::int64_t middle = reach + 1;
    std::vector<double> pixels = test::random_values(side * side * 3, RngKey(8));
    const auto before =
        made_of(bench, random.generator, bench.tensor({1, side, side, 3}, pixels, DType::kF64));
    pixels[static_cast<std::size_t>((middle * side + middle) * 3)] += 1;
    const auto after =
        made_of(bench, random.generator, bench.tensor({1, side, side, 3}, pixels, DType::kF64));
    std::int64_t farthest = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (after[i] != before[i]) {
        const std::int64_t pixel = static_cast<std::int64_t>(i) / 3;
        const std::int64_t y = pixel / (4 * side) / 4;
        const std::int64_t x = pixel % (4 * side) / 4;
        farthest = std::max({farthest, std::abs(y - middle), std::abs(x - middle)});
      }
    }
    EXPECT_EQ(farthest, reach);
  }
  ParameterSet set;
  EXPECT_EQ(Generator({}, {}, set).reach(), 14);
}

/// The largest difference between an image's results and those of its tiles.
double difference_of_tiles(std::int64_t h, std::int64_t w, std::int64_t reach_less) {
  const test::Workbench bench(test::cpu_device());
  const RandomGenerator random(bench, DType::kF32, {.width = 16, .blocks = 2});
  const std::int64_t reach = random.generator.reach() - reach_less;
  const std::vector<double> pixels = test::random_values(h * w * 3, RngKey(9));
  const auto whole =
      made_of(bench, random.generator, bench.tensor({1, h, w, 3}, pixels, DType::kF32));
  double largest = 0;
  for (const image::TileSpan& rows : image::cut_into_tiles(h, reach, 40)) {
    for (const image::TileSpan& columns : image::cut_into_tiles(w, reach, 40)) {
      std::vector<double> part;
      for (std::int64_t y = rows.first; y < rows.last; ++y) {
        const auto row = pixels.begin() + y * w * 3;
        part.insert(part.end(), row + columns.first * 3, row + columns.last * 3);
      }
      const auto tile =
          made_of(bench, random.generator,
                  bench.tensor({1, rows.size(), columns.size(), 3}, part, DType::kF32));
      for (std::int64_t y = 4 * rows.kept_first; y < 4 * rows.kept_last; ++y) {
        for (std::int64_t i = 12 * columns.kept_first; i < 12 * columns.kept_last; ++i) {
          const auto at = (y - 4 * rows.first) * 12 * columns.size() + i - 12 * columns.first;
          largest = std::max(largest, std::fabs(tile[static_cast<std::size_t>(at)] -
                                                whole[static_cast<std::size_t>(y * 12 * w + i)]));
        }
      }
    }
  }
  return largest;
}

/// At the image's borders too.
TEST(Tiles, GiveWhatTheWholeImageGives) {
  EXPECT_LT(difference_of_tiles(100, 75, 0), 1e-5);
  EXPECT_LT(difference_of_tiles(41, 1, 0), 1e-5);
  EXPECT_GT(difference_of_tiles(100, 75, 4), 1e-4) << "tiles that see too little show it";
}

/// A folder of images, and what they become.
class Upscale : public testing::Test {
 protected:
  Upscale()
      : folder_(fs::temp_directory_path() / ("gentrain-upscale-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~Upscale() override { fs::remove_all(folder_); }

  /// h x w pixels of noise in NAME.png; gives the file with its result.
  UpscaleFile make(const std::string& name, std::int64_t h, std::int64_t w) {
    image::Image image{h, w, 3, {}};
    for (const double value : test::random_values(h * w * 3, RngKey(7), 0, 256)) {
      image.pixels.push_back(static_cast<std::uint8_t>(value));
    }
    image::write_png(folder_ / (name + ".png"), image);
    return {folder_ / (name + ".png"), folder_ / (name + "_x4.png")};
  }
  static std::string content(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  struct Run {
    std::vector<UpscaleReport> reports;
    std::vector<std::string> results;  // the files' contents, "" if there is none
    std::vector<int> told;             // how often each file was said to be finished
    std::int64_t tiles = 0;            // of images that workers shared
  };
  static Run upscale_on(const std::vector<UpscaleFile>& files, int ranks, int workers,
                        std::int64_t tile = 32) {
    Run run;
    run.told.resize(files.size());
    std::mutex mutex;
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      test::Workbench bench(test::cpu_device());
      StepRunner runner(communicator, bench.device(), workers, 16);
      const RandomGenerator random(bench, DType::kF32, {.width = 8, .blocks = 1});
      Upscaler upscaler(runner, random.generator, {0.5, 0.5}, tile);
      const UpscaleWatch watch{[&](std::size_t i, const UpscaleReport& /*report*/) {
                                 const std::lock_guard lock(mutex);
                                 ++run.told[i];
                               },
                               [&](std::int64_t /*done*/, std::int64_t /*all*/) {
                                 const std::lock_guard lock(mutex);
                                 ++run.tiles;
                               }};
      const UpscaleSummary summary = upscale(communicator, upscaler, files, watch);
      EXPECT_GT(summary.peak_rss_mib, 1);
      if (communicator.rank() == 0) {
        run.reports = summary.reports;
      }
    });
    for (const UpscaleFile& file : files) {
      run.results.push_back(content(file.to));
      fs::remove(file.to);
    }
    return run;
  }

  fs::path folder_;
};

TEST_F(Upscale, GivesTheSameBytesForAnyRanksAndWorkers) {
  const std::vector<UpscaleFile> files = {make("small", 20, 31), make("dot", 1, 1),
                                          make("wide", 9, 150),  make("large", 130, 90),
                                          make("other", 32, 33), make("tall", 70, 5)};
  const Run alone = upscale_on(files, 1, 1);
  for (std::size_t i = 0; i < files.size(); ++i) {
    EXPECT_EQ(alone.reports[i].error, "");
    const image::Image low = image::read_image(files[i].from);
    EXPECT_EQ(alone.reports[i].h, low.h);
    EXPECT_EQ(alone.reports[i].w, low.w);
    EXPECT_GT(alone.results[i].size(), 60U);
  }
  for (const auto& [ranks, workers] :
       {std::pair(1, 2), {1, 5}, {2, 1}, {2, 3}, {3, 2}, {5, 1}, {8, 1}}) {
    const Run other = upscale_on(files, ranks, workers);
    EXPECT_EQ(other.results, alone.results) << ranks << " ranks of " << workers << " workers";
    EXPECT_EQ(other.told, std::vector<int>(files.size(), 1));
    EXPECT_EQ(other.reports[3].h, 130);
  }
  EXPECT_EQ(alone.tiles, 0) << "one worker had them all";
  EXPECT_GT(upscale_on({files[3]}, 1, 3).tiles, 4);
  EXPECT_NE(upscale_on({make("dot", 2, 1)}, 1, 1).results[0], alone.results[1]);
}

TEST_F(Upscale, TilesDoNotShowInThePixels) {
  const UpscaleFile file = make("a", 100, 70);
  const auto pixels_by_tiles_of = [&](std::int64_t tile) {
    const Run run = upscale_on({file}, 1, 2, tile);
    std::ofstream(folder_ / "result.png", std::ios::binary) << run.results[0];
    return image::read_image(folder_ / "result.png");
  };
  const image::Image whole = pixels_by_tiles_of(100);
  const image::Image tiled = pixels_by_tiles_of(24);
  EXPECT_EQ(whole.h, 400);
  EXPECT_EQ(whole.w, 280);
  ASSERT_EQ(tiled.pixels.size(), whole.pixels.size());
  std::int64_t others = 0;
  for (std::size_t i = 0; i < whole.pixels.size(); ++i) {
    ASSERT_LE(std::abs(tiled.pixels[i] - whole.pixels[i]), 1) << i;
    others += tiled.pixels[i] == whole.pixels[i] ? 0 : 1;
  }
  EXPECT_LE(others, std::ssize(whole.pixels) / 1000) << "what lay between two bytes";
  EXPECT_GT(*std::max_element(whole.pixels.begin(), whole.pixels.end()),
            *std::min_element(whole.pixels.begin(), whole.pixels.end()) + 50);
}

TEST_F(Upscale, OneBadFileLeavesTheOthers) {
  UpscaleFile bad = make("bad", 9, 9);
  std::ofstream(bad.from, std::ios::binary) << "no image";
  UpscaleFile unwritable = make("c", 9, 9);
  unwritable.to = folder_ / "no/c.png";
  const std::vector<UpscaleFile> files = {make("a", 8, 9), bad, make("b", 60, 60), unwritable};
  for (const int ranks : {1, 3}) {
    const Run run = upscale_on(files, ranks, 2);
    EXPECT_THAT(run.reports[1].error, HasSubstr(bad.from.string() + " is no image"));
    EXPECT_THAT(run.reports[3].error, HasSubstr("cannot write " + unwritable.to.string()));
    EXPECT_EQ(run.results[1], "");
    EXPECT_EQ(run.reports[0].error + run.reports[2].error, "");
    EXPECT_GT(run.results[0].size(), 60U);
    EXPECT_GT(run.results[2].size(), 60U);
    EXPECT_EQ(run.told, std::vector<int>(4, 1));
  }
}

TEST_F(Upscale, RefusesWeightsThatGiveNoNumbers) {
  const UpscaleFile file = make("a", 8, 9);
  test::LocalRanks world(1);
  test::Workbench bench(test::cpu_device());
  StepRunner runner(world.rank(0), bench.device(), 2, 16);
  RandomGenerator random(bench, DType::kF32, {.width = 8, .blocks = 1});
  Context context{bench.device(), bench.queue(), nullptr, false, {}};
  const Tensor weights = random.parameters[0];
  ops::copy(context, bench.full(weights.shape(), std::nan(""), DType::kF32), weights);
  random.parameters.mark_changed();
  Upscaler upscaler(runner, random.generator, {0.5, 0.5});
  EXPECT_EQ(message_of<NumericError>([&] { upscaler.run(std::vector{file}, {}); }),
            file.from.string() + ": what the model makes of it is not finite");
  EXPECT_FALSE(fs::exists(file.to));
}

}  // namespace
}  // namespace gentrain::trainers
