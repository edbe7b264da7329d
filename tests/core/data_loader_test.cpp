// Loaders: the right samples whoever asks, in any order, announced or not; reading ahead is
// bounded, its errors reach the one who asks, and nothing hangs.
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/data/loader.h"
#include "kernels/error.h"
#include "tests/support/few_threads.h"

namespace gentrain::data {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::ThrowsMessage;

// Samples of `bytes` bytes, all index % 251; calls a hook before each read.
class Fake final : public Dataset {
 public:
  Fake(std::int64_t size, std::int64_t bytes, bool in_memory)
      : size_(size), bytes_(bytes), in_memory_(in_memory) {}

  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] Shape sample_shape() const override { return {1, bytes_, 1}; }
  [[nodiscard]] int classes() const override { return 7; }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    hook(index);
    ++reads;
    std::fill_n(pixels, bytes_, static_cast<std::uint8_t>(index % 251));
  }
  [[nodiscard]] std::int32_t label(std::int64_t index) const override {
    return static_cast<std::int32_t>(index % 7);
  }
  [[nodiscard]] bool in_memory() const override { return in_memory_; }
  [[nodiscard]] std::string sha256(const std::stop_token&) const override { return {}; }
  [[nodiscard]] std::string description() const override { return "fake"; }

  std::function<void(std::int64_t)> hook = [](std::int64_t) {};
  mutable std::atomic<int> reads{0};

 private:
  std::int64_t size_;
  std::int64_t bytes_;
  bool in_memory_;
};

void expect_samples(const ShardBatch& batch, const BatchRequest& request,
                    const std::vector<std::int64_t>& order, std::size_t bytes) {
  const auto count = static_cast<std::size_t>(request.last - request.first);
  ASSERT_EQ(batch.labels.size(), count);
  ASSERT_EQ(batch.pixels.size(), count * bytes);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t index = order[static_cast<std::size_t>(request.first) + i];
    EXPECT_EQ(batch.labels[i], index % 7);
    EXPECT_EQ(batch.pixels[i * bytes], index % 251);
    EXPECT_EQ(batch.pixels[i * bytes + bytes - 1], index % 251);
  }
}

template <class Condition>
bool comes_true(const Condition& condition) {
  for (int i = 0; i < 2000 && !condition(); ++i) {
    std::this_thread::sleep_for(1ms);
  }
  return condition();
}

/// The read-ahead has room for 16 of them.
constexpr std::int64_t kLargeSample = 4 << 20;

std::vector<BatchRequest> one_by_one(std::int64_t count) {
  std::vector<BatchRequest> requests;
  for (std::int64_t i = 0; i < count; ++i) {
    requests.push_back({0, i, i + 1});
  }
  return requests;
}

class LoaderTest : public testing::TestWithParam<bool> {};

TEST_P(LoaderTest, GivesThePositionsOfTheEpochsOrder) {
  const auto loader = make_loader(std::make_shared<Fake>(100, 5, GetParam()), 3, true);
  ShardBatch batch;
  for (const std::int64_t epoch : {0, 1, 2, 0}) {
    const auto order = sample_order(3, epoch, 100);
    loader->announce({{epoch, 0, 10}, {epoch, 10, 30}, {epoch, 30, 30}});
    for (const BatchRequest& request :
         {BatchRequest{epoch, 0, 10}, BatchRequest{epoch, 10, 30}, BatchRequest{epoch, 30, 30},
          BatchRequest{epoch, 95, 100}}) {
      loader->load(request, batch);
      expect_samples(batch, request, order, 5);
    }
  }
}

TEST_P(LoaderTest, StoredOrderWithoutShuffle) {
  const auto loader = make_loader(std::make_shared<Fake>(10, 1, GetParam()), 3, false);
  ShardBatch batch;
  loader->load({4, 2, 5}, batch);
  EXPECT_THAT(batch.pixels, testing::ElementsAre(2, 3, 4));
}

TEST_P(LoaderTest, ManyThreads) {
  const auto loader = make_loader(std::make_shared<Fake>(1000, 3, GetParam()), 3, true);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&loader, t] {
      ShardBatch batch;
      for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
        const auto order = sample_order(3, epoch, 1000);
        std::vector<BatchRequest> requests;
        for (std::int64_t i = 0; i < 10; ++i) {
          requests.push_back({epoch, 100 * i + 10 * t, 100 * i + 10 * t + 10});
        }
        loader->announce(requests);
        for (const BatchRequest& request : requests) {
          loader->load(request, batch);
          expect_samples(batch, request, order, 3);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_P(LoaderTest, RefusesPositionsOutside) {
  const auto loader = make_loader(std::make_shared<Fake>(10, 1, GetParam()), 3, true);
  ShardBatch batch;
  for (const BatchRequest& request :
       {BatchRequest{0, 5, 11}, BatchRequest{0, -1, 3}, BatchRequest{0, 4, 3}}) {
    loader->announce({request});
    EXPECT_THAT([&] { loader->load(request, batch); },
                ThrowsMessage<ShapeError>(HasSubstr("of fake, which has 10 samples")));
  }
}

INSTANTIATE_TEST_SUITE_P(MemoryAndDisk, LoaderTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Memory" : "Disk"; });

TEST(MemoryLoader, NeverWaits) {
  const auto loader = make_loader(std::make_shared<Fake>(10, 1, true), 3, true);
  ShardBatch batch;
  loader->load({0, 0, 10}, batch);
  EXPECT_EQ(loader->waited(), 0);
}

TEST(PrefetchingLoader, ReadsAheadWhatWasAnnounced) {
  const auto fake = std::make_shared<Fake>(100, 4, false);
  const auto loader = make_loader(fake, 3, true);
  loader->announce({{0, 0, 10}, {0, 10, 20}});
  loader->announce({{0, 10, 20}, {0, 20, 30}});
  EXPECT_TRUE(comes_true([&] { return fake->reads == 30; }));
  ShardBatch batch;
  loader->load({0, 10, 20}, batch);
  expect_samples(batch, {0, 10, 20}, sample_order(3, 0, 100), 4);
  EXPECT_EQ(fake->reads, 30);
}

TEST(PrefetchingLoader, KeepsWhatWillBeAskedForAgain) {
  const auto fake = std::make_shared<Fake>(100, 4, false);
  const auto loader = make_loader(fake, 3, true);
  const auto order = sample_order(3, 0, 100);
  loader->announce({{0, 0, 10}}, 3);
  EXPECT_TRUE(comes_true([&] { return fake->reads == 10; }));
  for (int time = 0; time < 3; ++time) {
    ShardBatch batch;
    loader->load({0, 0, 10}, batch);
    expect_samples(batch, {0, 0, 10}, order, 4);
    EXPECT_EQ(fake->reads, 10);
  }
  ShardBatch batch;
  loader->load({0, 0, 10}, batch);
  EXPECT_EQ(fake->reads, 20) << "asked for more often than announced";
}

// The only reading thread is busy with the first request until the second was asked for.
TEST(PrefetchingLoader, WhoeverReadsFirstReadsForTheNextTimeToo) {
  const auto fake = std::make_shared<Fake>(100, 4, false);
  std::atomic<bool> go_on{false};
  std::atomic<bool> begun{false};
  fake->hook = [&](std::int64_t index) {
    begun = true;
    while (index == 0 && !go_on) {
      std::this_thread::sleep_for(1ms);
    }
  };
  const auto loader = make_loader(fake, 3, false);
  const BatchRequest busy{0, 0, 1};
  const BatchRequest twice{0, 1, 5};
  const BatchRequest once{0, 5, 9};
  loader->announce({busy});
  EXPECT_TRUE(comes_true([&] { return begun.load(); }));
  loader->announce({twice}, 2);
  loader->announce({once});
  ShardBatch batch;
  for (int time = 0; time < 2; ++time) {
    loader->load(twice, batch);
    EXPECT_THAT(batch.labels, testing::ElementsAre(1, 2, 3, 4));
    EXPECT_EQ(fake->reads, 4);
  }
  loader->load(once, batch);
  EXPECT_EQ(fake->reads, 8);
  go_on = true;
  loader->load(busy, batch);
  EXPECT_EQ(fake->reads, 9);
  loader->forget();
  EXPECT_EQ(fake->reads, 9) << "nothing was left to read";
}

TEST(PrefetchingLoader, KeepsNoMoreThanItReadsAhead) {
  const auto fake = std::make_shared<Fake>(100, kLargeSample, false);
  const auto loader = make_loader(fake, 3, false);
  const std::vector<BatchRequest> requests = one_by_one(40);
  loader->announce(requests, 2);
  EXPECT_TRUE(comes_true([&] { return fake->reads == 16; }));
  const auto load_all = [&] {
    ShardBatch batch;
    for (const BatchRequest& request : requests) {
      loader->load(request, batch);
      EXPECT_EQ(batch.pixels[0], request.first);
    }
  };
  load_all();
  EXPECT_EQ(fake->reads, 40) << "there is no room to keep the other 24";
  load_all();
  EXPECT_EQ(fake->reads, 40 + 24);
}

TEST(PrefetchingLoader, CountsTheTimeItWaits) {
  const auto fake = std::make_shared<Fake>(100, 4, false);
  fake->hook = [](std::int64_t) { std::this_thread::sleep_for(1ms); };
  const auto loader = make_loader(fake, 3, true);
  ShardBatch batch;
  EXPECT_EQ(loader->waited(), 0);
  loader->load({0, 0, 10}, batch);
  const double alone = loader->waited();
  EXPECT_GE(alone, 0.010);
  loader->announce({{0, 10, 20}});
  EXPECT_TRUE(comes_true([&] { return fake->reads >= 11; }));
  loader->load({0, 10, 20}, batch);
  EXPECT_GT(loader->waited(), alone);
}

TEST(PrefetchingLoader, ReadsAheadABoundedAmount) {
  const auto fake = std::make_shared<Fake>(100, kLargeSample, false);
  const auto loader = make_loader(fake, 3, false);
  const std::vector<BatchRequest> requests = one_by_one(100);
  loader->announce(requests);
  EXPECT_TRUE(comes_true([&] { return fake->reads >= 16; }));
  std::this_thread::sleep_for(20ms);
  EXPECT_LE(fake->reads, 17);
  // Far behind the bound: the asking thread reads for itself, nobody waits for room.
  ShardBatch batch;
  loader->load(requests[90], batch);
  EXPECT_EQ(batch.pixels[0], 90);
  // A batch that is fetched makes room for another.
  loader->load(requests[0], batch);
  EXPECT_EQ(batch.pixels[0], 0);
  EXPECT_TRUE(comes_true([&] { return fake->reads >= 18; }));
}

TEST(PrefetchingLoader, ForgetsWhatWasAnnounced) {
  const auto fake = std::make_shared<Fake>(100, kLargeSample, false);
  const auto loader = make_loader(fake, 3, false);
  const std::vector<BatchRequest> requests = one_by_one(100);
  loader->announce(requests);
  EXPECT_TRUE(comes_true([&] { return fake->reads >= 16; }));
  loader->forget();
  const int before = fake->reads;
  // There is room again, and nothing stands before what is announced now.
  std::atomic<bool> other{false};
  fake->hook = [&](std::int64_t index) { other = other || index != 95; };
  loader->announce({requests[95]});
  EXPECT_TRUE(comes_true([&] { return fake->reads > before; }));
  EXPECT_EQ(fake->reads, before + 1);
  EXPECT_FALSE(other);
  // What was forgotten is read again.
  ShardBatch batch;
  loader->load(requests[0], batch);
  EXPECT_EQ(fake->reads, before + 2);
  loader->forget();
}

TEST(PrefetchingLoader, ForgetWaitsForTheBatchThatIsRead) {
  const auto fake = std::make_shared<Fake>(100, 1, false);
  fake->hook = [](std::int64_t) { std::this_thread::sleep_for(1ms); };
  const auto loader = make_loader(fake, 3, true);
  loader->announce({{0, 0, 50}, {0, 50, 100}});
  EXPECT_TRUE(comes_true([&] { return fake->reads > 0; }));
  loader->forget();
  EXPECT_EQ(fake->reads, 50);
}

TEST(PrefetchingLoader, NamesAThreadThatCannotBeStarted) {
  if (!test::kCanLimitThreads) {
    GTEST_SKIP() << "not under a sanitizer";
  }
  const auto fake = std::make_shared<Fake>(100, 1, false);
  const test::FewThreads none(false);
  EXPECT_THAT([&] { make_loader(fake, 3, true); },
              ThrowsMessage<DeviceError>(HasSubstr("1 thread was wanted to read ahead")));
  EXPECT_THAT([&] { make_loader(fake, 3, true, 3); },
              ThrowsMessage<DeviceError>(HasSubstr("3 threads were wanted to read ahead")));
}

TEST(PrefetchingLoader, SeveralThreadsReadTheSame) {
  const auto fake = std::make_shared<Fake>(100, 4, false);
  std::atomic<int> inside{0};
  std::atomic<bool> together{false};
  fake->hook = [&](std::int64_t /*index*/) {
    const int now = ++inside;
    together = together || now > 1;
    std::this_thread::sleep_for(1ms);
    --inside;
  };
  const auto loader = make_loader(fake, 3, true, 3);
  std::vector<BatchRequest> requests;
  for (std::int64_t first = 0; first < 100; first += 5) {
    requests.push_back({0, first, first + 5});
  }
  loader->announce(requests);
  EXPECT_TRUE(comes_true([&] { return fake->reads == 100; }));
  EXPECT_TRUE(together);
  const std::vector<std::int64_t> order = sample_order(3, 0, 100);
  ShardBatch batch;
  for (const BatchRequest& request : requests) {
    loader->load(request, batch);
    expect_samples(batch, request, order, 4);
  }
  EXPECT_EQ(fake->reads, 100);
}

TEST(PrefetchingLoader, ErrorsReachTheOneWhoAsks) {
  const auto fake = std::make_shared<Fake>(100, 4, false);
  fake->hook = [](std::int64_t index) {
    if (index == 15) {
      throw IoError("sample 15 is damaged");
    }
  };
  const auto loader = make_loader(fake, 3, false);
  loader->announce({{0, 10, 20}, {0, 20, 30}});
  EXPECT_TRUE(comes_true([&] { return fake->reads >= 15; }));
  ShardBatch batch;
  loader->load({0, 20, 30}, batch);
  EXPECT_THAT(
      [&] {
        loader->load({0, 10, 20}, batch);
      },
      ThrowsMessage<IoError>("sample 15 is damaged"));
  // Not announced: read by the asking thread, with the same error.
  EXPECT_THAT(
      [&] {
        loader->load({0, 10, 20}, batch);
      },
      ThrowsMessage<IoError>("sample 15 is damaged"));
  loader->announce({{0, 10, 20}}, 2);
  for (int time = 0; time < 2; ++time) {
    EXPECT_THAT(
        [&] {
          loader->load({0, 10, 20}, batch);
        },
        ThrowsMessage<IoError>("sample 15 is damaged"));
  }
  loader->load({0, 0, 10}, batch);
  EXPECT_EQ(batch.pixels[0], 0);
}

TEST(PrefetchingLoader, EndsWhileItReads) {
  const auto fake = std::make_shared<Fake>(100000, 1, false);
  fake->hook = [](std::int64_t) { std::this_thread::sleep_for(1ms); };
  const auto start = std::chrono::steady_clock::now();
  {
    const auto loader = make_loader(fake, 3, true);
    loader->announce({{0, 0, 50000}, {0, 50000, 100000}});
    EXPECT_TRUE(comes_true([&] { return fake->reads > 0; }));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_LT(fake->reads, 50000);
}

TEST(PrefetchingLoader, EndsWithUnfetchedBatches) {
  const auto fake = std::make_shared<Fake>(100, 1, false);
  const auto loader = make_loader(fake, 3, true);
  loader->announce({{0, 0, 50}, {0, 50, 100}});
  EXPECT_TRUE(comes_true([&] { return fake->reads == 100; }));
}

}  // namespace
}  // namespace gentrain::data
