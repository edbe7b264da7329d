// From a job's data options to data sets: where MNIST is looked for, what "auto" falls back to, the
// part set aside, the constants of a job.
#include "trainers/data_source.h"

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/image/image.h"
#include "core/image/pack.h"
#include "kernels/error.h"
#include "tests/support/as_nobody.h"
#include "tests/support/compare.h"
#include "trainers/run_log.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Tests run in a folder of their own, with GENTRAIN_DATA set to `root_` or not at all.
LoadedData load(const DataOptions& options, std::uint64_t seed = 1, int threads = 1) {
  TrainOptions job;
  job.data = options;
  job.seed = seed;
  return load_data(job, threads, *comm::make_single());
}

class DataSourceTest : public ::testing::Test {
 protected:
  DataSourceTest() {
    if (const char* value = std::getenv("GENTRAIN_DATA"); value != nullptr) {
      saved_ = value;
    }
    fs::create_directories(root_ / "here");
    fs::current_path(root_ / "here");
    unsetenv("GENTRAIN_DATA");
  }
  ~DataSourceTest() override {
    fs::current_path(before_);
    fs::remove_all(root_);
    if (saved_.empty()) {
      unsetenv("GENTRAIN_DATA");
    } else {
      setenv("GENTRAIN_DATA", saved_.c_str(), 1);
    }
  }
  DataSourceTest(const DataSourceTest&) = delete;
  DataSourceTest& operator=(const DataSourceTest&) = delete;

  void point_at_root() { setenv("GENTRAIN_DATA", root_.c_str(), 1); }

  /// Four idx files of `train` and `test` images of 2 x 2 pixels.
  static void write_mnist(const fs::path& folder, std::uint8_t train, std::uint8_t test) {
    fs::create_directories(folder);
    const auto write = [&](const std::string& name, std::uint8_t count) {
      std::string images = {'\0', '\0', '\x08', '\x03', '\0', '\0', '\0', static_cast<char>(count),
                            '\0', '\0', '\0',   '\x02', '\0', '\0', '\0', '\x02'};
      images.append(std::size_t{count} * 4, '\x40');
      std::string labels = {'\0', '\0', '\x08', '\x01', '\0', '\0', '\0', static_cast<char>(count)};
      labels.append(count, '\x03');
      std::ofstream(folder / (name + "-images-idx3-ubyte"), std::ios::binary) << images;
      std::ofstream(folder / (name + "-labels-idx1-ubyte"), std::ios::binary) << labels;
    };
    write("train", train);
    write("t10k", test);
  }

  static DataOptions digits() {
    DataOptions options;
    options.source = DataOptions::Source::kDigits;
    options.train_count = 20;
    options.test_count = 5;
    return options;
  }

  fs::path before_ = fs::current_path();
  fs::path root_ = fs::temp_directory_path() / ("gentrain_data_source_" + std::to_string(getpid()));
  std::string saved_;
};

TEST_F(DataSourceTest, FoldersInOrder) {
  EXPECT_THAT(mnist_folders({}), ElementsAre("data/mnist"));
  point_at_root();
  EXPECT_THAT(mnist_folders({}), ElementsAre(root_ / "mnist", "data/mnist"));
  DataOptions own;
  own.folder = "elsewhere";
  EXPECT_THAT(mnist_folders(own), ElementsAre("elsewhere"));
  setenv("GENTRAIN_DATA", "", 1);
  EXPECT_THAT(mnist_folders({}), ElementsAre("data/mnist"));
}

TEST_F(DataSourceTest, MissingMnistSaysWhereItWasLookedForAndHowToGetIt) {
  point_at_root();
  DataOptions options;
  options.source = DataOptions::Source::kMnist;
  EXPECT_EQ(message_of<IoError>([&] { load(options); }),
            "MNIST is not there: train-images-idx3-ubyte (or .gz) was looked for in " +
                (root_ / "mnist").string() +
                ", data/mnist. Put the four idx files into one of them, set GENTRAIN_DATA or "
                "data.folder, or take data.source: digits");
}

TEST_F(DataSourceTest, AutoTakesMnistOrSaysThatItDidNot) {
  point_at_root();
  DataOptions options = digits();
  options.source = DataOptions::Source::kAuto;
  LoadedData loaded = load(options);
  EXPECT_THAT(loaded.pair.train->description(), StartsWith("built-in digits"));
  EXPECT_EQ(loaded.note, "MNIST was not found in " + (root_ / "mnist").string() +
                             ", data/mnist: taking the built-in digits");
  write_mnist("data/mnist", 7, 3);
  loaded = load(options);
  EXPECT_THAT(loaded.pair.train->description(), StartsWith("mnist in data/mnist"));
  EXPECT_EQ(loaded.note, "");
  EXPECT_EQ(loaded.pair.train->size(), 7);
  write_mnist(root_ / "mnist", 8, 3);
  EXPECT_EQ(load(options).pair.train->size(), 8);  // GENTRAIN_DATA comes first
}

TEST_F(DataSourceTest, AutoDoesNotPassOverADamagedMnist) {
  write_mnist("data/mnist", 7, 3);
  fs::resize_file("data/mnist/train-images-idx3-ubyte", 20);
  DataOptions options = digits();
  options.source = DataOptions::Source::kAuto;
  EXPECT_THAT(message_of<IoError>([&] { load(options); }),
              HasSubstr("data/mnist/train-images-idx3-ubyte"));
}

/// Two classes with an image each.
void write_images(const fs::path& folder) {
  for (const char* name : {"a", "b"}) {
    fs::create_directories(folder / name);
    image::write_png(folder / name / "1.png", {2, 3, 1, {1, 2, 3, 4, 5, 6}});
  }
}

DataOptions images(const std::string& folder, const std::string& test_folder = "") {
  DataOptions options;
  options.source = DataOptions::Source::kFolder;
  options.folder = folder;
  options.test_folder = test_folder;
  options.height = 2;
  options.width = 3;
  options.channels = 1;
  return options;
}

TEST_F(DataSourceTest, FoldersOfImages) {
  write_images("train");
  write_images("test");
  const LoadedData loaded = load(images("train", "test"));
  EXPECT_EQ(loaded.pair.train->size(), 2);
  EXPECT_EQ(loaded.pair.test->description(), "images in test");
  EXPECT_EQ(loaded.pair.train->sample_shape(), Shape({2, 3, 1}));
  EXPECT_EQ(loaded.pair.train_normalization.mean, 0.5);
  EXPECT_EQ(loaded.pair.test_normalization.stddev, 0.5);
  EXPECT_EQ(loaded.note, "");
  DataOptions set_aside = images("train");
  set_aside.validation = 0.5;
  EXPECT_EQ(load(set_aside).pair.test->size(), 1);
}

TEST_F(DataSourceTest, OneFolderHoldsBothSets) {
  write_images("root/training");
  write_images("root/train2");
  write_images("root/test");
  DataOptions options = images("");
  options.path = "root";
  EXPECT_EQ(load(options).pair.train->description(), "images in root/train2");
  EXPECT_EQ(load(options).pair.test->description(), "images in root/test");
  for (const char* name : {"val", "validation"}) {
    write_images(fs::path("root") / name);
    EXPECT_EQ(load(options).pair.test->description(), std::string("images in root/") + name);
  }
  EXPECT_EQ(load(options).fact,
            "data.path: root/train2 is the training set, root/validation the test set");
}

/// A name that only begins with "train" stands for the training set beside a test set alone.
TEST_F(DataSourceTest, AClassMayBeginWithTrain) {
  for (const char* name : {"cars", "planes", "trains"}) {
    fs::create_directories(fs::path("root") / name);
    for (const char* file : {"1.png", "2.png"}) {
      image::write_png(fs::path("root") / name / file, {2, 3, 1, {1, 2, 3, 4, 5, 6}});
    }
  }
  DataOptions options = images("");
  options.path = "root";
  options.validation = 0.4;
  EXPECT_EQ(load(options).pair.train->description(), "4 of 6 samples of images in root");
  EXPECT_THAT(load(options).pair.train->class_names(), ElementsAre("cars", "planes", "trains"));
  EXPECT_EQ(load(options).fact, "");
  write_images("alone/train");
  write_images("alone/trainer");
  options.path = "alone";
  options.validation = 0.5;
  EXPECT_EQ(load(options).pair.train->description(), "1 of 2 samples of images in alone/train");
  EXPECT_EQ(load(options).fact, "data.path: alone/train is the training set");
}

/// A fifth of its images is set aside, of whatever class.
TEST_F(DataSourceTest, AFolderOfClassesIsDividedByItself) {
  for (const char* name : {"root/cats", "root/dogs"}) {
    fs::create_directories(name);
    for (int i = 0; i < 5; ++i) {
      image::write_png(fs::path(name) / (std::to_string(i) + ".png"),
                       {2, 3, 1, {1, 2, 3, 4, 5, 6}});
    }
  }
  DataOptions options = images("");
  options.path = "root";
  const LoadedData loaded = load(options);
  EXPECT_EQ(loaded.pair.train->size(), 8);
  EXPECT_EQ(loaded.pair.test->size(), 2);
  EXPECT_THAT(loaded.pair.test->class_names(), ElementsAre("cats", "dogs"));
  EXPECT_EQ(loaded.note,
            "data.path: root holds no folder validation, val or test: 20 % of the training images "
            "are set aside");
  options.validation = 0.5;
  EXPECT_EQ(load(options).pair.test->size(), 5);
  EXPECT_EQ(load(options).note, "");
}

TEST_F(DataSourceTest, APathThatIsNoFolder) {
  DataOptions options = images("");
  options.path = "nowhere";
  EXPECT_EQ(
      message_of<IoError>([&] { load(options); }),
      "data.path: nowhere is no folder: one that holds train/ and validation/ is needed, or a "
      "folder for each class");
  fs::create_directories("root/train/cats");
  options.path = "root";
  EXPECT_THAT(message_of<IoError>([&] { load(options); }), HasSubstr("cats"))
      << "a class without images";
  fs::permissions(".", fs::perms::all);
  fs::permissions("root", fs::perms::none);
  std::string error;
  {
    const test::AsNobody nobody;
    error = message_of<IoError>([&] { load(options); });
  }
  fs::permissions("root", fs::perms::all);
  EXPECT_EQ(error, "data.path: root cannot be read: Permission denied");
}

TEST_F(DataSourceTest, APackStandsForItsFolder) {
  write_images("train");
  image::pack_folder("train", "train.h5", {.fit = {.channels = 1}});
  DataOptions options = images("train.h5", "train");
  EXPECT_EQ(data_identity(*load(options).pair.train), data_identity(*load(options).pair.test));
  options.height = options.width = 0;
  options.test_folder = "train.h5";
  EXPECT_EQ(load(options).pair.train->sample_shape(), Shape({2, 3, 1}));
  image::pack_folder("train", "large.h5", {.fit = {5, 5, image::Fit::kCrop, 1}});
  options.test_folder = "large.h5";
  EXPECT_EQ(message_of<IoError>([&] { load(options); }),
            "large.h5: images are [5, 5, 1], those of the training set [2, 3, 1]: set data.size");
}

TEST_F(DataSourceTest, APackThatCannotBeReadSaysWhy) {
  write_images("train");
  image::pack_folder("train", "train.h5", {.fit = {.channels = 1}});
  fs::copy_file("train.h5", "packed");
  fs::permissions(".", fs::perms::all);
  const auto error_of = [](const char* folder) {
    return message_of<IoError>([&] { load(images(folder, "train")); });
  };
  const auto change_first_byte = [](const char* name) {
    std::fstream(name, std::ios::in | std::ios::out | std::ios::binary) << 'G';
  };
  for (const char* name : {"train.h5", "packed"}) {
    fs::permissions(name, fs::perms::none);
    const test::AsNobody nobody;
    EXPECT_EQ(error_of(name), std::string(name) + ": open failed: Permission denied");
  }
  fs::permissions("train.h5", fs::perms::owner_all);
  fs::permissions("packed", fs::perms::owner_all);
  change_first_byte("train.h5");
  EXPECT_EQ(error_of("train.h5"),
            "train.h5 is no gentrain pack (it does not begin with the line 'gentrain pack')");
  change_first_byte("packed");
  EXPECT_EQ(error_of("packed"), "packed: is no folder: one of images was expected");
}

TEST_F(DataSourceTest, ImagesThatAreNoDataAreRefused) {
  write_images("train");
  write_images("test");
  DataOptions options = images("train", "test");
  options.height = options.width = 0;
  EXPECT_EQ(message_of<JobError>([&] { load(options); }),
            "data.size is missing: train is a folder of images, which are scaled to one size");
  fs::rename("test/b", "test/c");
  EXPECT_EQ(message_of<IoError>([&] { load(images("train", "test")); }),
            "test: has the classes 2 (a, c), the training set 2 (a, b)");
  EXPECT_EQ(message_of<IoError>([&] { load(images("none", "test")); }),
            "none: there is no such folder of images");
}

TEST_F(DataSourceTest, BadImagesAreLeftOutOnRequest) {
  write_images("train");
  for (const char* name : {"2.png", "3.png", "4.png", "5.png"}) {
    std::ofstream(fs::path("train/a") / name);
  }
  DataOptions options = images("train", "train");
  const LoadedData careless = load(options);
  EXPECT_EQ(careless.pair.train->size(), 6);
  std::vector<std::uint8_t> pixels(6);
  EXPECT_EQ(message_of<IoError>([&] { careless.pair.train->read(1, pixels.data()); }),
            "train/a/2.png is empty");
  options.on_bad_file = DataOptions::OnBadFile::kSkip;
  const LoadedData loaded = load(options);
  EXPECT_EQ(loaded.pair.train->size(), 2);
  EXPECT_EQ(loaded.left_out.size(), 8);
  EXPECT_EQ(loaded.left_out[3].name, "a/5.png");
  EXPECT_EQ(
      loaded.note,
      "left out 8 of 12 images: train/a/2.png is empty; train/a/3.png is empty; train/a/4.png "
      "is empty; ...");
}

TEST_F(DataSourceTest, WaitingForImagesIsSaidAboveATenth) {
  const auto said = [](double waited, int workers, double seconds) {
    testing::internal::CaptureStdout();
    start_log("info", 0);
    warn_of_waiting(waited, workers, seconds);
    return testing::internal::GetCapturedStdout();
  };
  EXPECT_EQ(said(0.9, 3, 3), "");
  EXPECT_EQ(said(0, 1, 0), "");
  EXPECT_EQ(said(3, 2, 3),
            "reading did not keep up: workers waited for images 50 % of the time; a pack of images "
            "of the right size (gentrain pack) is read without decoding\n");
}

TEST_F(DataSourceTest, ValidationTakesThePlaceOfTheTestSet) {
  DataOptions options = digits();
  options.validation = 0.25;
  const LoadedData loaded = load(options, 3);
  EXPECT_EQ(loaded.pair.train->size(), 15);
  EXPECT_EQ(loaded.pair.test->size(), 5);
  EXPECT_EQ(loaded.pair.test_normalization.mean, loaded.pair.train_normalization.mean);
  EXPECT_EQ(load(options, 3).pair.test->sha256(), loaded.pair.test->sha256());
  EXPECT_NE(load(options, 4).pair.test->sha256(), loaded.pair.test->sha256());
}

TEST_F(DataSourceTest, ConstantsOfTheJobReplaceTheDatas) {
  DataOptions options = digits();
  options.normalize.train = data::Normalization{0.5, 0.25};
  LoadedData loaded = load(options);
  EXPECT_EQ(loaded.pair.train_normalization.mean, 0.5);
  EXPECT_EQ(loaded.pair.test_normalization.stddev, 0.25);
  options.normalize.test = data::Normalization{0.0, 1.0};
  loaded = load(options);
  EXPECT_EQ(loaded.pair.train_normalization.mean, 0.5);
  EXPECT_EQ(loaded.pair.test_normalization.stddev, 1.0);
}

TEST_F(DataSourceTest, ConstantsMustGiveFinitePixels) {
  DataOptions options = digits();
  options.normalize.test = data::Normalization{0, 1e-44};
  EXPECT_EQ(message_of<JobError>([&] { load(options); }),
            "data.normalize.test: mean 0 and std 1e-44 give pixels that are not finite");
  options.normalize.test = data::Normalization{1e300, 1};
  EXPECT_THAT(message_of<JobError>([&] { load(options); }), HasSubstr("not finite"));
}

TEST_F(DataSourceTest, TheIdentityTellsDataApart) {
  DataOptions options = digits();
  const std::string identity = data_identity(load(options).pair);
  EXPECT_EQ(data_identity(load(options).pair), identity);
  const auto differs = [&](const auto& change) {
    DataOptions other = options;
    change(other);
    EXPECT_NE(data_identity(load(other).pair), identity);
  };
  differs([](DataOptions& other) { other.seed = 2; });
  differs([](DataOptions& other) { other.train_count += 1; });
  differs([](DataOptions& other) { other.test_count += 1; });
  differs([](DataOptions& other) { other.validation = 0.5; });
  differs([](DataOptions& other) { other.normalize.train = data::Normalization{0.5, 0.25}; });
}

TEST_F(DataSourceTest, DrawnDigitsAreThoseOfTheDatasSeed) {
  DataOptions options = digits();
  const std::string hash = load(options).pair.train->sha256();
  EXPECT_EQ(load(options, 2, 3).pair.train->sha256(), hash);  // neither job's seed nor threads
  options.seed = 2;
  EXPECT_NE(load(options).pair.train->sha256(), hash);
}

}  // namespace
}  // namespace gentrain::trainers
