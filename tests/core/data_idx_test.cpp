// MNIST's idx files: plain and gzip give the same content, every kind of damage is named.
#include <cstdlib>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/data/dataset.h"
#include "kernels/error.h"

namespace gentrain::data {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

// `count` images of 2x3 pixels; pixel p of image i is 10 i + p.
std::string images(std::uint32_t count) {
  std::string text = big_endian(0x803) + big_endian(count) + big_endian(2) + big_endian(3);
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t p = 0; p < 6; ++p) {
      text += static_cast<char>(10 * i + p);
    }
  }
  return text;
}

std::string labels(const std::string& values) {
  return big_endian(0x801) + big_endian(static_cast<std::uint32_t>(values.size())) + values;
}

std::string gzip(std::string text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(text.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(text.data());
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

class Idx : public testing::Test {
 protected:
  Idx()
      : folder_(fs::temp_directory_path() / ("gentrain-idx-" + std::to_string(getpid()))),
        x_(folder_ / "x"),
        y_(folder_ / "y") {
    fs::create_directories(folder_);
  }
  ~Idx() override { fs::remove_all(folder_); }

  static void put(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  void expect_error(const fs::path& path, const std::string& message) const {
    EXPECT_THAT([&] { load_idx(x_, y_); },
                ThrowsMessage<IoError>(AllOf(HasSubstr(path.string()), HasSubstr(message))));
  }

  fs::path folder_;
  fs::path x_;
  fs::path y_;
};

TEST_F(Idx, ReadsImagesAndLabels) {
  put(x_, images(3));
  put(y_, labels({9, 0, 4}));
  const auto set = load_idx(x_, y_);
  EXPECT_EQ(set->size(), 3);
  EXPECT_EQ(set->sample_shape(), Shape({2, 3, 1}));
  EXPECT_EQ(set->classes(), 10);
  EXPECT_TRUE(set->in_memory());
  EXPECT_EQ(set->label(0), 9);
  EXPECT_EQ(set->label(2), 4);
  std::array<std::uint8_t, 6> pixels{};
  set->read(2, pixels.data());
  EXPECT_THAT(pixels, testing::ElementsAre(20, 21, 22, 23, 24, 25));
  EXPECT_EQ(set->description(), "idx file " + x_.string());
}

TEST_F(Idx, TheHashIsOfShapePixelsAndLabels) {
  put(x_, images(3));
  put(y_, labels({9, 0, 4}));
  const std::string hash = load_idx(x_, y_)->sha256();
  EXPECT_EQ(hash.size(), 64);
  EXPECT_EQ(load_idx(x_, y_)->sha256(), hash);

  put(y_, labels({9, 0, 5}));
  EXPECT_NE(load_idx(x_, y_)->sha256(), hash);
  put(y_, labels({9, 0, 4}));
  std::string other = images(3);
  other.back() = 99;
  put(x_, other);
  EXPECT_NE(load_idx(x_, y_)->sha256(), hash);
  other = images(3);
  std::swap(other[11], other[15]);  // 3x2 instead of 2x3
  put(x_, other);
  EXPECT_NE(load_idx(x_, y_)->sha256(), hash);

  put(x_, gzip(images(3)));
  put(y_, gzip(labels({9, 0, 4})));
  EXPECT_EQ(load_idx(x_, y_)->sha256(), hash);
}

TEST_F(Idx, TheHashMayBeStopped) {
  put(x_, images(3));
  put(y_, labels({9, 0, 4}));
  const auto set = load_idx(x_, y_);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(set->sha256(stop.get_token()), "");
  EXPECT_EQ(set->sha256(), load_idx(x_, y_)->sha256());
  EXPECT_EQ(set->sha256(stop.get_token()), set->sha256()) << "it is known by now";
}

TEST_F(Idx, PipesAreRefused) {
  ASSERT_EQ(mkfifo(x_.c_str(), 0600), 0);
  std::fstream pipe(x_, std::ios::in | std::ios::out | std::ios::binary);
  pipe << gzip(images(3)) << std::flush;
  put(y_, labels({9, 0, 4}));
  expect_error(x_, "is no regular file");
}

TEST_F(Idx, ImagesAlone) {
  put(x_, images(2));
  const auto set = load_idx_images(x_);
  EXPECT_EQ(set->size(), 2);
  EXPECT_EQ(set->label(0), -1);
  EXPECT_EQ(set->label(1), -1);
  put(x_, labels({1}));
  EXPECT_THAT([&] { load_idx_images(x_); },
              ThrowsMessage<IoError>(HasSubstr("its magic number is 0x00000801")));
}

TEST_F(Idx, FindsThePackedFileBesideTheName) {
  put(folder_ / "x.gz", gzip(images(1)));
  put(folder_ / "y.gz", gzip(labels({7})));
  EXPECT_EQ(load_idx(x_, y_)->label(0), 7);
}

TEST_F(Idx, MissingFilesOfMnist) {
  EXPECT_THAT([&] { load_mnist(folder_); },
              ThrowsMessage<IoError>(
                  AllOf(HasSubstr((folder_ / "train-images-idx3-ubyte").string() + " is missing"),
                        HasSubstr("and so is train-images-idx3-ubyte.gz"), HasSubstr("https://"),
                        HasSubstr("data.source: digits"))));
  put(x_, images(1));
  expect_error(y_, "is missing, and so is y.gz");
}

TEST_F(Idx, ReadsTheFourFilesOfMnist) {
  put(folder_ / "train-images-idx3-ubyte", images(3));
  put(folder_ / "train-labels-idx1-ubyte.gz", gzip(labels({9, 0, 4})));
  put(folder_ / "t10k-images-idx3-ubyte.gz", gzip(images(2)));
  put(folder_ / "t10k-labels-idx1-ubyte", labels({1, 2}));
  const DataPair pair = load_mnist(folder_);
  EXPECT_EQ(pair.train->size(), 3);
  EXPECT_EQ(pair.test->size(), 2);
  EXPECT_EQ(pair.test->label(1), 2);
  EXPECT_EQ(pair.train_normalization.mean, 0.13066);
  EXPECT_EQ(pair.train_normalization.stddev, 0.30811);
  EXPECT_EQ(pair.test_normalization.mean, 0.13251);
  EXPECT_EQ(pair.test_normalization.stddev, 0.31048);
  EXPECT_EQ(pair.train->description(), "mnist in " + folder_.string() + ", training set");

  std::string other = images(2);
  std::swap(other[11], other[15]);
  put(folder_ / "t10k-images-idx3-ubyte.gz", gzip(other));
  EXPECT_THAT([&] { load_mnist(folder_); },
              ThrowsMessage<IoError>(AllOf(HasSubstr("train-images-idx3-ubyte: samples are "
                                                     "[2, 3, 1] but in "),
                                           HasSubstr("they are [3, 2, 1]"))));
}

TEST_F(Idx, WrongMagic) {
  put(x_, labels({1}));
  put(y_, labels({1}));
  expect_error(x_, "its magic number is 0x00000801, 0x00000803 was needed (images)");
  put(x_, images(1));
  put(y_, images(1));
  expect_error(y_, "its magic number is 0x00000803, 0x00000801 was needed (labels)");
}

TEST_F(Idx, Truncated) {
  put(y_, labels({1, 2}));
  const std::string whole = images(2);
  put(x_, whole.substr(0, whole.size() - 1));
  expect_error(x_, "is truncated: at most 11 bytes of content, 12 were needed");
  put(x_, whole.substr(0, 9));
  expect_error(x_, "is truncated: 9 bytes, its header alone has 16");
  put(x_, "");
  expect_error(x_, "is truncated: 0 bytes, its header alone has 16");
  put(x_, gzip(whole.substr(0, whole.size() - 1)));
  expect_error(x_, "is truncated: only 11 bytes of content, 12 were needed");
}

TEST_F(Idx, AHeaderThatPromisesTooMuchTakesNoMemory) {
  put(y_, labels({1}));
  std::string huge = images(1);
  huge.replace(4, 12, 12, '\x7f');
  put(x_, huge);
  expect_error(x_, "is truncated: at most 6 bytes of content, ");
  put(x_, gzip(huge));
  expect_error(x_, "is truncated: at most ");
}

TEST_F(Idx, TrailingBytes) {
  put(x_, images(1) + "x");
  put(y_, labels({1}));
  expect_error(x_, "holds more bytes than its header says");
  put(x_, gzip(images(1) + "x"));
  expect_error(x_, "holds more bytes than its header says");
  put(x_, gzip(images(1)) + "xyz");
  expect_error(x_, "3 bytes follow the gzip data");
}

TEST_F(Idx, GzipCutShortOrDamaged) {
  put(y_, labels({1}));
  std::string packed = gzip(images(1));
  for (const std::size_t cut : {std::size_t{1}, std::size_t{8}, packed.size() - 12}) {
    put(x_, packed.substr(0, packed.size() - cut));
    expect_error(x_, fmt::format("its gzip data is cut short after {} bytes", packed.size() - cut));
  }
  std::string damaged = packed;
  damaged[packed.size() - 6] = static_cast<char>(damaged[packed.size() - 6] ^ 1);
  put(x_, damaged);
  expect_error(x_, "its gzip data is damaged: incorrect data check");
  damaged = packed;
  damaged[10] = '\xff';
  put(x_, damaged);
  expect_error(x_, "its gzip data is damaged: invalid block type");
}

TEST_F(Idx, CountsDiffer) {
  put(x_, images(3));
  put(y_, labels({1, 2}));
  expect_error(x_, "holds 3 images but " + y_.string() + " holds 2 labels");
}

TEST_F(Idx, LabelOutOfRange) {
  put(x_, images(3));
  put(y_, labels({1, 2, 10}));
  expect_error(y_, "label 2 is 10, from 0 to 9 were expected");
}

TEST_F(Idx, NoSamples) {
  put(x_, images(0));
  put(y_, labels(""));
  expect_error(x_, "holds no samples: extent 0 of its header is 0");
}

TEST(Mnist, TheRealFiles) {
  const char* const root = std::getenv("GENTRAIN_DATA");
  if (root == nullptr || !fs::exists(fs::path(root) / "mnist")) {
    GTEST_SKIP() << "GENTRAIN_DATA names no folder that holds mnist/";
  }
  const DataPair pair = load_mnist(fs::path(root) / "mnist");
  EXPECT_EQ(pair.train->size(), 60000);
  EXPECT_EQ(pair.test->size(), 10000);
  EXPECT_EQ(pair.train->sample_shape(), Shape({28, 28, 1}));
  std::vector<std::int32_t> first;
  for (int i = 0; i < 8; ++i) {
    first.push_back(pair.test->label(i));
  }
  EXPECT_THAT(first, testing::ElementsAre(7, 2, 1, 0, 4, 1, 4, 9));
}

}  // namespace
}  // namespace gentrain::data
