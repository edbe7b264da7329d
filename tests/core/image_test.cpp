// Image files of every kind that is read, of every kind that is not, and the functions on images.
#include "core/image/image.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/image/folder.h"
#include "core/image/format.h"
#include "kernels/error.h"
#include "tests/core/image_files.h"

namespace gentrain::image {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::ThrowsMessage;

Image decode(const FileBytes& file, int channels = 3) {
  return decode_image(file, "x.png", {.channels = channels});
}

std::vector<std::int64_t> extents(const Image& image) {
  return {image.h, image.w, image.c};
}

std::vector<int> pixel(const Image& image, std::int64_t y, std::int64_t x) {
  const auto at = image.pixels.begin() + (y * image.w + x) * image.c;
  return {at, at + image.c};
}

/// Within what JPEG and lossy WebP lose.
void expect_near(const std::vector<int>& colour, const std::vector<int>& wanted) {
  ASSERT_EQ(colour.size(), wanted.size());
  for (std::size_t i = 0; i < colour.size(); ++i) {
    EXPECT_NEAR(colour[i], wanted[i], 12) << "channel " << i;
  }
}

void expect_refused(const FileBytes& file, const std::string& message) {
  EXPECT_THAT([&] { decode_image(file, "f/x.jpg"); },
              ThrowsMessage<IoError>(AllOf(HasSubstr("f/x.jpg"), HasSubstr(message))));
}

/// An image whose pixels all differ somewhat.
Image pattern(std::int64_t h, std::int64_t w, std::int64_t c) {
  Image image{h, w, c, {}};
  for (std::int64_t i = 0; i < h * w * c; ++i) {
    image.pixels.push_back(static_cast<std::uint8_t>(i * 37 % 251 + i % 5));
  }
  return image;
}

const std::vector<int> kRed = {255, 0, 0};
const std::vector<int> kBlue = {0, 0, 255};

bool maps_opencv() {
  std::ifstream maps("/proc/self/maps");
  const std::string text{std::istreambuf_iterator<char>(maps), {}};
  return text.find("libopencv_core") != std::string::npos;
}

// In a process of its own: tests that came before have loaded the module.
TEST(Image, TheModuleIsLoadedByTheFirstDecodingAlone) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const FileBytes file = plain_png(1, 1, {1, 2, 3});
        inspect(file, "x.png");
        const bool before = maps_opencv();
        decode(file);
        std::exit(before ? 1 : maps_opencv() ? 0 : 2);
      },
      testing::ExitedWithCode(0), "");
}

// The program alone in a folder: a copy of this one that is started there.
TEST(Image, AMissingModuleIsLookedForBesideTheProgram) {
  if (std::getenv("GENTRAIN_TEST_ALONE") != nullptr) {
    decode(plain_png(1, 1, {1, 2, 3}));
    return;
  }
  const fs::path folder = fs::temp_directory_path() / fmt::format("gentrain-alone-{}", getpid());
  fs::create_directories(folder / "bin");
  const fs::path program = folder / "bin" / "test_core";
  fs::copy_file("/proc/self/exe", program);
  const fs::path output = folder / "output";
  const std::string command = fmt::format(
      "env -u GTEST_TOTAL_SHARDS -u GTEST_SHARD_INDEX GENTRAIN_TEST_ALONE=1 {} "
      "--gtest_filter=Image.AMissingModule* > "
      "{} 2>&1",
      program.string(), output.string());
  EXPECT_NE(std::system(command.c_str()), 0);
  std::ifstream file(output);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(text, HasSubstr(fmt::format(
                        "the image module, which reads images, is not there: it was looked for as "
                        "{0}/bin/libgentrain_image.so and {0}/lib/gentrain/libgentrain_image.so",
                        folder.string())));
  fs::remove_all(folder);
}

TEST(Image, PngInColourGreyAndOnePixel) {
  const Image image = decode(png(1, 2, kRgb, 8, {10, 20, 30, 40, 50, 60}));
  EXPECT_THAT(extents(image), ElementsAre(1, 2, 3));
  EXPECT_THAT(image.pixels, ElementsAre(10, 20, 30, 40, 50, 60));
  EXPECT_THAT(decode(png(1, 2, kGrey, 8, {7, 9})).pixels, ElementsAre(7, 7, 7, 9, 9, 9));
  EXPECT_THAT(decode(png(1, 2, kGrey, 8, {7, 9}), 1).pixels, ElementsAre(7, 9));
  EXPECT_THAT(decode(png(1, 1, kRgb, 8, {1, 2, 3})).pixels, ElementsAre(1, 2, 3));
}

TEST(Image, GreyIsAWeightedSumOfColours) {
  const Image image = decode(png(1, 3, kRgb, 8, {255, 0, 0, 0, 255, 0, 0, 0, 255}), 1);
  EXPECT_THAT(extents(image), ElementsAre(1, 3, 1));
  EXPECT_THAT(image.pixels, ElementsAre(76, 150, 29));
}

TEST(Image, PalettesAreResolved) {
  const FileBytes palette = png_chunk("PLTE", {1, 2, 3, 200, 100, 50});
  EXPECT_THAT(decode(png(1, 2, kPalette, 8, {1, 0}, palette)).pixels,
              ElementsAre(200, 100, 50, 1, 2, 3));
}

TEST(Image, TransparencyIsDropped) {
  EXPECT_THAT(decode(png(1, 2, kRgba, 8, {10, 20, 30, 0, 40, 50, 60, 128})).pixels,
              ElementsAre(10, 20, 30, 40, 50, 60));
  EXPECT_THAT(decode(png(1, 1, kGreyAlpha, 8, {77, 3})).pixels, Each(77));
}

TEST(Image, OfSixteenBitsTheUpperEightAreTaken) {
  EXPECT_THAT(decode(png(1, 1, kRgb, 16, {0x12, 0x34, 0xFF, 0x80, 0x00, 0xFF})).pixels,
              ElementsAre(0x12, 0xFF, 0x00));
  EXPECT_THAT(decode(png(1, 1, kGrey, 16, {0x80, 0xFF}), 1).pixels, ElementsAre(0x80));
}

TEST(Image, BmpJpegAndWebp) {
  // The lower row first, blue before green before red, padded.
  const Image image = decode(bmp(2, 1, {3, 2, 1, 0, 6, 5, 4, 0}));
  EXPECT_THAT(extents(image), ElementsAre(2, 1, 3));
  EXPECT_THAT(image.pixels, ElementsAre(4, 5, 6, 1, 2, 3));
  for (const FileBytes& file : {jpeg(), FileBytes(kLossyWebp.begin(), kLossyWebp.end()),
                                FileBytes(kLosslessWebp.begin(), kLosslessWebp.end())}) {
    const Image halves = decode(file);
    EXPECT_THAT(extents(halves), ElementsAre(8, 16, 3));
    expect_near(pixel(halves, 4, 2), kRed);
    expect_near(pixel(halves, 4, 13), kBlue);
    EXPECT_EQ(inspect(file, "x").h, 8);
    EXPECT_EQ(inspect(file, "x").w, 16);
  }
}

TEST(Image, ExifOrientationIsApplied) {
  const Image turned = decode(jpeg_with_orientation(6));  // to be turned clockwise: left is up then
  EXPECT_THAT(extents(turned), ElementsAre(16, 8, 3));
  expect_near(pixel(turned, 2, 4), kRed);
  expect_near(pixel(turned, 13, 4), kBlue);
  const Image mirrored = decode(jpeg_with_orientation(2));
  EXPECT_THAT(extents(mirrored), ElementsAre(8, 16, 3));
  expect_near(pixel(mirrored, 4, 2), kBlue);
  const Image plain = decode(jpeg_with_orientation(1));
  expect_near(pixel(plain, 4, 2), kRed);
}

TEST(Image, WhatIsNoImageIsRefused) {
  expect_refused({}, "is empty");
  const std::string text = "Hello, world";
  expect_refused({text.begin(), text.end()},
                 "is no image: JPEG, PNG, BMP and WebP are read, it begins with the bytes 48 65 6c "
                 "6c 6f 2c 20 77");
  expect_refused({'G', 'I', 'F', '8', '9', 'a'}, "is no image");
  EXPECT_THAT([] { read_image("/there/is/no.png"); },
              ThrowsMessage<IoError>(
                  AllOf(HasSubstr("/there/is/no.png"), HasSubstr("No such file or directory"))));
}

bool passes(const FileBytes& file) {
  try {
    inspect(file, "x");
    return true;
  } catch (const IoError&) {
    return false;
  }
}

// Whatever is cut off the end, of every format: the cut is found before anything is decoded.
TEST(Image, EveryTruncationIsFound) {
  const std::vector<FileBytes> files = {jpeg(),
                                        plain_png(3, 5, {1, 2, 3}),
                                        bmp(2, 1, {3, 2, 1, 0, 6, 5, 4, 0}),
                                        {kLossyWebp.begin(), kLossyWebp.end()},
                                        {kLosslessWebp.begin(), kLosslessWebp.end()}};
  for (const FileBytes& file : files) {
    EXPECT_TRUE(passes(file));
    for (std::size_t size = 1; size < file.size(); ++size) {
      const FileBytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_FALSE(passes(cut)) << size << " of " << file.size();
    }
  }
}

TEST(Image, TruncationIsSaidInBytes) {
  FileBytes cut = jpeg();
  cut.resize(cut.size() - 2);
  expect_refused(cut, "is truncated: 303 bytes without a JPEG's end marker");
  cut = plain_png(3, 5, {1, 2, 3});
  cut.resize(cut.size() - 1);
  expect_refused(cut, fmt::format("is truncated: {} bytes, at least {} are needed", cut.size(),
                                  cut.size() + 1));
}

TEST(Image, DamagedPixelsAreRefused) {
  FileBytes file = plain_png(3, 5, {1, 2, 3});
  file[45] ^= 0xFFU;  // in the packed pixels
  expect_refused(file, "is damaged: its pixels cannot be decoded");
  FileBytes no_marker = jpeg();
  no_marker[20] = 0;
  expect_refused(no_marker, "is a damaged JPEG: no marker at byte 20");
}

TEST(Image, KindsThatAreNotReadAreRefused) {
  FileBytes cmyk = jpeg();
  cmyk[kJpegFrame + 9] = 4;
  expect_refused(cmyk, "is a JPEG in CMYK; grey and RGB are read: convert it");
  FileBytes deep = jpeg();
  deep[kJpegFrame + 4] = 12;
  expect_refused(deep, "is a JPEG of 12 bits a value; 8 are read");
  FileBytes moving(kLosslessWebp.begin(), kLosslessWebp.end());
  moving[15] = 'X';
  moving[20] = 0x02;
  expect_refused(moving, "is an animation; single images are read");
  const FileBytes control = png_chunk("acTL", {0, 0, 0, 1, 0, 0, 0, 0});
  expect_refused(png(1, 1, kRgb, 8, {1, 2, 3}, control), "is an animation; single images are read");
  FileBytes unknown(kLosslessWebp.begin(), kLosslessWebp.end());
  unknown[15] = 'Q';
  expect_refused(unknown, "is a damaged WebP: its first chunk is unknown");
  FileBytes headless = plain_png(1, 1, {1, 2, 3});
  headless[12] = 'X';
  expect_refused(headless, "is a damaged PNG: it does not begin with IHDR");
  expect_refused(png(1, 0, kRgb, 8, {}), "has no pixels: 1 x 0");
}

TEST(Image, TooManyPixelsAreRefusedBeforeTheyAreDecoded) {
  FileBytes bomb = plain_png(1, 1, {1, 2, 3});
  const FileBytes extent = big(60000, 4);
  std::copy(extent.begin(), extent.end(), bomb.begin() + 16);
  std::copy(extent.begin(), extent.end(), bomb.begin() + 20);
  expect_refused(bomb, "60000 x 60000 pixels are more than the limit of 134217728");
  const FileBytes file = plain_png(4, 5, {1, 2, 3});
  EXPECT_NO_THROW(decode_image(file, "x", {.max_pixels = 20}));
  EXPECT_THAT([&] { decode_image(file, "x", {.max_pixels = 19}); },
              ThrowsMessage<IoError>("x: 4 x 5 pixels are more than the limit of 19"));
  EXPECT_THAT(
      [&] { decode_image(file, "x", {.channels = 2}); },
      ThrowsMessage<ShapeError>("decode: 2 channels were wanted, there are 1 (grey) and 3 (RGB)"));
}

// A decoder takes the first frame, or what stands behind bytes that are no marker.
TEST(Image, NoSecondFrameHidesTooManyPixels) {
  constexpr std::size_t kExtents = 5;  // where height and width stand in a frame's segment
  FileBytes huge = jpeg();
  const FileBytes small(huge.begin() + kJpegFrame, huge.begin() + kJpegFrame + 19);
  const FileBytes extents = {0xFF, 0xFF, 0x40, 0x00};
  std::copy(extents.begin(), extents.end(), huge.begin() + kJpegFrame + kExtents);
  expect_refused(huge, "65535 x 16384 pixels are more than the limit of 134217728");
  FileBytes behind_scan = huge;
  behind_scan.insert(behind_scan.end() - 2, small.begin(), small.end());
  expect_refused(behind_scan, "is a damaged JPEG: it has two frames");
  FileBytes before_scan = jpeg();
  before_scan.insert(before_scan.begin() + kJpegScan, small.begin(), small.end());
  expect_refused(before_scan, "is a damaged JPEG: it has two frames");
  FileBytes hidden = huge;
  const FileBytes no_marker = {0xFF, 0x00, 0x00, 0x15};  // or else a segment that holds the frame
  hidden.insert(hidden.begin() + kJpegFrame, no_marker.begin(), no_marker.end());
  expect_refused(hidden, "is a damaged JPEG: no marker at byte 158");
}

TEST(Image, APartIsCutOut) {
  const Image image{2, 3, 1, {1, 2, 3, 4, 5, 6}};
  const Image part = cut_out(image, {.x = 1, .y = 1, .w = 2, .h = 1});
  EXPECT_THAT(extents(part), ElementsAre(1, 2, 1));
  EXPECT_THAT(part.pixels, ElementsAre(5, 6));
  EXPECT_EQ(cut_out(image, {0, 0, 3, 2}).pixels, image.pixels);
  EXPECT_THAT(cut_out({1, 2, 3, {1, 2, 3, 4, 5, 6}}, {1, 0, 1, 1}).pixels, ElementsAre(4, 5, 6));
}

TEST(Image, PngGoesOutAndComesBack) {
  const fs::path path = fs::temp_directory_path() / fmt::format("gentrain-{}.png", getpid());
  for (const std::int64_t c : {1, 3}) {
    const Image image = pattern(5, 7, c);
    write_png(path, image);
    const Image read = read_image(path, {.channels = static_cast<int>(c)});
    EXPECT_EQ(extents(read), extents(image));
    EXPECT_EQ(read.pixels, image.pixels);
  }
  fs::remove(path);
}

TEST(Image, ResizeAveragesAndInterpolates) {
  const ImageLibrary& library = image_library();
  const Image quarters{2, 2, 1, {0, 100, 200, 40}};
  EXPECT_THAT(library.resize(quarters, 1, 1, Interpolation::kArea).pixels, ElementsAre(85));
  EXPECT_THAT(library.resize({1, 2, 1, {0, 100}}, 1, 4, Interpolation::kBilinear).pixels,
              ElementsAre(0, 25, 75, 100));
  const Image image = pattern(9, 6, 3);
  for (const auto kind :
       {Interpolation::kArea, Interpolation::kBilinear, Interpolation::kBicubic}) {
    EXPECT_THAT(extents(library.resize(image, 4, 11, kind)), ElementsAre(4, 11, 3));
    EXPECT_EQ(library.resize(image, 9, 6, kind).pixels, image.pixels);
  }
  EXPECT_NE(library.resize(image, 4, 11, Interpolation::kBicubic).pixels,
            library.resize(image, 4, 11, Interpolation::kBilinear).pixels);
  EXPECT_THAT(
      [&] { static_cast<void>(library.resize(image, 0, 3, Interpolation::kArea)); },
      ThrowsMessage<ShapeError>("resize: 0 x 3 pixels were wanted, from 1 to 1048576 can be"));
}

TEST(Image, ChannelsAreChanged) {
  const ImageLibrary& library = image_library();
  EXPECT_THAT(library.with_channels({1, 1, 3, {255, 0, 0}}, 1).pixels, ElementsAre(76));
  EXPECT_THAT(library.with_channels({1, 1, 1, {9}}, 3).pixels, ElementsAre(9, 9, 9));
  EXPECT_THAT(library.with_channels({1, 1, 1, {9}}, 1).pixels, ElementsAre(9));
  EXPECT_THAT(
      [&] {
        static_cast<void>(library.with_channels({1, 1, 1, {9}}, 2));
      },
      ThrowsMessage<ShapeError>("image: 2 channels were wanted, there are 1 (grey) and 3 (RGB)"));
  EXPECT_THAT(
      [&] {
        static_cast<void>(library.encode_png({2, 2, 1, {9}}));
      },
      ThrowsMessage<ShapeError>("image: 1 bytes are no pixels of [2, 2, 1] with 1 or 3 channels"));
}

TEST(Image, AnEmptyWallHasNoFaces) {
  EXPECT_THAT(image_library().detect_frontal_faces({64, 64, 1, std::vector<std::uint8_t>(4096)}),
              SizeIs(0));
}

// On real portraits, whose faces are in the middle.
TEST(Image, PortraitsHaveAFaceInTheMiddle) {
  const char* const data = std::getenv("GENTRAIN_DATA");
  if (data == nullptr || !fs::exists(fs::path(data) / "lfw")) {
    GTEST_SKIP() << "there is no $GENTRAIN_DATA/lfw";
  }
  const Listing listing = list_images(fs::path(data) / "lfw");
  int found = 0;
  for (std::size_t i = 0; i < 30; ++i) {
    const Image image = read_image(listing.folder / listing.files[i].name);
    const std::vector<Rectangle> faces = image_library().detect_frontal_faces(image);
    found += std::any_of(faces.begin(), faces.end(), [&](const Rectangle& face) {
      return face.x < image.w / 2 && face.x + face.w > image.w / 2 && face.y < image.h / 2 &&
             face.y + face.h > image.h / 2;
    });
  }
  EXPECT_GE(found, 27);
}

TEST(Image, ThreadsGiveTheSameBytes) {
  const ImageLibrary& library = image_library();
  const Image image = pattern(700, 900, 3);
  const auto work = [&](Interpolation enlarging = Interpolation::kBicubic) {
    return library
        .resize(library.resize(image, 300, 500, Interpolation::kArea), 700, 900, enlarging)
        .pixels;
  };
  const std::vector<std::uint8_t> alone = work();
  std::vector<std::vector<std::uint8_t>> results(4);
  std::vector<std::thread> threads;
  for (std::vector<std::uint8_t>& result : results) {
    threads.emplace_back([&result, &work] { result = work(); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(results, Each(alone));
  EXPECT_NE(work(Interpolation::kBilinear), alone);
}

}  // namespace
}  // namespace gentrain::image
