// What images need that are computed in pieces: tiles along an axis, PNG files written row by row.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/image/image.h"
#include "core/image/png_writer.h"
#include "core/image/tiles.h"
#include "kernels/error.h"

namespace gentrain::image {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(Tiles, AnAxisThatFitsIsOneTile) {
  EXPECT_THAT(cut_into_tiles(1, 14, 192), ElementsAre(TileSpan{0, 1, 0, 1}));
  EXPECT_THAT(cut_into_tiles(192, 14, 192), ElementsAre(TileSpan{0, 192, 0, 192}));
}

TEST(Tiles, ShareALongerOneEvenly) {
  EXPECT_THAT(cut_into_tiles(200, 14, 192),
              ElementsAre(TileSpan{0, 116, 0, 98}, TileSpan{84, 200, 98, 200}));
}

TEST(Tiles, KeepEachResultOnceAndSeeWhatItNeeds) {
  for (const std::int64_t reach : {0, 1, 6, 14}) {
    for (const std::int64_t most : {29, 30, 32, 64}) {
      for (std::int64_t extent = 1; extent < 400; ++extent) {
        const auto tiles = cut_into_tiles(extent, reach, most);
        std::int64_t kept = 0;
        for (const TileSpan& tile : tiles) {
          EXPECT_EQ(tile.size(), tiles[0].size());
          EXPECT_EQ(tile.kept_first, kept);
          EXPECT_GT(tile.kept_last, tile.kept_first);
          kept = tile.kept_last;
          EXPECT_TRUE(tile.first == 0 || tile.first <= tile.kept_first - reach);
          EXPECT_TRUE(tile.last == extent || tile.last >= tile.kept_last + reach);
        }
        EXPECT_EQ(kept, extent);
        EXPECT_EQ(tiles.back().last, extent);
        EXPECT_LE(tiles[0].size(), most);
        EXPECT_GE(tiles[0].first, 0);
        if (tiles.size() > 1) {
          EXPECT_LT((std::ssize(tiles) - 1) * (most - 2 * reach), extent - 2 * reach) << "fewer do";
          EXPECT_TRUE(tiles[0].size() % 4 == 0 || tiles[0].size() == most);
        }
      }
    }
  }
}

TEST(Tiles, RefuseWhatCannotBeCut) {
  EXPECT_THAT([] { cut_into_tiles(0, 14, 192); },
              ThrowsMessage<ShapeError>("tiles of up to 192 pixels that see 14 on either side, "
                                        "over 0"));
  EXPECT_THAT([] { cut_into_tiles(100, 14, 28); },
              ThrowsMessage<ShapeError>(HasSubstr("tiles of up to 28 pixels that see 14")));
  EXPECT_THAT([] { cut_into_tiles(100, -1, 28); }, ThrowsMessage<ShapeError>(HasSubstr("see -1")));
}

class PngFiles : public testing::Test {
 protected:
  PngFiles() : folder_(fs::temp_directory_path() / ("gentrain-png-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~PngFiles() override { fs::remove_all(folder_); }

  /// Noise, which cannot be compressed.
  static std::vector<std::uint8_t> noise(std::size_t size) {
    std::vector<std::uint8_t> bytes;
    std::uint32_t state = 12345;
    while (bytes.size() < size) {
      state = state * 1664525U + 1013904223U;
      bytes.push_back(static_cast<std::uint8_t>(state >> 24U));
    }
    return bytes;
  }
  static std::string content(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path folder_;
};

TEST_F(PngFiles, HoldThePixelsHoweverTheRowsCame) {
  for (const auto& [h, w] : {std::pair(1, 1), {7, 3}, {2, 400}, {401, 400}}) {
    const std::vector<std::uint8_t> pixels = noise(static_cast<std::size_t>(h * w * 3));
    PngWriter at_once(folder_ / "a.png", h, w);
    at_once.write(pixels);
    at_once.write({});
    at_once.finish();
    PngWriter by_rows(folder_ / "b.png", h, w);
    const auto row = static_cast<std::size_t>(w * 3);
    for (std::size_t at = 0; at < pixels.size(); at += row) {
      by_rows.write(std::span(pixels).subspan(at, row));
    }
    by_rows.finish();
    const Image image = read_image(folder_ / "a.png");
    EXPECT_EQ(image.h, h);
    EXPECT_EQ(image.w, w);
    EXPECT_EQ(image.pixels, pixels);
    EXPECT_EQ(content(folder_ / "a.png"), content(folder_ / "b.png"));
  }
}

TEST_F(PngFiles, AppearWholeOrNotAtAll) {
  const std::vector<std::uint8_t> row(9);
  {
    PngWriter left(folder_ / "a.png", 2, 3);
    left.write(row);
    EXPECT_THAT([&] { left.finish(); }, ThrowsMessage<ShapeError>("png: 1 rows are missing"));
  }
  EXPECT_TRUE(fs::is_empty(folder_));
  PngWriter whole(folder_ / "a.png", 1, 3);
  EXPECT_THAT([&] { whole.write(std::span(row).first(8)); },
              ThrowsMessage<ShapeError>("png: 8 bytes are not up to 1 rows of 9 bytes"));
  whole.write(row);
  EXPECT_FALSE(fs::exists(folder_ / "a.png"));
  EXPECT_THAT([&] { whole.write(row); },
              ThrowsMessage<ShapeError>("png: 9 bytes are not up to 0 rows of 9 bytes"));
  whole.finish();
  EXPECT_TRUE(fs::exists(folder_ / "a.png"));
}

TEST_F(PngFiles, ACheckBeforeTheRename) {
  const std::vector<std::uint8_t> row(9);
  const auto write = [&](const std::function<void()>& before_rename) {
    PngWriter writer(folder_ / "a.png", 1, 3);
    writer.write(row);
    writer.finish(before_rename);
  };
  EXPECT_THAT([&] { write([] { throw JobError("the lock is lost"); }); },
              ThrowsMessage<JobError>("the lock is lost"));
  EXPECT_TRUE(fs::is_empty(folder_));
  bool safe = false;
  write([&] { safe = !fs::exists(folder_ / "a.png") && !fs::is_empty(folder_); });
  EXPECT_TRUE(safe) << "the content is there under its temporary name";
  EXPECT_TRUE(fs::exists(folder_ / "a.png"));
}

TEST_F(PngFiles, RefuseWhatCannotBeWritten) {
  EXPECT_THAT([&] { PngWriter(folder_ / "a.png", 0, 3); },
              ThrowsMessage<ShapeError>("png: 0 x 3 pixels; from 1 to 1048576 rows and columns can "
                                        "be written"));
  EXPECT_THAT([&] { PngWriter(folder_ / "a.png", 3, kMostExtent + 1); },
              ThrowsMessage<ShapeError>(HasSubstr("png: 3 x 1048577 pixels")));
  EXPECT_THAT([&] { PngWriter(folder_ / "no/a.png", 3, 3); },
              ThrowsMessage<IoError>(HasSubstr("cannot write " + (folder_ / "no/a.png").string())));
}

}  // namespace
}  // namespace gentrain::image
