// Folders of images and packs of them: order, labels, fitting, bad files, damage.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/image/folder.h"
#include "core/image/pack.h"
#include "core/io/array_file.h"
#include "kernels/error.h"
#include "tests/core/image_files.h"
#include "tests/support/as_nobody.h"
#include "tests/support/few_threads.h"

namespace gentrain::image {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;
using testing::Throws;
using testing::ThrowsMessage;

constexpr std::array<std::uint8_t, 3> kFirst = {10, 20, 30};
constexpr std::array<std::uint8_t, 3> kSecond = {200, 100, 50};

class FolderTest : public testing::Test {
 protected:
  FolderTest() { fs::create_directories(root_); }
  ~FolderTest() override { fs::remove_all(root_); }
  FolderTest(const FolderTest&) = delete;
  FolderTest& operator=(const FolderTest&) = delete;

  void put(const std::string& name, const FileBytes& bytes) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  /// Two classes; images of different sizes.
  void put_classes() const {
    put("set/b/2.png", plain_png(4, 4, kFirst));
    put("set/b/10.PNG", plain_png(8, 8, kSecond));
    put("set/B/x.jpg", jpeg());
    put("set/b/readme.txt", {'h', 'i'});
    put("set/b/.hidden.png", {});
    put("set/.cache/1.png", {});
  }
  [[nodiscard]] fs::path set() const { return root_ / "set"; }
  [[nodiscard]] fs::path pack() const { return root_ / "set.h5"; }

  void expect_refused(const std::string& message) const {
    EXPECT_THAT([&] { list_images(set()); },
                ThrowsMessage<IoError>(StartsWith(set().string() + message)));
  }

  fs::path root_ = fs::temp_directory_path() / fmt::format("gentrain-folder-{}", getpid());
};

std::vector<std::string> names(const Listing& listing) {
  std::vector<std::string> result;
  for (const Listing::File& file : listing.files) {
    result.push_back(fmt::format("{} {}", file.name, file.label));
  }
  return result;
}

std::vector<std::uint8_t> sample(const data::Dataset& set, std::int64_t index) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(set.sample_shape().elements()));
  set.read(index, pixels.data());
  return pixels;
}

TEST_F(FolderTest, ClassesAndFilesAreSortedByBytes) {
  put_classes();
  const Listing listing = list_images(set());
  EXPECT_THAT(listing.classes, ElementsAre("B", "b"));
  EXPECT_THAT(names(listing), ElementsAre("B/x.jpg 0", "b/10.PNG 1", "b/2.png 1"));
}

TEST_F(FolderTest, WithoutClassesLabelsAreUnknown) {
  put("set/2.png", plain_png(1, 1, kFirst));
  put("set/1.webp", {kLossyWebp.begin(), kLossyWebp.end()});
  const Listing listing = list_images(set());
  EXPECT_THAT(listing.classes, IsEmpty());
  EXPECT_THAT(names(listing), ElementsAre("1.webp -1", "2.png -1"));
  EXPECT_EQ(open_listing(listing, {1, 1})->classes(), 0);
}

TEST_F(FolderTest, FoldersThatHoldNoDataSetAreRefused) {
  expect_refused(": there is no such folder of images");
  fs::create_directories(set());
  expect_refused(
      ": the folder holds no images: files named .jpg, .jpeg, .png, .bmp or .webp were looked for "
      "in it and in its folders");
  put("set/a/1.png", plain_png(1, 1, kFirst));
  fs::create_directories(set() / "c");
  expect_refused("/c: the class holds no images: files named");
  put("set/9.png", plain_png(1, 1, kFirst));
  expect_refused(": holds both folders, as a, and images, as 9.png: either each folder is a class");
  put("file", {1});
  EXPECT_THAT(
      [&] { list_images(root_ / "file"); },
      ThrowsMessage<IoError>(root_.string() + "/file: is no folder: one of images was expected"));
}

TEST_F(FolderTest, AClassThatNoModelCouldNameIsRefused) {
  put("set/caf\xc3\xa9/1.png", plain_png(1, 1, kFirst));
  EXPECT_THAT(list_images(set()).classes, ElementsAre("caf\xc3\xa9"));
  put("set/caf\xe9/1.png", plain_png(1, 1, kFirst));  // Latin-1
  expect_refused(
      "/caf\xe9: the class's name is not valid UTF-8, so that no model could name it: rename the "
      "folder");
}

TEST_F(FolderTest, WithoutPermissionTheFolderIsNamed) {
  put_classes();
  fs::permissions(root_, fs::perms::all);
  fs::permissions(set(), fs::perms::all);
  fs::permissions(set() / "b", fs::perms::none);
  const auto expect_denied = [&](const fs::path& folder, const std::string& message) {
    const test::AsNobody nobody;
    EXPECT_THAT([&] { list_images(folder); }, ThrowsMessage<IoError>(message));
  };
  expect_denied(set(), set().string() + "/b: the folder cannot be read: Permission denied");
  expect_denied(set() / "b/inner",
                set().string() + "/b/inner: it cannot be looked for: Permission denied");
  fs::permissions(set() / "b", fs::perms::all);
}

TEST_F(FolderTest, WithoutPermissionAPackIsNamed) {
  put_classes();
  pack_folder(set(), pack(), {});
  fs::permissions(root_, fs::perms::all);
  fs::permissions(pack(), fs::perms::none);
  const test::AsNobody nobody;
  EXPECT_THAT([&] { is_pack(pack()); },
              ThrowsMessage<IoError>(pack().string() + ": open failed: Permission denied"));
}

TEST_F(FolderTest, EndingsAreInSmallLetters) {
  EXPECT_EQ(ending_of("a.b/X.PnG"), ".png");
  EXPECT_EQ(ending_of("set.h5"), ".h5");
  EXPECT_EQ(ending_of("a.b/none"), "");
  EXPECT_TRUE(has_image_name("x.JPEG"));
  EXPECT_FALSE(has_image_name("x.gif"));
}

TEST_F(FolderTest, ImagesAreDecodedAndFitted) {
  put_classes();
  const auto set = open_listing(list_images(this->set()), {4, 6, Fit::kCrop, 3});
  EXPECT_EQ(set->size(), 3);
  EXPECT_EQ(set->classes(), 2);
  EXPECT_EQ(set->sample_shape(), Shape({4, 6, 3}));
  EXPECT_FALSE(set->in_memory());
  EXPECT_EQ(set->label(0), 0);
  EXPECT_EQ(set->label(2), 1);
  const std::vector<std::uint8_t> pixels = sample(*set, 1);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    EXPECT_EQ(pixels[i], kSecond[i % 3]) << i;
  }
  EXPECT_EQ(set->description(), "images in " + this->set().string());
  EXPECT_THAT(
      [&] { open_listing(list_images(this->set()), {}); },
      ThrowsMessage<ShapeError>("images of 0 x 0 pixels were wanted, at least 1 x 1 is needed"));
}

TEST_F(FolderTest, ABadFileIsAnErrorWhenItIsRead) {
  put("set/a/1.png", plain_png(1, 1, kFirst));
  put("set/a/2.png", {});
  const auto set = open_listing(list_images(this->set()), {1, 1});
  EXPECT_NO_THROW(sample(*set, 0));
  EXPECT_THAT([&] { sample(*set, 1); },
              ThrowsMessage<IoError>(this->set().string() + "/a/2.png is empty"));
}

TEST_F(FolderTest, BadFilesAreFoundAndLeftOut) {
  put_classes();
  put("set/b/0.jpg", {'t', 'e', 'x', 't'});
  put("set/b/3.bmp", {});
  Listing listing = list_images(set());
  for (const int threads : {1, 4}) {
    const std::vector<BadFile> bad = find_bad_files(listing, 0, 5, threads);
    ASSERT_THAT(bad, SizeIs(2));
    EXPECT_EQ(bad[0].name, "b/0.jpg");
    EXPECT_THAT(bad[0].reason, HasSubstr("b/0.jpg is no image"));
    EXPECT_EQ(bad[1].reason, (set() / "b/3.bmp").string() + " is empty");
  }
  EXPECT_THAT(find_bad_files(listing, 2, 3, 2), IsEmpty());
  leave_out(listing, find_bad_files(listing, 0, 5, 2));
  EXPECT_THAT(names(listing), ElementsAre("B/x.jpg 0", "b/10.PNG 1", "b/2.png 1"));
  EXPECT_THAT(
      [&] {
        leave_out(listing, {{"B/x.jpg", "x"}});
      },
      ThrowsMessage<IoError>(set().string() + "/B: none of the images of the class can be read"));
  EXPECT_THAT(
      [&] {
        leave_out(listing, {{"b/10.PNG", "why"}, {"b/2.png", "x"}});
      },
      ThrowsMessage<IoError>(set().string() + ": none of its 2 images can be read: why"));
}

TEST_F(FolderTest, ThreadsThatCannotBeStartedAreNamed) {
  if (!test::kCanLimitThreads) {
    GTEST_SKIP() << "not under a sanitizer";
  }
  put_classes();
  const Listing listing = list_images(set());
  const test::FewThreads none(false);
  EXPECT_THAT([&] { find_bad_files(listing, 0, 3, 2); },
              ThrowsMessage<DeviceError>(HasSubstr("2 threads were wanted to read images")));
}

TEST(Fitted, CropTakesTheMiddleAndStretchAll) {
  // Columns 0 to 7 of two rows.
  Image wide{2, 8, 1, {0, 10, 20, 30, 40, 50, 60, 70, 0, 10, 20, 30, 40, 50, 60, 70}};
  EXPECT_THAT(fitted(wide, {2, 2, Fit::kCrop, 1}).pixels, ElementsAre(30, 40, 30, 40));
  EXPECT_THAT(fitted(wide, {2, 2, Fit::kStretch, 1}).pixels, ElementsAre(15, 55, 15, 55));
  EXPECT_THAT(fitted(wide, {1, 2, Fit::kCrop, 1}).pixels, ElementsAre(25, 45));
  const Image tall{8, 1, 1, {0, 10, 20, 30, 40, 50, 60, 70}};
  EXPECT_THAT(fitted(tall, {2, 1, Fit::kCrop, 1}).pixels, ElementsAre(30, 40));
  EXPECT_THAT(fitted(tall, {2, 1, Fit::kCrop, 3}).pixels, ElementsAre(30, 30, 30, 40, 40, 40));
  // Enlarged: bilinear.
  EXPECT_THAT(fitted({1, 2, 1, {0, 100}}, {1, 4, Fit::kStretch, 1}).pixels,
              ElementsAre(0, 25, 75, 100));
  EXPECT_THAT(fitted({1, 1, 1, {9}}, {3, 5, Fit::kCrop, 1}).pixels, Each(9));
}

TEST_F(FolderTest, APackHoldsWhatTheFolderHolds) {
  put_classes();
  const FitOptions fit{4, 6, Fit::kCrop, 3};
  const auto folder = open_listing(list_images(set()), fit);
  const PackReport report = pack_folder(set(), pack(), {});
  EXPECT_EQ(report.images, 3);
  EXPECT_EQ(report.bytes, 8 * 16 * 3 + 8 * 8 * 3 + 4 * 4 * 3);
  EXPECT_THAT(report.classes, ElementsAre("B", "b"));
  EXPECT_TRUE(is_pack(pack()));
  EXPECT_FALSE(is_pack(set()));
  const ImageSet packed = open_pack(pack(), fit);
  EXPECT_THAT(packed.classes, ElementsAre("B", "b"));
  EXPECT_FALSE(packed.samples->in_memory());  // its images have to be fitted
  EXPECT_EQ(packed.samples->sha256(), folder->sha256());
  EXPECT_THAT([&] { open_pack(pack(), {}); },
              ThrowsMessage<IoError>(pack().string() +
                                     ": its images differ in size, as B/x.jpg with 8 x 16 and "
                                     "b/10.PNG with 8 x 8: set data.size"));
  pack_folder(set(), pack(), {.fit = fit});
  const ImageSet fitting = open_pack(pack(), {});
  EXPECT_TRUE(fitting.samples->in_memory());
  EXPECT_EQ(fitting.samples->sha256(), folder->sha256());
  EXPECT_EQ(fitting.samples->label(1), 1);
  EXPECT_EQ(fitting.samples->description(), "pack " + pack().string());
  const ImageSet grey = open_pack(pack(), {.channels = 1});
  EXPECT_EQ(grey.samples->sample_shape(), Shape({4, 6, 1}));
  EXPECT_NE(grey.samples->sha256(), folder->sha256());
}

TEST_F(FolderTest, ThreadsGiveTheSamePack) {
  put_classes();
  pack_folder(set(), pack(), {});
  const fs::path other = root_ / "other.h5";
  pack_folder(set(), other, {.fit = {}, .threads = 4});
  const auto bytes = [](const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  EXPECT_EQ(bytes(pack()), bytes(other));
  put("set/b/2.png", plain_png(4, 4, kSecond));
  pack_folder(set(), other, {.fit = {}, .threads = 4});
  EXPECT_NE(bytes(pack()), bytes(other));
}

TEST_F(FolderTest, APackOfImagesAtHandSaysMore) {
  PackContent content;
  content.append({1, 2, 3, {1, 2, 3, 4, 5, 6}}, {"a.png", -1});
  content.append({1, 2, 3, {7, 8, 9, 10, 11, 12}}, {"b.png", -1});
  PackHeader header;
  header.more = {{"origin", "by hand"}};
  write_pack(pack(), content, header);
  const ImageSet read = open_pack(io::read_file(pack()), "it", {});
  EXPECT_EQ(read.samples->size(), 2);
  EXPECT_EQ(read.samples->classes(), 0);
  EXPECT_EQ(read.samples->label(1), -1);
  EXPECT_EQ(read.samples->description(), "pack it");
  EXPECT_EQ(read.more, header.more);
  std::vector<std::uint8_t> pixels(6);
  read.samples->read(1, pixels.data());
  EXPECT_THAT(pixels, ElementsAre(7, 8, 9, 10, 11, 12));
  io::Bytes cut = io::read_file(pack());
  cut.size -= 1;
  EXPECT_THAT([&] { open_pack(std::move(cut), "it", {}); }, Throws<IoError>());
}

TEST_F(FolderTest, PackingStopsAtABadFileOrLeavesItOut) {
  put_classes();
  put("set/b/1.png", {});
  EXPECT_THAT([&] { pack_folder(set(), pack(), {}); },
              ThrowsMessage<IoError>(set().string() + "/b/1.png is empty"));
  EXPECT_FALSE(fs::exists(pack()));
  const PackReport report = pack_folder(set(), pack(), {.fit = {}, .leave_out_bad = true});
  EXPECT_EQ(report.images, 3);
  ASSERT_THAT(report.left_out, SizeIs(1));
  EXPECT_EQ(report.left_out[0].name, "b/1.png");
  EXPECT_EQ(open_pack(pack(), {2, 2}).samples->size(), 3);
}

TEST_F(FolderTest, AFlippedBitNamesFileAndArray) {
  put_classes();
  pack_folder(set(), pack(), {});
  std::ifstream in(pack(), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const std::string pixels(reinterpret_cast<const char*>(kFirst.data()), kFirst.size());
  bytes[bytes.find(pixels + pixels)] ^= 1;
  std::ofstream(pack(), std::ios::binary) << bytes;
  EXPECT_THAT(
      [&] {
        open_pack(pack(), {2, 2});
      },
      ThrowsMessage<IoError>(StartsWith(pack().string() + ": array pixels: its SHA-256 is ")));
  EXPECT_THAT(io::verify_array_file(pack()),
              testing::Contains(HasSubstr("array pixels: its SHA-256 is")));
  std::ofstream(pack(), std::ios::binary) << bytes.substr(0, 700);
  EXPECT_THAT(
      [&] {
        open_pack(pack(), {2, 2});
      },
      ThrowsMessage<IoError>(AllOf(HasSubstr(pack().string()), HasSubstr("is truncated"))));
}

/// A pack that its writer filled wrongly.
struct Contents {
  std::vector<std::uint8_t> pixels = {1, 2, 3, 4};
  std::vector<std::int32_t> extents = {1, 1, 1, 1, 3, 1};
  std::vector<std::int32_t> labels = {0, 0};
  nlohmann::json header = {{"classes", {"a"}}, {"files", {"a/1", "a/2"}}};
};

TEST_F(FolderTest, PacksWhoseContentsDoNotFitAreRefused) {
  const auto expect = [this](const Contents& contents, const std::string& message) {
    const auto of = [](const auto& values) { return std::as_bytes(std::span(values)); };
    io::write_array_views(
        pack(),
        {io::FileKind::kPack,
         contents.header,
         {{"pixels", {std::ssize(contents.pixels)}, io::ElementType::kU8, of(contents.pixels)},
          {"extents",
           {std::ssize(contents.extents) / 3, 3},
           io::ElementType::kI32,
           of(contents.extents)},
          {"labels", {std::ssize(contents.labels)}, io::ElementType::kI32, of(contents.labels)}}});
    EXPECT_THAT(
        [&] {
          open_pack(pack(), {2, 2});
        },
        ThrowsMessage<IoError>(
            StartsWith(fmt::format("cannot read {}: {}", pack().string(), message))));
  };
  expect({.pixels = {1, 2, 3}}, "pixels: 3 bytes, the extents say 4");
  expect({.pixels = {1, 2, 3, 4, 5}}, "pixels: 5 bytes, the extents say 4");
  expect({.extents = {1, 1, 2, 1, 2, 1}}, "extents: image 0 is [1, 1, 2]");
  expect({.extents = {1, 4, 1, 0, 3, 1}}, "extents: image 1 is [0, 3, 1]");
  expect({.labels = {0, 1}}, "labels: label 1 is 1, there are 1 classes");
  expect({.labels = {0, -1}}, "labels: label 1 is -1, there are 1 classes");
  expect({.labels = {0}}, "1 labels, 6 extents and 2 names of files do not fit together");
  expect({.header = {{"classes", {"a"}}}}, "header: files: ");
  io::write_array_views(pack(), {io::FileKind::kPack, nlohmann::json::object(), {}});
  EXPECT_THAT(
      [&] {
        open_pack(pack(), {2, 2});
      },
      ThrowsMessage<IoError>(
          fmt::format("cannot read {}: pixels: there is no such array of the right type and rank",
                      pack().string())));
}

}  // namespace
}  // namespace gentrain::image
