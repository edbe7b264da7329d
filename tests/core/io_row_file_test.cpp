// HDF5 files that grow row by row: what is written comes back, equal calls give equal bytes, and
// every error.
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/io/row_file.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/hdf5_reader.h"

namespace gentrain::io {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;

class RowFiles : public testing::Test {
 protected:
  RowFiles() { fs::create_directories(folder_); }
  ~RowFiles() override { fs::remove_all(folder_); }
  RowFiles(const RowFiles&) = delete;
  RowFiles& operator=(const RowFiles&) = delete;

  void fill(const fs::path& path, int rows) const {
    RowFileWriter file(path);
    const int maps = file.add_floats("layers/a/b", Shape{2, 3});
    const int labels = file.add_integers("labels");
    const int names = file.add_texts("names");
    file.set_attribute("layer", "a/b");
    file.set_attribute("empty", "");
    for (int i = 0; i < rows; ++i) {
      const auto x = static_cast<float>(i);
      file.append(maps, std::vector<float>{x, 1, 2, 3, 4, -x});
      file.append(labels, i - 1);
      file.append(names, "name " + std::to_string(i) + "\xFF");
    }
    file.commit();
  }
  static std::string bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_ = fs::temp_directory_path() / ("gentrain_rows_" + std::to_string(getpid()));
  fs::path path_ = folder_ / "x.h5";
};

TEST_F(RowFiles, GiveBackWhatWasWritten) {
  fill(path_, 3000);
  const test::Hdf5Array labels = test::Hdf5Reader(path_.string()).read("labels");
  EXPECT_EQ(labels.shape, Shape{3000});
  EXPECT_EQ(labels.values[2999], 2998);
  const RowFileReader reader(path_, {"layers/a/b", "labels"});
  EXPECT_EQ(reader.rows(0), 3000);
  EXPECT_EQ(reader.row_shape(0), (Shape{2, 3}));
  EXPECT_EQ(reader.row_shape(1), Shape{});
  std::vector<float> row(6);
  reader.read(0, 2999, row);
  EXPECT_THAT(row, ElementsAre(2999, 1, 2, 3, 4, -2999));
  std::vector<float> one(1);
  reader.read(1, 0, one);
  EXPECT_THAT(one, ElementsAre(-1)) << "integers are read as numbers";
  EXPECT_EQ(files(), 1U) << "no temporary file stays";
}

TEST_F(RowFiles, EqualCallsGiveEqualBytes) {
  fill(path_, 700);
  fill(folder_ / "y.h5", 700);
  EXPECT_EQ(bytes_of(path_), bytes_of(folder_ / "y.h5"));
  fill(folder_ / "y.h5", 701);
  EXPECT_NE(bytes_of(path_), bytes_of(folder_ / "y.h5"));
}

/// Long texts are written before their chunk of rows is full; all of them are there.
TEST_F(RowFiles, LongTextsDoNotWait) {
  {
    RowFileWriter file(path_);
    const int names = file.add_texts("names");
    const int numbers = file.add_integers("numbers");
    for (int i = 0; i < 10; ++i) {
      file.append(names, std::string(std::size_t{100} << 10, static_cast<char>('a' + i)));
      file.append(numbers, i);
    }
    file.commit();
  }
  EXPECT_EQ(RowFileReader(path_, {"numbers"}).rows(0), 10);
  const std::string bytes = bytes_of(path_);
  for (int i = 0; i < 10; ++i) {
    EXPECT_NE(bytes.find(std::string(1000, static_cast<char>('a' + i))), std::string::npos) << i;
  }
}

TEST_F(RowFiles, AppearWholeOrNotAtAll) {
  {
    RowFileWriter file(path_);
    const int array = file.add_floats("x", Shape{2});
    file.append(array, std::vector<float>{1, 2});
    EXPECT_FALSE(fs::exists(path_));
    EXPECT_THAT(message_of<IoError>([&] { file.append(array, std::vector<float>{1}); }),
                HasSubstr("x.h5: /x: a row of 1 numbers where 2 are needed"));
    EXPECT_THAT(message_of<IoError>([&] { file.add_floats("x", Shape{2}); }),
                HasSubstr("x.h5: /x: "));
  }
  EXPECT_EQ(files(), 0U);
  EXPECT_THAT(message_of<IoError>([&] { RowFileWriter(folder_ / "no/x.h5"); }),
              HasSubstr("No such file or directory"));
  fill(path_, 0);
  EXPECT_EQ(RowFileReader(path_, {"labels"}).rows(0), 0);
}

TEST_F(RowFiles, RefuseWhatCannotBeRead) {
  fill(path_, 2);
  EXPECT_THAT(message_of<IoError>([&] { RowFileReader(path_, {"input"}); }),
              HasSubstr("x.h5: /input: there is no such array"));
  EXPECT_THAT(message_of<IoError>([&] { RowFileReader(path_, {"names"}); }),
              HasSubstr("x.h5: /names: its elements are no numbers"));
  EXPECT_THAT(message_of<IoError>([&] { RowFileReader(path_, {"layers"}); }),
              HasSubstr("x.h5: /layers: "));
  const RowFileReader reader(path_, {"labels"});
  std::vector<float> two(2);
  EXPECT_THAT(message_of<IoError>([&] { reader.read(0, 0, two); }),
              HasSubstr("/labels: row 0 of 2 into 2 numbers"));
  EXPECT_THAT(message_of<IoError>([&] { reader.read(0, 2, std::span(two).first(1)); }),
              HasSubstr("/labels: row 2 of 2"));
  EXPECT_THAT(message_of<IoError>([&] { RowFileReader(folder_ / "no.h5", {"x"}); }),
              HasSubstr("no.h5: "));
  EXPECT_THAT(message_of<IoError>([&] { RowFileReader(folder_, {"x"}); }),
              HasSubstr("is no regular file"));
  std::ofstream(folder_ / "text.h5") << "no HDF5 file";
  EXPECT_THAT(message_of<IoError>([&] { RowFileReader(folder_ / "text.h5", {"x"}); }),
              HasSubstr("text.h5: "));
}

}  // namespace
}  // namespace gentrain::io
