// What the reader of array files says of HDF5 structures that it does not take: each refusal with
// its message, by changes of one place of a file that the writer made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/io/array_file.h"
#include "core/io/hdf5_walk.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::io {
namespace {

using test::message_of;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::size_t kBlock = 512;

class WalkTest : public testing::Test {
 protected:
  WalkTest() { content_ = write({{"a/w", Shape{2, 3}, {1, 2, 3, 4, 5, 6}}, {"b", Shape{1}, {7}}}); }
  ~WalkTest() override { std::filesystem::remove(path_); }

  /// The HDF5 file of a model of these arrays.
  std::string write(std::vector<NamedArray> arrays) {
    write_array_file(path_, {FileKind::kModel, {{"key", "value"}}, std::move(arrays)});
    const Bytes bytes = read_file(path_);
    return {reinterpret_cast<const char*>(bytes.data.get()) + kBlock, bytes.size - kBlock};
  }
  static std::string bytes(std::initializer_list<int> values) {
    return {values.begin(), values.end()};
  }
  /// Puts bytes at an offset from where a pattern first occurs.
  void change(const std::string& pattern, std::size_t offset, const std::string& bytes) {
    const std::size_t at = content_.find(pattern);
    ASSERT_NE(at, std::string::npos);
    content_.replace(at + offset, bytes.size(), bytes);
  }
  [[nodiscard]] Hdf5Walk walk() const { return Hdf5Walk(std::as_bytes(std::span(content_))); }
  [[nodiscard]] std::string walk_error() const {
    return message_of<IoError>([&] { static_cast<void>(walk()); });
  }
  [[nodiscard]] std::string dataset_error(const std::string& name) const {
    return message_of<IoError>([&] { static_cast<void>(walk().dataset(name)); });
  }
  /// What parsing says of the content in a file whose first block fits.
  [[nodiscard]] std::string parse_error() const {
    std::string file = "gentrain model\nformat 1\nbytes " +
                       std::to_string(kBlock + content_.size()) + "\nsha256 " +
                       sha256(std::as_bytes(std::span(content_))) + "\n";
    file.resize(kBlock, '\0');
    file += content_;
    Bytes bytes = make_bytes(file.size());
    std::copy(file.begin(), file.end(), bytes.data.get());
    return message_of<IoError>([&] { parse_array_file("x.h5", bytes); });
  }

  std::string path_ = testing::TempDir() + "gentrain-walk-" + std::to_string(getpid());
  std::string content_;
  const std::string dataspace_ = bytes({1, 2, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3});
  const std::string float_type_ = bytes({0x11, 0x20, 0x1f, 0, 4});
  const std::string hash_ = "sha256";
};

TEST_F(WalkTest, FindsWhatIsThere) {
  const StoredDataset array = walk().dataset("weights/a/w");
  EXPECT_EQ(array.type, StoredDataset::Type::kFloat);
  EXPECT_EQ(array.extents, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(array.content.size(), 24);
  EXPECT_EQ(array.sha256, sha256(array.content));
  const StoredDataset header = walk().dataset("header");
  EXPECT_EQ(header.type, StoredDataset::Type::kText);
  EXPECT_EQ(header.content.size(), std::string(R"({"key":"value"})").size());
  EXPECT_EQ(header.sha256, "");
}

TEST_F(WalkTest, ThousandsOfArraysInOneGroup) {
  std::vector<NamedArray> arrays;
  for (int i = 0; i < 3000; ++i) {
    arrays.push_back({"layer" + std::to_string(i) + "/w", Shape{1}, {static_cast<float>(i)}});
  }
  write(arrays);
  const ArrayFile read = read_array_file(path_, FileKind::kModel);
  ASSERT_EQ(read.arrays.size(), 3000);
  for (std::size_t i = 0; i < 3000; ++i) {
    EXPECT_EQ(read.arrays[i].name, arrays[i].name);
    EXPECT_EQ(read.arrays[i].values, arrays[i].values);
  }
}

TEST_F(WalkTest, NoHdf5File) {
  content_[0] = 'x';
  EXPECT_EQ(walk_error(),
            "HDF5 structure, byte 9 behind the first block: no superblock of version 0");
  content_.resize(4);
  EXPECT_THAT(walk_error(), EndsWith("9 bytes are needed, 4 are there"));
}

TEST_F(WalkTest, OtherSizesOfAddresses) {
  content_[13] = 4;
  EXPECT_THAT(walk_error(), EndsWith("size of addresses is 4, not 8"));
}

TEST_F(WalkTest, AnAddressBeyondTheEnd) {
  content_.replace(64, 8, bytes({0, 0, 0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(walk_error(), "HDF5 structure, byte 16777216 behind the first block: there are " +
                              std::to_string(content_.size()));
}

TEST_F(WalkTest, OtherNodes) {
  const std::string whole = content_;
  change("TREE", 0, "BUSH");
  EXPECT_THAT(walk_error(), EndsWith("no B-tree of a group"));
  content_ = whole;
  change("HEAP", 0, "PILE");
  EXPECT_THAT(walk_error(), EndsWith("no heap of names"));
  content_ = whole;
  change("SNOD", 0, "NODE");
  EXPECT_THAT(walk_error(), EndsWith("no symbols of a group"));
}

TEST_F(WalkTest, NamesThatAreNone) {
  change(bytes({'o', 'r', 'd', 'e', 'r', 0}), 0, "o/der");
  EXPECT_THAT(walk_error(), EndsWith("no name"));
}

TEST_F(WalkTest, AGroupWithinItself) {
  // The root's object header in the place of that of `header`, the first symbol.
  const std::string root = content_.substr(64, 8);
  change("SNOD", 16, root);
  EXPECT_THAT(walk_error(), EndsWith("groups without an end"));
}

TEST_F(WalkTest, ABTreeThatIsItsOwnChild) {
  const std::size_t at = content_.find("TREE");
  content_[at + 5] = 1;
  std::string own(8, '\0');
  own[0] = static_cast<char>(at & 0xff);
  own[1] = static_cast<char>(at >> 8);
  change("TREE", 32, own);
  EXPECT_THAT(walk_error(), EndsWith("a B-tree without an end"));
}

TEST_F(WalkTest, ManyMessages) {
  const auto address = static_cast<std::size_t>(static_cast<unsigned char>(content_[64]));
  content_[address + 2] = 65;
  EXPECT_THAT(walk_error(), EndsWith("an object header with 65 messages"));
  content_[address + 2] = 2;
  EXPECT_THAT(walk_error(), EndsWith("1 messages of an object header are missing"));
}

TEST_F(WalkTest, WhatIsNotThere) {
  EXPECT_EQ(dataset_error("weights/c"), "weights/c: there is no such dataset");
  EXPECT_EQ(dataset_error("weights"), "weights: there is no such dataset");
}

TEST_F(WalkTest, HugeExtents) {
  const std::string huge(8, '\xff');
  const std::size_t extent = content_.find(dataspace_) + 8;
  content_.replace(extent, 8, huge);
  EXPECT_THAT(dataset_error("weights/a/w"),
              EndsWith("greatest extent is 2, not 18446744073709551615"));
  content_.replace(extent + 16, 8, huge);
  EXPECT_EQ(dataset_error("weights/a/w"),
            "weights/a/w: its 24 bytes do not fit its extents [18446744073709551615, 3]");
}

TEST_F(WalkTest, OtherTypes) {
  change(float_type_, 4, bytes({8}));
  EXPECT_THAT(dataset_error("weights/a/w"), EndsWith("no f32"));
  change(float_type_.substr(0, 4), 0, bytes({0x10}));
  EXPECT_THAT(dataset_error("weights/a/w"),
              EndsWith("none of f32, u8, i32 and a text of fixed length"));
}

TEST_F(WalkTest, OtherLayouts) {
  change(bytes({8, 0, 24, 0}), 9, bytes({2}));
  EXPECT_THAT(dataset_error("header"),
              AllOf(StartsWith("header: "), EndsWith("class of a data layout is 2, not 1")));
}

TEST_F(WalkTest, ADatasetWithoutItsParts) {
  change(bytes({8, 0, 24, 0}), 0, bytes({0}));
  EXPECT_EQ(dataset_error("header"), "header: type, extents or layout are missing");
}

TEST_F(WalkTest, OtherAttributes) {
  change(hash_, 0, "sha999");
  EXPECT_THAT(dataset_error("weights/a/w"), EndsWith("no attribute sha256"));
}

TEST_F(WalkTest, AHashThatIsNoText) {
  change(hash_, 16, bytes({1, 1}));
  EXPECT_THAT(dataset_error("weights/a/w"), StartsWith("weights/a/w: HDF5 structure"));
}

// ---- what array files make of it ----------------------------------------------------------------

TEST_F(WalkTest, ANameThatIsThereTwice) {
  change("[\"a/w\",\"b\"]", 0, "[\"b\", \"b\"] ");
  EXPECT_EQ(parse_error(), "cannot read x.h5: order: b is there twice");
}

TEST_F(WalkTest, AnOrderThatIsNone) {
  change("[\"a/w\",\"b\"]", 0, "[\"a/w\",777]");
  EXPECT_EQ(parse_error(), "cannot read x.h5: order: no list of names");
}

TEST_F(WalkTest, AnArrayThatIsMissing) {
  change("[\"a/w\",\"b\"]", 0, "[\"a/v\",\"b\"]");
  EXPECT_EQ(parse_error(), "cannot read x.h5: weights/a/v: there is no such dataset");
}

TEST_F(WalkTest, AHeaderThatIsNoJson) {
  change(R"({"key")", 0, "[");
  EXPECT_THAT(parse_error(), StartsWith("cannot read x.h5: header: [json.exception.parse_error"));
}

TEST_F(WalkTest, AHeaderThatIsDeep) {
  write_array_file(path_, {FileKind::kModel, {{"key", std::string(200, 'x')}}, {}});
  const Bytes file = read_file(path_);
  content_.assign(reinterpret_cast<const char*>(file.data.get()) + kBlock, file.size - kBlock);
  change("\"xxx", 0, std::string(101, '[') + std::string(101, ']'));
  EXPECT_EQ(parse_error(), "cannot read x.h5: header: nested more than 64 levels deep");
}

TEST_F(WalkTest, AnArrayInTheHeadersPlace) {
  // `header` gets the object header of the array b.
  const std::size_t symbols = content_.rfind("SNOD");
  content_.replace(content_.find("SNOD") + 16, 8, content_.substr(symbols + 16, 8));
  EXPECT_EQ(parse_error(), "cannot read x.h5: header: no single text");
}

TEST_F(WalkTest, ATextInAnArraysPlace) {
  const std::size_t symbols = content_.rfind("SNOD");
  content_.replace(symbols + 16, 8, content_.substr(content_.find("SNOD") + 16, 8));
  EXPECT_THAT(parse_error(), EndsWith("no array of f32 with up to six extents"));
}

TEST_F(WalkTest, ArraysOnOneAnother) {
  content_ = write({{"a", Shape{2}, {1, 2}}, {"b", Shape{2}, {1, 2}}});
  const std::string layout = bytes({8, 0, 24, 0});
  const std::size_t first = content_.find(layout, content_.find(float_type_));
  const std::size_t second = content_.find(layout, first + 1);
  content_.replace(second + 10, 8, content_.substr(first + 10, 8));
  EXPECT_EQ(parse_error(), "cannot read x.h5: a and b lie on one another");
}

}  // namespace
}  // namespace gentrain::io
