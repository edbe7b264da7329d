// The verb cache: what it lists, what it removes, what it refuses to.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/image/pack.h"
#include "kernels/device.h"
#include "tests/jobs/verbs_fixture.h"
#include "tests/support/as_nobody.h"
#include "trainers/map_cache.h"

namespace gentrain::jobs {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

/// A cache with one entry of each kind; the keys of `kA1` and `kA2` begin alike.
class CacheVerb : public testing::Test {
 protected:
  CacheVerb() {
    fs::create_directories(folder_);
    image::PackContent content;
    content.append({1, 1, 3, {1, 2, 3}}, {"a.png", -1});
    write_pack(folder_ / kA1, content, {});
    write(folder_ / kA2, std::string(64, 'e') + "12345678");
    write(folder_ / kB, "neither");
  }
  ~CacheVerb() override { fs::remove_all(folder_); }
  CacheVerb(const CacheVerb&) = delete;
  CacheVerb& operator=(const CacheVerb&) = delete;

  [[nodiscard]] Outcome cache(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"cache", "--folder", folder_.string()});
    return gentrain(more);
  }
  [[nodiscard]] std::string error_of(const std::vector<std::string>& more) const {
    const Outcome outcome = cache(more);
    EXPECT_EQ(outcome.code, kUsage) << outcome.out;
    return outcome.err;
  }
  [[nodiscard]] std::vector<std::string> keys() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      found.push_back(entry.path().filename());
    }
    return found;
  }

  const std::string kA1 = "a1" + std::string(62, '0');
  const std::string kA2 = "a2" + std::string(62, '0');
  const std::string kB = "b" + std::string(63, '1');
  fs::path folder_ =
      fs::temp_directory_path() / ("gentrain_cache_verb_" + std::to_string(getpid()));
};

TEST_F(CacheVerb, ListsKeysKindsAndBytes) {
  const Outcome listed = cache();
  EXPECT_EQ(listed.code, kSuccess);
  const auto bytes = fs::file_size(folder_ / kA1);
  EXPECT_EQ(listed.out, kA1 + "  faces  " + std::string(14 - std::to_string(bytes).size(), ' ') +
                            std::to_string(bytes) + "\n" + kA2 + "  maps               72\n" + kB +
                            "  other               7\n" + folder_.string() + ": 3 entries, " +
                            std::to_string(bytes + 79) + " bytes\n");
}

TEST_F(CacheVerb, ListsWhatItCannotRead) {
  fs::permissions(folder_, fs::perms::all);
  fs::permissions(folder_ / kA1, fs::perms::none);
  fs::permissions(folder_ / kA2, fs::perms::all);
  const test::AsNobody nobody;
  const Outcome listed = cache();
  EXPECT_EQ(listed.code, kSuccess) << listed.err;
  EXPECT_THAT(listed.out, HasSubstr(kA1 + "  other "));
  EXPECT_THAT(listed.out, HasSubstr(kA2 + "  maps "));
}

TEST_F(CacheVerb, RemovesTheOneWhoseKeyBeginsSo) {
  const Outcome removed = cache({"--clear", "a2"});
  EXPECT_EQ(removed.out, kA2 + "  maps               72\n" + folder_.string() +
                             ": 1 entries, 72 bytes, removed\n");
  EXPECT_THAT(keys(), UnorderedElementsAre(kA1, kB));
  EXPECT_EQ(cache({"a1", "--clear"}).code, kSuccess);
  EXPECT_THAT(keys(), UnorderedElementsAre(kB));
  EXPECT_EQ(cache({"--clear", kB}).code, kSuccess);
  EXPECT_THAT(keys(), testing::IsEmpty());
}

TEST_F(CacheVerb, RemovesThoseOfAKindOrAll) {
  EXPECT_THAT(cache({"--clear", "maps"}).out, EndsWith(": 1 entries, 72 bytes, removed\n"));
  EXPECT_THAT(keys(), UnorderedElementsAre(kA1, kB));
  EXPECT_THAT(cache({"--clear", "maps"}).out, EndsWith(": 0 entries, 0 bytes, removed\n"));
  write(folder_ / (kA2 + ".tmp"), "of a dead maker");
  const Outcome all = cache({"--clear"});
  EXPECT_THAT(all.out, HasSubstr(kA1 + "  faces "));
  EXPECT_THAT(all.out, HasSubstr(": 2 entries, "));
  EXPECT_THAT(keys(), testing::IsEmpty());
}

TEST_F(CacheVerb, RefusesWhatNamesNoEntryOrSeveral) {
  const std::string folder = folder_.string();
  EXPECT_EQ(error_of({"--clear", "a"}), "gentrain: cache: the keys of 2 entries in " + folder +
                                            " begin with 'a': " + kA1 + ", " + kA2 + "\n");
  for (const char* end : {"3", "4"}) {
    write(folder_ / (std::string("a") + end + std::string(62, '0')), "x");
  }
  EXPECT_THAT(error_of({"--clear", "a"}), HasSubstr("the keys of 4 entries in "));
  EXPECT_THAT(error_of({"--clear", "a"}), EndsWith(std::string(62, '0') + ", ...\n"));
  EXPECT_EQ(error_of({"--clear", "c"}), "gentrain: cache: the key of none of the 5 entries in " +
                                            folder + " begins with 'c'\n");
  for (const char* wrong : {"", "A1", "map"}) {
    EXPECT_EQ(error_of({"--clear", wrong}),
              std::string("gentrain: cache: '") + wrong +
                  "' is neither the beginning of a key, in lower-case hex, nor a kind (faces, "
                  "maps, other)\n");
  }
  EXPECT_EQ(error_of({"a1"}),
            "gentrain: cache: 'a1' says what to remove, but --clear is missing (usage: gentrain "
            "cache [--clear [WHAT]] [--folder FOLDER])\n");
  EXPECT_EQ(keys().size(), 5U) << "nothing was removed";
}

/// The maps of an image as a run keeps them.
TEST_F(CacheVerb, KnowsMapsThatARunKeeps) {
  const auto device = make_cpu_device();
  const auto queue = device->make_queue();
  Context context{*device, *queue, nullptr, false, {}};
  fs::remove_all(folder_);
  trainers::MapCache kept(folder_, "maps", {{2, 2, 3}},
                          [](Context& /*context*/, const Tensor& x) { return std::vector{x}; });
  const Tensor image = Tensor::empty(*device, {1, 2, 2, 3});
  copy_from_host<float>(*device, *queue, std::vector<float>(12, 0.5F), image);
  kept.keep(context, image);
  EXPECT_THAT(cache().out, HasSubstr("  maps              112\n"));
}

}  // namespace
}  // namespace gentrain::jobs
