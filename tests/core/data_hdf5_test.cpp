// HDF5 arrays: the same content from memory and from disk, every misfit named.
#include <fstream>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <unistd.h>

#include "core/data/hdf5_arrays.h"
#include "kernels/error.h"

namespace gentrain::data {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Extents = std::vector<hsize_t>;

// An array whose elements count up from `start`, in chunks of two rows if it has rows.
void write_array(hid_t file, const char* name, hid_t type, const Extents& extents, int start = 0) {
  hsize_t count = 1;
  for (const hsize_t extent : extents) {
    count *= extent;
  }
  std::vector<int> values(count);
  std::iota(values.begin(), values.end(), start);
  const hid_t space = H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr);
  const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  if (extents[0] > 2) {
    Extents chunk = extents;
    chunk[0] = 2;
    H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
    H5Pset_deflate(properties, 1);
  }
  const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  if (count > 0) {
    EXPECT_GE(H5Dwrite(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  }
  H5Dclose(set);
  H5Pclose(properties);
  H5Sclose(space);
}

class Hdf5 : public testing::Test {
 protected:
  Hdf5()
      : folder_(fs::temp_directory_path() / ("gentrain-hdf5-" + std::to_string(getpid()))),
        train_(folder_ / "train.h5"),
        test_(folder_ / "test.h5") {
    fs::create_directories(folder_);
  }
  ~Hdf5() override { fs::remove_all(folder_); }

  template <class Fill>
  static void create(const fs::path& path, const Fill& fill) {
    const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    fill(file);
    H5Fclose(file);
  }
  static void create(const fs::path& path, const Extents& x, const Extents& y,
                     int first_label = 0) {
    create(path, [&](hid_t file) {
      write_array(file, "x", H5T_STD_U8LE, x);
      write_array(file, "y", H5T_STD_I64LE, y, first_label);
    });
  }
  void expect_error(const std::string& message) const {
    EXPECT_THAT([&] { load_hdf5(train_, {}); },
                ThrowsMessage<IoError>(AllOf(HasSubstr(train_.string()), HasSubstr(message))));
  }

  fs::path folder_;
  fs::path train_;
  fs::path test_;
};

TEST_F(Hdf5, ReadsImagesAndLabels) {
  create(train_, {5, 2, 3}, {5});
  create(test_, {2, 2, 3, 1}, {2});
  const DataPair pair = load_hdf5(train_, test_);
  EXPECT_EQ(pair.train->size(), 5);
  EXPECT_EQ(pair.train->sample_shape(), Shape({2, 3, 1}));
  EXPECT_EQ(pair.train->classes(), 5);
  EXPECT_EQ(pair.test->size(), 2);
  EXPECT_EQ(pair.test->classes(), 5);
  EXPECT_EQ(pair.train->label(4), 4);
  EXPECT_TRUE(pair.train->in_memory());
  EXPECT_EQ(pair.train->description(), "hdf5 file " + train_.string());
  std::array<std::uint8_t, 6> pixels{};
  pair.train->read(3, pixels.data());
  EXPECT_THAT(pixels, testing::ElementsAre(18, 19, 20, 21, 22, 23));
  EXPECT_NEAR(pair.train_normalization.mean, 14.5 / 255, 1e-12);
  EXPECT_EQ(pair.test_normalization.mean, pair.train_normalization.mean);
}

TEST_F(Hdf5, DiskAndMemoryHoldTheSame) {
  create(train_, {5, 2, 2, 3}, {5});
  const DataPair memory = load_hdf5_arrays(train_, {}, 60);
  const DataPair disk = load_hdf5_arrays(train_, {}, 59);
  EXPECT_TRUE(memory.train->in_memory());
  EXPECT_FALSE(disk.train->in_memory());
  EXPECT_EQ(disk.test, nullptr);
  EXPECT_EQ(disk.train->sample_shape(), Shape({2, 2, 3}));
  EXPECT_EQ(disk.train->sha256(), memory.train->sha256());
  EXPECT_EQ(disk.train_normalization.mean, memory.train_normalization.mean);
  EXPECT_EQ(disk.train_normalization.stddev, memory.train_normalization.stddev);
}

TEST_F(Hdf5, ManyThreadsReadFromDisk) {
  create(train_, {20, 2, 3}, {20});
  const DataPair pair = load_hdf5_arrays(train_, {}, 0);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = t; i < 20; ++i) {
        std::array<std::uint8_t, 6> pixels{};
        pair.train->read(i, pixels.data());
        wrong += pixels[5] == 6 * i + 5 ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
}

TEST_F(Hdf5, MissingFile) {
  expect_error("is missing: an HDF5 file with /x and /y was looked for");
}

TEST_F(Hdf5, NoHdf5File) {
  std::ofstream(train_) << "text";
  expect_error("file signature not found");
}

TEST_F(Hdf5, MissingArrays) {
  create(train_, [](hid_t file) { write_array(file, "x", H5T_STD_U8LE, {1, 2, 2}); });
  expect_error("it has no array /y; /x (images) and /y (labels) are needed");
  create(train_, [](hid_t file) { write_array(file, "y", H5T_STD_U8LE, {1}); });
  expect_error("it has no array /x; /x (images) and /y (labels) are needed");
}

TEST_F(Hdf5, WrongRank) {
  create(train_, {5, 4}, {5});
  expect_error("/x: it has 2 extents, [n, h, w] or [n, h, w, c] is needed");
  create(train_, {5, 2, 2, 1, 1}, {5});
  expect_error("/x: it has 5 extents, [n, h, w] or [n, h, w, c] is needed");
  create(train_, {5, 2, 2}, {5, 1});
  expect_error("/y: it has 2 extents, [n] is needed");
}

TEST_F(Hdf5, WrongType) {
  for (const hid_t type : {H5T_IEEE_F32LE, H5T_STD_I32LE, H5T_STD_I8LE}) {
    create(train_, [type](hid_t file) {
      write_array(file, "x", type, {1, 2, 2});
      write_array(file, "y", H5T_STD_U8LE, {1});
    });
    expect_error("/x: its elements are no unsigned bytes (u8)");
  }
  create(train_, [](hid_t file) {
    write_array(file, "x", H5T_STD_U8LE, {1, 2, 2});
    write_array(file, "y", H5T_IEEE_F32LE, {1});
  });
  expect_error("/y: its elements are no integers");
}

TEST_F(Hdf5, CountsDiffer) {
  create(train_, {5, 2, 2}, {4});
  expect_error("/x holds 5 images but /y 4 labels");
}

TEST_F(Hdf5, LabelOutOfRange) {
  create(train_, {3, 2, 2}, {3}, -1);
  expect_error("/y: label 0 is -1, from 0 to 65535 were expected");
  create(train_, {3, 2, 2}, {3}, 65534);
  expect_error("/y: label 2 is 65536, from 0 to 65535 were expected");
}

TEST_F(Hdf5, ExtentsWhoseProductOverflows) {
  create(train_, [](hid_t file) {
    // Chunks that were never written take no room.
    const std::array<hsize_t, 3> extents{4, hsize_t{1} << 31, hsize_t{1} << 31};
    const std::array<hsize_t, 3> chunk{1, 1024, 1024};
    const hid_t space = H5Screate_simple(3, extents.data(), nullptr);
    const hid_t options = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(options, 3, chunk.data());
    H5Dclose(H5Dcreate2(file, "x", H5T_STD_U8LE, space, H5P_DEFAULT, options, H5P_DEFAULT));
    H5Pclose(options);
    H5Sclose(space);
    write_array(file, "y", H5T_STD_I64LE, {4});
  });
  expect_error("/x: its extents 4 x 2147483648 x 2147483648 x 1 are more than can be");
}

TEST_F(Hdf5, NoSamples) {
  create(train_, {0, 2, 2}, {0});
  expect_error("holds no samples: 0 of [2, 2, 1]");
}

TEST_F(Hdf5, TheTestSetMustFit) {
  create(train_, {3, 2, 2}, {3});
  create(test_, {3, 2, 3}, {3});
  EXPECT_THAT([&] { load_hdf5(train_, test_); },
              ThrowsMessage<IoError>(
                  AllOf(HasSubstr(test_.string()),
                        HasSubstr("samples are [2, 3, 1], those of the training set [2, 2, 1]"))));
  create(test_, {3, 2, 2}, {3}, 1);
  EXPECT_THAT([&] { load_hdf5(train_, test_); },
              ThrowsMessage<IoError>(
                  AllOf(HasSubstr(test_.string()),
                        HasSubstr("/y: label 2 is 3, the training set has classes 0 to 2"))));
}

}  // namespace
}  // namespace gentrain::data
