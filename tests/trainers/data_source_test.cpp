// From a job's data options to data sets: where MNIST is looked for, what "auto" falls back to, the
// part set aside, the constants of a job.
#include "trainers/data_source.h"

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Tests run in a folder of their own, with GENTRAIN_DATA set to `root_` or not at all.
LoadedData load(const DataOptions& options, std::uint64_t seed = 1, int threads = 1) {
  return load_data(options, seed, threads, *comm::make_single());
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
