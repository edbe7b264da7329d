// Models and checkpoints: what goes in comes out, the same bytes each time, and every kind of
// damage is found.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/io/array_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"

namespace gentrain::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

ArrayFile example() {
  ArrayFile model;
  model.header = {{"network", "lenet"}, {"classes", 10}, {"note", "\u00e9t\u00e9"}};
  model.arrays.push_back({"conv1/weight", {2, 3}, {1, 2, 3, 4, 5, 6.5F}});
  model.arrays.push_back({"conv1/bias", {2}, {-0.0F, 1e-42F}});
  model.arrays.push_back({"a_scalar", {}, {42}});
  model.arrays.push_back({"deep/er/empty", {0, 4}, {}});
  return model;
}

class ArrayFileTest : public testing::Test {
 protected:
  ArrayFileTest()
      : folder_(fs::temp_directory_path() / ("gentrain-model-" + std::to_string(getpid()))),
        path_(folder_ / "model.h5") {
    fs::create_directories(folder_);
  }
  ~ArrayFileTest() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string bytes() const {
    std::ifstream in(path_, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  void put(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  // Asserts that reading fails with a message that names the file, and that verify says the same.
  void expect_broken(const std::string& message) const {
    EXPECT_THAT([&] { read_array_file(path_, FileKind::kModel); },
                ThrowsMessage<IoError>(AllOf(HasSubstr(path_.string()), HasSubstr(message))));
    const auto lines = verify_array_file(path_);
    ASSERT_FALSE(lines.empty());
    EXPECT_THAT(lines.front(), AllOf(HasSubstr(path_.string()), HasSubstr(message)));
  }

  fs::path folder_;
  fs::path path_;
};

TEST_F(ArrayFileTest, TextThatIsNotUtf8CostsNoModel) {
  ArrayFile model = example();
  model.header["folder"] = "/data/caf\xe9";
  write_array_file(path_, model);
  EXPECT_EQ(read_array_file(path_, FileKind::kModel).header["folder"], "/data/caf\xef\xbf\xbd");
}

TEST_F(ArrayFileTest, PipesAreRefused) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const std::fstream pipe(path_, std::ios::in | std::ios::out | std::ios::binary);
  expect_broken("is no regular file");
}

TEST_F(ArrayFileTest, WhatGoesInComesOut) {
  const ArrayFile model = example();
  write_array_file(path_, model);
  const ArrayFile read = read_array_file(path_, FileKind::kModel);
  EXPECT_EQ(read.header, model.header);
  ASSERT_EQ(read.arrays.size(), model.arrays.size());
  for (std::size_t i = 0; i < model.arrays.size(); ++i) {
    EXPECT_EQ(read.arrays[i].name, model.arrays[i].name);
    EXPECT_EQ(read.arrays[i].shape, model.arrays[i].shape);
    EXPECT_EQ(sha256(std::as_bytes(std::span(read.arrays[i].values))),
              sha256(std::as_bytes(std::span(model.arrays[i].values))));
  }
  EXPECT_THAT(verify_array_file(path_), IsEmpty());
}

TEST_F(ArrayFileTest, NoArraysAtAll) {
  write_array_file(path_, {FileKind::kModel, nlohmann::json::object(), {}});
  EXPECT_THAT(read_array_file(path_, FileKind::kModel).arrays, IsEmpty());
}

TEST_F(ArrayFileTest, SameArraysGiveTheSameBytes) {
  write_array_file(path_, example());
  const std::string first = bytes();
  write_array_file(path_, example());
  EXPECT_EQ(bytes(), first);
  ArrayFile other = example();
  other.arrays[0].values[0] = 1.5F;
  write_array_file(path_, other);
  EXPECT_NE(bytes(), first);
}

TEST_F(ArrayFileTest, BeginsWithReadableText) {
  write_array_file(path_, example());
  const std::string text = bytes();
  EXPECT_EQ(text.substr(0, 24), "gentrain model\nformat 1\n");
  EXPECT_THAT(text, HasSubstr(fmt::format("\nbytes {}\nsha256 {}\n", text.size(),
                                          sha256(std::as_bytes(std::span(text).subspan(512))))));
  EXPECT_EQ(text.substr(512, 4), "\x89HDF");
}

TEST_F(ArrayFileTest, EveryFlippedBitIsFound) {
  write_array_file(path_, example());
  const std::string whole = bytes();
  for (std::size_t at = 0; at < whole.size(); at += at < 600 ? 7 : 97) {
    std::string broken = whole;
    broken[at] = static_cast<char>(broken[at] ^ (1 << (at % 8)));
    put(broken);
    EXPECT_THAT([&] { read_array_file(path_, FileKind::kModel); },
                ThrowsMessage<IoError>(HasSubstr(path_.string())))
        << "byte " << at;
    EXPECT_FALSE(verify_array_file(path_).empty()) << "byte " << at;
  }
}

TEST_F(ArrayFileTest, NamesTheDamagedArray) {
  write_array_file(path_, example());
  std::string text = bytes();
  const float value = 6.5F;
  const std::size_t at = text.find(std::string(reinterpret_cast<const char*>(&value), 4));
  ASSERT_NE(at, std::string::npos);
  text[at + 2] = static_cast<char>(text[at + 2] ^ 1);
  put(text);
  expect_broken("is damaged: its SHA-256 is ");
  EXPECT_THAT(
      verify_array_file(path_),
      ElementsAre(HasSubstr("is damaged"), AllOf(HasSubstr("array conv1/weight: its SHA-256 is"),
                                                 HasSubstr("written was"))));
}

TEST_F(ArrayFileTest, SaysWhenNoArrayIsDamaged) {
  write_array_file(path_, example());
  std::string text = bytes();
  const std::size_t at = text.find("lenet");
  ASSERT_NE(at, std::string::npos);
  text[at] = 'k';
  put(text);
  expect_broken("is damaged: its SHA-256 is ");
  EXPECT_THAT(verify_array_file(path_),
              ElementsAre(HasSubstr("is damaged"), HasSubstr("all arrays are whole")));
}

TEST_F(ArrayFileTest, DamagedFirstBlock) {
  write_array_file(path_, example());
  const std::string text = bytes();
  std::string padding = text;
  padding[500] = 'x';
  put(padding);
  expect_broken("is damaged: its first block is not as it was written");
  put(std::string("gentrain model\nfarmat 1") + text.substr(23));
  expect_broken("is damaged: its first block names no format");
}

TEST_F(ArrayFileTest, Truncated) {
  write_array_file(path_, example());
  const std::string text = bytes();
  put(text.substr(0, text.size() - 1));
  expect_broken(fmt::format("is truncated: {} bytes of {}", text.size() - 1, text.size()));
  put(text.substr(0, 512));
  expect_broken(fmt::format("is truncated: 512 bytes of {}", text.size()));
  put(text.substr(0, 100));
  expect_broken("is truncated: 100 bytes, the first block alone has 512");
}

TEST_F(ArrayFileTest, TrailingBytes) {
  write_array_file(path_, example());
  const std::string text = bytes();
  put(text + "xyz");
  expect_broken(fmt::format("has 3 bytes behind its end at {}", text.size()));
}

TEST_F(ArrayFileTest, NoModel) {
  write_array_file(path_, example());
  for (const std::string& text : {std::string(), std::string(5000, 'x'), bytes().substr(512)}) {
    put(text);
    EXPECT_THAT([&] { read_array_file(path_, FileKind::kModel); },
                ThrowsMessage<IoError>(path_.string() +
                                       " is no gentrain model (it does not begin with the line "
                                       "'gentrain model')"));
    EXPECT_THAT([&] { read_array_file(path_, FileKind::kCheckpoint); },
                ThrowsMessage<IoError>(HasSubstr("is no gentrain checkpoint (it does not begin")));
    EXPECT_THAT(verify_array_file(path_),
                ElementsAre(path_.string() +
                            " is no file of gentrain (it begins with none of 'gentrain model', "
                            "'gentrain checkpoint' and 'gentrain pack')"));
  }
}

TEST_F(ArrayFileTest, PacksHoldBytesAndIntegersToo) {
  const std::vector<std::uint8_t> bytes = {1, 2, 3, 250, 255};
  const std::vector<std::int32_t> numbers = {-7, 1 << 30};
  const std::vector<float> floats = {0.5F};
  const auto of = [](const auto& values) { return std::as_bytes(std::span(values)); };
  write_array_views(path_, ArrayViews{FileKind::kPack,
                                      {{"note", "n"}},
                                      {{"pixels", {5}, ElementType::kU8, of(bytes)},
                                       {"numbers", {1, 2}, ElementType::kI32, of(numbers)},
                                       {"floats", {1}, ElementType::kF32, of(floats)},
                                       {"none", {0}, ElementType::kU8, {}}}});
  EXPECT_TRUE(begins_as(path_, FileKind::kPack));
  EXPECT_FALSE(begins_as(path_, FileKind::kModel));
  EXPECT_FALSE(begins_as(folder_ / "none", FileKind::kPack));
  EXPECT_FALSE(begins_as(folder_, FileKind::kPack));
  EXPECT_THAT(verify_array_file(path_), IsEmpty());
  const Bytes file = read_file(path_);
  const ArrayViews read = view_array_file("p", file, FileKind::kPack);
  EXPECT_EQ(read.header["note"], "n");
  ASSERT_EQ(read.arrays.size(), 4);
  EXPECT_EQ(read.arrays[0].name, "pixels");
  EXPECT_EQ(read.arrays[0].type, ElementType::kU8);
  EXPECT_TRUE(std::ranges::equal(read.arrays[0].bytes, of(bytes)));
  EXPECT_EQ(read.arrays[1].shape, Shape({1, 2}));
  EXPECT_EQ(read.arrays[1].type, ElementType::kI32);
  EXPECT_TRUE(std::ranges::equal(read.arrays[1].bytes, of(numbers)));
  EXPECT_TRUE(std::ranges::equal(read.arrays[2].bytes, of(floats)));
  EXPECT_TRUE(read.arrays[3].bytes.empty());
  EXPECT_THAT(
      [&] { parse_array_file("p", file); },
      ThrowsMessage<IoError>("cannot read p: it is a pack of images, which holds no weights"));
}

TEST_F(ArrayFileTest, ViewsNameTheDamagedArray) {
  write_array_file(path_, example());
  std::string text = bytes();
  const std::string value("\x00\x00\xd0\x40", 4);  // 6.5F
  text[text.find(value)] ^= 1;
  put(text);
  EXPECT_THAT([&] { view_array_file(path_.string(), read_file(path_)); },
              ThrowsMessage<IoError>(
                  testing::StartsWith(path_.string() + ": array conv1/weight: its SHA-256 is ")));
  text[text.find("gentrain") + 9] = 'x';
  put(text);
  EXPECT_THAT([&] { view_array_file("p", read_file(path_)); },
              ThrowsMessage<IoError>(HasSubstr("p is no file of gentrain")));
}

TEST_F(ArrayFileTest, Checkpoints) {
  ArrayFile checkpoint = example();
  checkpoint.kind = FileKind::kCheckpoint;
  write_array_file(path_, checkpoint);
  EXPECT_EQ(bytes().substr(0, 29), "gentrain checkpoint\nformat 1\n");
  EXPECT_THAT(verify_array_file(path_), IsEmpty());
  const ArrayFile read = parse_array_file("memory", read_file(path_));
  EXPECT_EQ(read.kind, FileKind::kCheckpoint);
  EXPECT_EQ(read.header, checkpoint.header);
  EXPECT_EQ(read.arrays.at(0).name, "conv1/weight");
  EXPECT_EQ(read.arrays.at(0).values, checkpoint.arrays[0].values);
  EXPECT_EQ(read_array_file(path_, FileKind::kCheckpoint).arrays.size(), 4);
}

TEST_F(ArrayFileTest, TheOtherKind) {
  ArrayFile file = example();
  write_array_file(path_, file);
  EXPECT_THAT([&] { parse_array_file("memory", read_file(path_), FileKind::kCheckpoint); },
              ThrowsMessage<IoError>(
                  "memory is a model, no checkpoint: eval, predict and init_from take it"));
  file.kind = FileKind::kCheckpoint;
  write_array_file(path_, file);
  EXPECT_THAT([&] { read_array_file(path_, FileKind::kModel); },
              ThrowsMessage<IoError>(path_.string() +
                                     " is a checkpoint, no model: a run is resumed from it"));
}

TEST_F(ArrayFileTest, NewerFormat) {
  write_array_file(path_, example());
  std::string text = bytes();
  text[22] = '2';
  put(text);
  expect_broken("has format 2, this program reads formats up to 1");
}

TEST_F(ArrayFileTest, Missing) {
  expect_broken("open failed: No such file or directory");
}

TEST_F(ArrayFileTest, AFileInTheFoldersPlace) {
  put("text");
  const fs::path path = path_ / "model.h5";
  EXPECT_THAT([&] { write_array_file(path, example()); },
              ThrowsMessage<IoError>(
                  AllOf(HasSubstr("cannot write " + path.string()), HasSubstr("Not a directory"))));
}

TEST_F(ArrayFileTest, ArraysThatCannotBeWritten) {
  write_array_file(path_, example());
  const std::string before = bytes();
  ArrayFile model = example();
  model.arrays[0].values.pop_back();
  EXPECT_THAT([&] { write_array_file(path_, model); },
              ThrowsMessage<ShapeError>(HasSubstr("conv1/weight has 5 values but shape [2, 3]")));
  model = example();
  model.arrays[1].name = model.arrays[0].name;
  EXPECT_THAT([&] { write_array_file(path_, model); },
              ThrowsMessage<IoError>(AllOf(HasSubstr("cannot write " + path_.string()),
                                           HasSubstr("conv1/weight"), HasSubstr("exists"))));
  model = example();
  for (const std::string& name : {std::string(), std::string("/a"), std::string("a//b"),
                                  std::string("a/./b"), std::string("a/"), std::string(256, 'a')}) {
    model.arrays[1].name = name;
    EXPECT_THAT(
        [&] { write_array_file(path_, model); },
        ThrowsMessage<ShapeError>("array file: '" + name +
                                  "' is no name for an array: up to 255 bytes, words between "
                                  "single slashes"));
  }
  EXPECT_EQ(bytes(), before);
}

TEST_F(ArrayFileTest, H5pyReadsIt) {
  if (std::system("/usr/bin/python3 -c 'import h5py' 2>/dev/null") != 0) {
    GTEST_SKIP() << "python3 has no h5py";
  }
  write_array_file(path_, example());
  const std::string script = fmt::format(
      "import h5py, json; f = h5py.File('{}', 'r'); "
      "assert json.loads(f['header'][()])['classes'] == 10; "
      "assert json.loads(f['order'][()])[1] == 'conv1/bias'; "
      "w = f['weights/conv1/weight']; assert w.shape == (2, 3) and w[1, 2] == 6.5; "
      "assert len(w.attrs['sha256']) == 64",
      path_.string());
  EXPECT_EQ(std::system(fmt::format("/usr/bin/python3 -c \"{}\"", script).c_str()), 0);
}

}  // namespace
}  // namespace gentrain::io
