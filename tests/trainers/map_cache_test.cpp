// Kept maps: files by content, shared by runs and threads; what damages them; and whole runs of
// SRGAN with and without them.
#include "trainers/map_cache.h"

#include <algorithm>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/io/sha256.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"
#include "trainers/estimate.h"
#include "trainers/run_log.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class MapCaches : public ::testing::Test {
 protected:
  MapCaches() { start_log("info", 0); }
  ~MapCaches() override { fs::remove_all(folder_); }
  MapCaches(const MapCaches&) = delete;
  MapCaches& operator=(const MapCaches&) = delete;

  /// Two maps of an image [4, 4, 3]: its ReLU, and its means of 2 x 2 pixels.
  static std::vector<Tensor> compute(Context& context, const Tensor& x) {
    return {ops::activate(context, x, Activation::kRelu),
            ops::average_pool2d(context, x, {2, 2}, {2, 2})};
  }
  [[nodiscard]] MapCache make(const std::string& identity = "maps") const {
    return {folder_, identity, {{4, 4, 3}, {2, 2, 3}}, compute};
  }
  std::vector<std::vector<float>> values(const std::vector<Tensor>& maps) {
    std::vector<std::vector<float>> all;
    for (const Tensor& map : maps) {
      all.push_back(copy_to_host<float>(*device_, *queue_, map));
    }
    return all;
  }
  Tensor images(std::int64_t n, float first) {
    std::vector<float> pixels(static_cast<std::size_t>(n) * 48);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = first + static_cast<float>(i % 97) / 97;
    }
    Tensor x = Tensor::empty(*device_, {n, 4, 4, 3});
    copy_from_host<float>(*device_, *queue_, pixels, x);
    return x;
  }
  [[nodiscard]] std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    for (const io::Cache::Entry& entry : io::Cache(folder_).entries()) {
      all.push_back(folder_ / entry.key);
    }
    return all;
  }
  /// What the log says while `action` runs.
  template <class Action>
  static std::string said(const Action& action) {
    testing::internal::CaptureStdout();
    action();
    return testing::internal::GetCapturedStdout();
  }

  fs::path folder_ = fs::temp_directory_path() / ("gentrain_maps_" + std::to_string(getpid()));
  std::unique_ptr<Device> device_ = make_cpu_device();
  std::unique_ptr<Queue> queue_ = device_->make_queue();
  Context context_{*device_, *queue_, nullptr, false, {}};
};

TEST_F(MapCaches, GiveWhatIsComputedAndComputeItOnce) {
  MapCache cache = make();
  EXPECT_EQ(cache.bytes_of_image(), 64 + 4 * (48 + 12));
  const Tensor x = images(3, -0.5F);
  const auto direct = values(compute(context_, x));
  EXPECT_EQ(values(cache.get(context_, x)), direct);
  EXPECT_EQ(cache.computed(), 3);
  ASSERT_THAT(files(), SizeIs(3));
  EXPECT_EQ(fs::file_size(files()[0]), 64U + 4 * (48 + 12));
  EXPECT_EQ(values(cache.get(context_, x)), direct);
  EXPECT_EQ(cache.computed(), 3);
  MapCache next_run = make();
  EXPECT_EQ(values(next_run.get(context_, x)), direct);
  EXPECT_EQ(next_run.computed(), 0);
  next_run.get(context_, images(1, 0.25F));
  EXPECT_EQ(next_run.computed(), 1) << "another image";
  MapCache other = make("other weights");
  other.get(context_, x);
  EXPECT_EQ(other.computed(), 3);
  EXPECT_THAT(files(), SizeIs(7));
}

TEST_F(MapCaches, ServeManyAtATime) {
  const Tensor x = images(5, 0);
  const auto direct = values(compute(context_, x));
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const auto queue = device_->make_queue();
        Context context{*device_, *queue, nullptr, false, {}};
        MapCache cache = make();
        const std::vector<Tensor> maps = cache.get(context, x);
        EXPECT_EQ(copy_to_host<float>(*device_, *queue, maps[1]), direct[1]);
      });
    }
  }
  EXPECT_THAT(files(), SizeIs(5));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 5) << "no temporary file, no lock";
  MapCache cache = make();
  EXPECT_EQ(values(cache.get(context_, x)), direct);
  EXPECT_EQ(cache.computed(), 0);
}

/// The maps of an image, and the file in which they are.
class KeptMaps : public MapCaches {
 protected:
  MapCache cache_ = make();
  Tensor x_ = images(1, 0);
  std::vector<std::vector<float>> direct_ = values(cache_.get(context_, x_));
  fs::path file_ = files().at(0);
};

TEST_F(KeptMaps, WhatIsNoFileOfTheImageIsMadeAnew) {
  std::int64_t computed = 1;
  const auto expect_anew = [&](const std::string& reason) {
    EXPECT_THAT(said([&] { EXPECT_EQ(values(cache_.get(context_, x_)), direct_); }),
                HasSubstr(reason + "computed anew\n"));
    EXPECT_EQ(cache_.computed(), ++computed);
    EXPECT_EQ(said([&] { cache_.get(context_, x_); }), "") << "it is whole again";
    EXPECT_EQ(cache_.computed(), computed);
  };
  const std::string damaged =
      file_.string() + ": is damaged, or not the maps of its image: they are ";
  {
    std::fstream stream(file_, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(100);
    stream.put('!');
  }
  expect_anew(damaged);
  fs::resize_file(file_, 70);
  expect_anew(damaged);
  fs::resize_file(file_, 64);
  expect_anew(damaged);
  fs::resize_file(file_, 0);
  expect_anew(damaged);
  fs::resize_file(file_, fs::file_size(file_) + 1);
  expect_anew(damaged);
  MapCache other = make("other weights");
  other.get(context_, x_);
  const std::vector<fs::path> both = files();
  ASSERT_THAT(both, SizeIs(2));
  fs::copy_file(both[0] == file_ ? both[1] : both[0], file_, fs::copy_options::overwrite_existing);
  expect_anew(damaged);
}

TEST_F(KeptMaps, AreReadByWhoComesWhileAnotherWrites) {
  fs::remove(file_);
  const int lock = open((file_.string() + ".lock").c_str(), O_RDWR | O_CREAT, 0666);
  ASSERT_EQ(flock(lock, LOCK_EX), 0);
  EXPECT_EQ(values(cache_.get(context_, x_)), direct_)
      << "another process, perhaps stopped, has it";
  EXPECT_FALSE(fs::exists(file_));
  close(lock);
  EXPECT_EQ(values(cache_.get(context_, x_)), direct_);
  EXPECT_TRUE(fs::exists(file_));
}

TEST_F(KeptMaps, WhatCannotBeReplacedIsToldOfOnce) {
  fs::remove(file_);
  fs::create_directory(file_);
  const std::string log = said([&] { EXPECT_EQ(values(cache_.get(context_, x_)), direct_); });
  EXPECT_THAT(log, HasSubstr(": the maps are computed anew\n"));
  EXPECT_THAT(log, HasSubstr("content.cache: from here on this rank keeps no more maps: "));
  EXPECT_EQ(said([&] { EXPECT_EQ(values(cache_.get(context_, x_)), direct_); }), "");
}

TEST_F(MapCaches, GoOnWhereNoMoreCanBeKept) {
  MapCache cache = make();
  const Tensor x = images(2, 0);
  const auto direct = values(compute(context_, x));
  std::ofstream(folder_) << "a file";
  const std::string log = said([&] { EXPECT_EQ(values(cache.get(context_, x)), direct); });
  EXPECT_THAT(log, StartsWith("content.cache: from here on this rank keeps no more maps: " +
                              folder_.string() + ": the cache's folder cannot be made: "));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << "once";
  fs::remove(folder_);
  EXPECT_EQ(said([&] { EXPECT_EQ(values(cache.get(context_, x)), direct); }), "");
  EXPECT_EQ(cache.computed(), 4);
  EXPECT_THAT(files(), IsEmpty());
  make().get(context_, x);
  cache.get(context_, x);
  EXPECT_EQ(cache.computed(), 4) << "what others keep is read";
}

TEST_F(MapCaches, SayThatNothingCanBeKeptAtAll) {
  MapCache cache = make();
  const Tensor x = images(1, 0);
  cache.keep(context_, x);
  cache.keep(context_, x);
  EXPECT_EQ(cache.computed(), 1);
  EXPECT_THAT(files(), SizeIs(1));
  fs::remove_all(folder_);
  std::ofstream(folder_) << "a file";
  EXPECT_THAT(message_of<IoError>([&] { cache.keep(context_, x); }),
              StartsWith(folder_.string() + ": the cache's folder cannot be made: "));
}

TEST_F(MapCaches, NeedTheShapesThatTheyWereToldOf) {
  MapCache cache(folder_, "maps", {{4, 4, 3}, {2, 3, 3}}, compute);
  EXPECT_EQ(message_of<ShapeError>([&] { cache.get(context_, images(1, 0)); }),
            "map 2 to keep is [1, 2, 2, 3] but [1, 2, 3, 3] was expected");
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(MapCaches, NeedMapsThatAreAnImagesOwn) {
  const Tensor two = images(2, -0.5F);
  const std::vector<std::int64_t> sizes{1, 3};
  const auto message = [&](const MapCache::Compute& made) {
    return message_of<JobError>(
        [&] { check_images_are_independent(context_, two, sizes, made, "content.cache"); });
  };
  EXPECT_EQ(message(compute), "nothing was thrown");
  const auto by_size = [](Context& context, const Tensor& x) {
    std::vector<Tensor> maps = compute(context, x);
    maps[1] = ops::scale(context, maps[1], x.shape()[0] == 3 ? 1 + 1e-7 : 1);
    return maps;
  };
  EXPECT_EQ(
      message(by_size),
      "content.cache: map 2 of an image among 3 differs in bits from that of the image alone, "
      "so that kept maps would change the result; set it to false");
  const auto by_neighbours = [](Context& context, const Tensor& x) {
    std::vector<Tensor> maps = compute(context, x);
    std::vector<float> pixels = copy_to_host<float>(context.device, context.queue, x);
    pixels[0] += pixels.size() > 96 ? pixels[48] : 0;  // of the next image
    maps[0] = Tensor::empty(context.device, x.shape());
    copy_from_host<float>(context.device, context.queue, pixels, maps[0]);
    return maps;
  };
  EXPECT_THAT(message(by_neighbours), StartsWith("content.cache: map 1 of an image among 3 "));
  const auto found = [&](std::int64_t among, const std::vector<std::int64_t>& of) {
    const auto dependence = find_dependence(context_, two, among, of, by_size);
    return dependence ? dependence->images : 0;
  };
  EXPECT_EQ(found(3, {3}), 0) << "as among three copies of itself";
  EXPECT_EQ(found(3, {2, 3}), 2);
  EXPECT_EQ(found(2, {1, 2, 4}), 0);
}

class CachedRuns : public MapCaches {
 protected:
  [[nodiscard]] TrainOptions job(bool cached) const {
    TrainOptions options = small_srgan_job();
    options.batch = {.global = 8, .shards = 4};  // of 20 images: shards of 2 and of 1
    options.content.maps = {"block1_pool", "block2_pool"};
    options.content.cache = cached;
    options.data.cache = folder_.string();
    options.stages[1].stop.steps = 5;
    return options;
  }
  /// Keeps the maps of one image.
  static void prepare(const TrainOptions& options) {
    run_ranks(
        1, [&](comm::Communicator& communicator) { TrainingRun(options, communicator).prepare(); });
  }
  [[nodiscard]] std::vector<fs::file_time_type> times() const {
    std::vector<fs::file_time_type> all;
    for (const fs::path& file : files()) {
      all.push_back(fs::last_write_time(file));
    }
    return all;
  }
  static std::int64_t changed(const std::vector<fs::file_time_type>& before,
                              const std::vector<fs::file_time_type>& after) {
    std::int64_t count = std::ssize(after) - std::ssize(before);
    for (std::size_t i = 0; i < before.size(); ++i) {
      count += before[i] == after.at(i) ? 0 : 1;
    }
    return count;
  }
  /// Puts zeros in the place of all maps, with the digits that belong to them.
  void forge() const {
    for (const fs::path& file : files()) {
      const std::vector<char> zeros(fs::file_size(file) - 64);
      io::Sha256 hash;
      hash.update(file.filename().string().data(), 64);
      hash.update(zeros.data(), zeros.size());
      std::ofstream stream(file, std::ios::binary);
      stream << hash.finish();
      stream.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
    }
  }
};

TEST_F(CachedRuns, GiveTheSameBytes) {
  const Hashes plain = train_small(job(false), 1);
  EXPECT_FALSE(fs::exists(folder_));
  EXPECT_EQ(train_small(job(true), 1), plain);
  EXPECT_THAT(files(), SizeIs(20));
  const auto before = times();
  EXPECT_EQ(train_small(job(true), 3), plain) << "taken from files";
  EXPECT_LE(changed(before, times()), 3) << "one of each rank, to see that it can";
  fs::remove_all(folder_);
  TrainOptions threads = job(true);
  threads.threads = 2;
  EXPECT_EQ(train_small(threads, 2), plain) << "made by two ranks";
  EXPECT_THAT(files(), SizeIs(20));
  forge();
  EXPECT_NE(train_small(threads, 1), plain) << "they are what it learns from";
}

TEST_F(CachedRuns, GiveTheSameBytesInBf16) {
  prepare(job(true));
  ASSERT_THAT(files(), SizeIs(1));
  TrainOptions options = job(false);
  options.precision = Precision::kBf16Emulated;
  const Hashes plain = train_small(options, 1);
  options.content.cache = true;
  EXPECT_EQ(train_small(options, 2), plain);
  EXPECT_THAT(files(), SizeIs(21)) << "with files of its own";
}

TEST_F(CachedRuns, OtherMapsHaveFilesOfTheirOwn) {
  const auto expect_files = [&](std::size_t count,
                                const std::function<void(TrainOptions&)>& change) {
    TrainOptions other = job(true);
    other.content.scale = ContentOptions::Scale::kNone;  // which takes time
    change(other);
    prepare(other);
    EXPECT_THAT(files(), SizeIs(count));
  };
  using Preprocess = ContentOptions::Preprocess;
  expect_files(1, [](TrainOptions& /*o*/) {});
  expect_files(1, [](TrainOptions& o) { o.adversarial.weight = 0.2; });
  expect_files(1, [](TrainOptions& o) { o.content.map_weights = {2, 1}; });
  expect_files(2, [](TrainOptions& o) { o.seed = 8; });  // other weights
  expect_files(3, [](TrainOptions& o) { o.content.preprocess = Preprocess::kNone; });
  expect_files(4, [](TrainOptions& o) { o.content.maps = {"block1_conv2", "block2_pool"}; });
  expect_files(5, [](TrainOptions& o) { o.content.maps = {"block1_conv2", "block2_conv2"}; });
  expect_files(6, [](TrainOptions& o) {
    o.content.maps = {"block1_conv2", "block2_conv2"};
    o.content.before_activation = true;
  });
  expect_files(7, [](TrainOptions& o) { o.data.seed = 2; });  // other images
}

TEST_F(CachedRuns, SayHowMuchWillBeKept) {
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(job(true), communicator);
    run.prepare();
    EXPECT_THAT(
        run.objective().notes(),
        Contains(StartsWith("content: maps of training images are kept in " + folder_.string() +
                            ": 0.84 MiB each, 16.9 MiB for all of 20; ")));
    EXPECT_THAT(files(), SizeIs(1)) << "whether they can be kept is seen at once";
  });
}

TEST_F(CachedRuns, BeginOnlyWhereMapsCanBeKept) {
  std::ofstream(folder_) << "a file";
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(job(true), communicator);
    EXPECT_THAT(message_of<IoError>([&] { run.prepare(); }),
                StartsWith("data.cache: maps cannot be kept: " + folder_.string() +
                           ": the cache's folder cannot be made: "));
  });
}

TEST_F(CachedRuns, AreEstimatedWithoutFiles) {
  EXPECT_GT(estimate(job(true), 2).steps, 0);
  EXPECT_FALSE(fs::exists(folder_));
}

}  // namespace
}  // namespace gentrain::trainers
