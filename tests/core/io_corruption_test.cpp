// Checkpoints corrupted in thousands of seeded ways, half of them with a first block that fits
// again: none is taken for what it is not, none crashes the reader, and each message names the
// file.
//
// GENTRAIN_CORRUPTIONS=10000 makes more of them than the usual 500, GENTRAIN_CORRUPTION=N number N
// alone.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/io/array_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/noise.h"

namespace gentrain::io {
namespace {

constexpr std::size_t kSector = 512;
constexpr const char* kName = "step-000000010.h5";

ArrayFile example_checkpoint() {
  ArrayFile file;
  file.kind = FileKind::kCheckpoint;
  file.header = {{"job", "lenet"}, {"step", 10}, {"contract", "16 shards"}, {"data", "digits"}};
  float value = 0;
  for (const char* part : {"weights", "optimizer/momentum", "best"}) {
    for (const auto& [name, shape] : {std::pair<const char*, Shape>{"conv1/weight", {6, 5, 5, 1}},
                                      {"conv1/bias", {6}},
                                      {"fc/weight", {10, 84}},
                                      {"fc/bias", {10}}}) {
      NamedArray array{fmt::format("{}/{}", part, name), shape, {}};
      for (std::int64_t i = 0; i < shape.elements(); ++i) {
        array.values.push_back(value += 0.25F);
      }
      file.arrays.push_back(std::move(array));
    }
  }
  return file;
}

// A file in memory that is about to be corrupted, and the numbers that say how.
class Victim {
 public:
  Victim(const std::string& whole, std::uint64_t seed) : text(whole), noise_(seed) {}

  std::string text;

  std::size_t below(std::size_t end) { return noise_.word() % end; }
  /// A byte behind the first block.
  std::size_t inside() { return kSector + below(text.size() - kSector); }
  /// The address of a byte pattern, one of those that are there.
  std::size_t any_of(const std::string& pattern) {
    std::vector<std::size_t> found;
    for (std::size_t at = text.find(pattern); at != std::string::npos;
         at = text.find(pattern, at + 1)) {
      found.push_back(at);
    }
    return found.at(below(found.size()));
  }
  void put(std::size_t at, const std::string& bytes) { text.replace(at, bytes.size(), bytes); }
  void put_number(std::size_t at, std::uint64_t number) {
    put(at, std::string(reinterpret_cast<const char*>(&number), sizeof(number)));
  }
  /// Changes the bits of a byte that are set in `mask`.
  void flip(std::size_t at, std::size_t mask) {
    const std::byte changed = std::byte(text.at(at)) ^ std::byte(mask);
    text[at] = static_cast<char>(changed);
  }
  /// Makes size and hash of the first block those of what follows.
  void seal() {
    text.resize(std::max(text.size(), kSector));
    write_block(std::to_string(text.size()),
                sha256(std::as_bytes(std::span(text).subspan(kSector))));
  }
  void write_block(const std::string& size, const std::string& hash) {
    std::string block =
        fmt::format("gentrain checkpoint\nformat 1\nbytes {}\nsha256 {}\n", size, hash);
    block.resize(kSector, '\0');
    put(0, block);
  }

 private:
  test::Noise noise_;
};

constexpr std::array<std::uint64_t, 8> kHuge = {~0ULL,      1ULL << 63, 1ULL << 62,    1ULL << 61,
                                                1ULL << 40, 1ULL << 32, 0xffffffffULL, 1ULL << 31};
// Of a dataset of f32: version, rank.
const std::string kDataspace("\x01\x02\x01\x00\x00\x00\x00\x00\x0a\x00\x00\x00", 12);
const std::string kHeader = R"({"contract":)";

void flip_bit(Victim& v) {
  v.flip(v.below(v.text.size()), std::size_t{1} << v.below(8));
}

void change_bytes(Victim& v) {
  for (std::size_t count = 1 + v.below(16); count > 0; --count) {
    v.text[v.inside()] = static_cast<char>(v.below(256));
  }
}

void cut(Victim& v) {
  v.text.resize(v.below(v.text.size()));
}

void remove_part(Victim& v) {
  v.text.erase(v.inside(), 1 + v.below(1000));
}

void insert_part(Victim& v) {
  v.text.insert(v.inside(), v.text.substr(v.inside(), 1 + v.below(1000)));
}

void swap_parts(Victim& v) {
  const std::size_t length = 1 + v.below(600);
  const std::size_t a = v.below(v.text.size() - length);
  const std::size_t b = v.below(v.text.size() - length);
  const std::string first = v.text.substr(a, length);
  v.put(a, v.text.substr(b, length));
  v.put(b, first);
}

void zero_part(Victim& v) {
  const std::size_t at = v.inside();
  v.put(at, std::string(std::min<std::size_t>(4096, v.text.size() - at), '\0'));
}

void append(Victim& v) {
  v.text += std::string(1 + v.below(5000), static_cast<char>(v.below(256)));
}

void size_in_block(Victim& v) {
  const std::string hash = v.text.substr(v.text.find("sha256 ") + 7, 64);
  const std::vector<std::string> sizes = {"0",
                                          "511",
                                          "18446744073709551615",
                                          "99999999999999999999",
                                          "-1",
                                          "1e9",
                                          std::to_string(v.below(1U << 24)),
                                          ""};
  v.write_block(sizes[v.below(sizes.size())], hash);
}

void garbage_in_block(Victim& v) {
  for (std::size_t at = v.below(100); at < kSector; at += 1 + v.below(200)) {
    v.flip(at, 1 + v.below(255));
  }
}

void array_bytes(Victim& v) {
  const std::size_t at = v.any_of(std::string("\0\0\x80\x3f", 4));  // 1.0, of the first array
  v.flip(at + v.below(400), std::size_t{1} << v.below(8));
}

void extents(Victim& v) {
  v.put_number(v.any_of(kDataspace) + 8 + 8 * v.below(4), kHuge[v.below(kHuge.size())]);
}

void text_size(Victim& v) {
  const std::uint32_t size =
      static_cast<std::uint32_t>(kHuge[v.below(kHuge.size())] >> v.below(33));
  v.put(v.any_of(std::string("\x13\x11\x00\x00", 4)) + 4,
        std::string(reinterpret_cast<const char*>(&size), sizeof(size)));
}

// Addresses, sizes and counts of B-trees, heaps, symbols and object headers.
void structure(Victim& v) {
  const std::vector<std::string> marks = {"TREE",
                                          "HEAP",
                                          "SNOD",
                                          std::string("\x08\x00\x18\x00", 4),
                                          std::string("\x10\x00\x10\x00", 4),
                                          std::string("\x01\x00\x06\x00", 4)};
  const std::size_t at = v.any_of(marks[v.below(marks.size())]) + 4 * v.below(12);
  const std::uint64_t target = v.below(2) == 0 ? v.below(v.text.size()) : kHuge[v.below(8)];
  v.put_number(std::min(at, v.text.size() - 8), target);
}

void wrong_json(Victim& v) {
  const std::size_t at = v.any_of(v.below(2) == 0 ? kHeader : "[\"weights/");
  v.put(at, std::string(1 + v.below(20), "{}[]\",:\\\xff x1"[v.below(12)]));
}

void deep_json(Victim& v) {
  ArrayFile file = example_checkpoint();
  const std::string room(10000 + v.below(10000), 'x');
  file.header["x"] = room;
  const std::string path = fmt::format("{}gentrain-deep-{}", testing::TempDir(), v.text.size());
  write_array_file(path, file);
  const Bytes bytes = read_file(path);
  std::filesystem::remove(path);
  v.text.assign(reinterpret_cast<const char*>(bytes.data.get()), bytes.size);
  v.put(v.any_of("\"" + room),
        std::string(room.size() / 2, '[') + std::string(room.size() / 2, ']'));
}

void swap_arrays(Victim& v) {
  // Two arrays of the same shape: their values' bytes alone.
  const std::vector<NamedArray> arrays = example_checkpoint().arrays;
  const std::size_t which = v.below(4);
  const auto bytes = [&](std::size_t part) {
    const std::vector<float>& values = arrays.at(4 * part + which).values;
    return std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size());
  };
  const std::size_t a = v.any_of(bytes(0));
  const std::size_t b = v.any_of(bytes(1 + v.below(2)));
  const std::size_t length = bytes(0).size();
  const std::string first = v.text.substr(a, length);
  v.put(a, v.text.substr(b, length));
  v.put(b, first);
}

struct Kind {
  const char* name;
  std::function<void(Victim&)> corrupt;
  bool
      sealed;  // the first block is made to fit, so that what lies behind the whole's hash is tried
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"a flipped bit", flip_bit, false},
      {"changed bytes", change_bytes, false},
      {"cut off", cut, false},
      {"a part removed", remove_part, false},
      {"a part inserted", insert_part, false},
      {"two parts swapped", swap_parts, false},
      {"a page of zeros", zero_part, false},
      {"bytes behind the end", append, false},
      {"a wrong size in the first block", size_in_block, false},
      {"garbage in the first block", garbage_in_block, false},
      {"sealed: an array's bytes", array_bytes, true},
      {"sealed: the values of two arrays swapped", swap_arrays, true},
      {"sealed: changed bytes", change_bytes, true},
      {"sealed: cut off", cut, true},
      {"sealed: a part removed", remove_part, true},
      {"sealed: a part inserted", insert_part, true},
      {"sealed: two parts swapped", swap_parts, true},
      {"sealed: a page of zeros", zero_part, true},
      {"sealed: huge extents", extents, true},
      {"sealed: huge texts", text_size, true},
      {"sealed: addresses, sizes and counts", structure, true},
      {"sealed: wrong JSON", wrong_json, true},
      {"sealed: deep JSON", deep_json, true},
  };
  return all;
}

struct Tally {
  int tried = 0;
  int refused = 0;
  int same = 0;        // what changed means nothing: padding of HDF5
  int other_text = 0;  // sealed, and the header is another valid text: no hash can tell
};

bool same_arrays(const ArrayFile& a, const ArrayFile& b) {
  return std::ranges::equal(a.arrays, b.arrays, [](const NamedArray& x, const NamedArray& y) {
    return x.name == y.name && x.shape == y.shape && x.values == y.values;
  });
}

class Corruptions : public testing::Test {
 protected:
  Corruptions() {
    write_array_file(path_, example_checkpoint());
    const Bytes bytes = read_file(path_);
    whole_.assign(reinterpret_cast<const char*>(bytes.data.get()), bytes.size);
  }
  ~Corruptions() override { std::filesystem::remove(path_); }

  // In memory alone; `number` says how, too.
  void try_one(std::size_t number) {
    const Kind& kind = kinds()[number % kinds().size()];
    Victim victim(whole_, number);
    kind.corrupt(victim);
    if (kind.sealed) {
      victim.seal();
    }
    Tally& tally = tallies_[kind.name];
    if (victim.text == whole_) {
      return;
    }
    ++tally.tried;
    Bytes bytes = make_bytes(victim.text.size());
    std::ranges::copy(victim.text, bytes.data.get());
    try {
      const ArrayFile read = parse_array_file(kName, bytes);
      EXPECT_TRUE(kind.sealed);
      EXPECT_TRUE(same_arrays(read, example_checkpoint()));
      ++(read.header == example_checkpoint().header ? tally.same : tally.other_text);
    } catch (const IoError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find(kName), std::string::npos) << message;
      EXPECT_GT(message.size(), std::string(kName).size() + 10) << message;
      ++tally.refused;
    }
  }

  std::string path_ = testing::TempDir() + "gentrain-corrupt-" + std::to_string(getpid());
  std::string whole_;
  std::map<std::string, Tally> tallies_;
};

TEST_F(Corruptions, NoneIsAccepted) {
  const char* const only = std::getenv("GENTRAIN_CORRUPTION");
  const char* const count = std::getenv("GENTRAIN_CORRUPTIONS");
  const std::size_t first = only == nullptr ? 0 : std::stoul(only);
  const std::size_t end =
      only == nullptr ? (count == nullptr ? 500 : std::stoul(count)) : first + 1;
  for (std::size_t number = first; number < end; ++number) {
    SCOPED_TRACE(fmt::format("GENTRAIN_CORRUPTION={}", number));
    try_one(number);
  }
  fmt::print(
      "| corruption | count | refused | nothing changed | another header "
      "|\n|---|---|---|---|---|\n");
  for (const Kind& kind : kinds()) {
    const Tally& tally = tallies_[kind.name];
    fmt::print("| {} | {} | {} | {} | {} |\n", kind.name, tally.tried, tally.refused, tally.same,
               tally.other_text);
  }
}

}  // namespace
}  // namespace gentrain::io
