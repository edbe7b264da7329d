// The loop: how many steps a stage takes, where each of them stands, and when a stage ends.
#include "trainers/loop.h"

#include <atomic>
#include <memory>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain::trainers {
namespace {

using comm::Range;
using ::testing::ElementsAre;

TEST(PlannedSteps, WhicheverComesFirst) {
  const LoopOptions loop{.samples = 250, .batch_images = 48};  // six steps an epoch
  EXPECT_EQ(planned_steps({.epochs = 3, .steps = {}}, loop), 18);
  EXPECT_EQ(planned_steps({.epochs = {}, .steps = 7}, loop), 7);
  EXPECT_EQ(planned_steps({.epochs = 3, .steps = 7}, loop), 7);
  EXPECT_EQ(planned_steps({.epochs = 1, .steps = 7}, loop), 6);
  EXPECT_EQ(planned_steps({.epochs = 3, .steps = 0}, loop), 0);
  EXPECT_EQ(planned_steps({.epochs = 2, .steps = {}}, {.samples = 96, .batch_images = 48}), 4);
  EXPECT_EQ(planned_steps({.epochs = 2, .steps = {}}, {.samples = 5, .batch_images = 48}), 2);
}

TEST(ShardSamples, CutABatchIntoSlicesThatMayBeEmpty) {
  std::vector<Range> slices;
  for (std::int64_t shard = 0; shard < 4; ++shard) {
    slices.push_back(shard_samples({100, 103}, 4, shard));
  }
  EXPECT_THAT(slices,
              ElementsAre(Range{100, 100}, Range{100, 101}, Range{101, 102}, Range{102, 103}));
}

/// Notes what it sees; may stop a stage.
class Notes final : public Observer {
 public:
  void begin_stage(const Stage& stage, std::int64_t planned, std::int64_t first_step) override {
    begun.emplace_back(stage.name, planned);
    first_steps.push_back(first_step);
    stop_ = first_step > 0 && ended_early;
  }
  Wishes wishes(const StepReport& to_come) override {
    return {.stop = to_come.step == wish_stop_at, .checkpoint = to_come.step == wish_checkpoint_at};
  }
  void after_step(const StepReport& report) override {
    reports.push_back(report);
    stop_ = report.step == stop_after;
  }
  [[nodiscard]] bool wants_stop() const override { return stop_; }
  void end(const LoopPosition& position, LoopEnd how) override { ends.emplace_back(position, how); }

  std::vector<std::pair<std::string, std::int64_t>> begun;
  std::vector<std::int64_t> first_steps;
  std::vector<StepReport> reports;
  std::vector<std::pair<LoopPosition, LoopEnd>> ends;
  std::int64_t stop_after = -1;
  std::int64_t wish_stop_at = -1;
  std::int64_t wish_checkpoint_at = -1;
  bool ended_early = false;  // as an observer would say that restored it

 private:
  bool stop_ = false;
};

/// A loader that only notes what is announced.
class Announced final : public data::Loader {
 public:
  void load(const data::BatchRequest& /*request*/, data::ShardBatch& /*batch*/) override {}
  void announce(const std::vector<data::BatchRequest>& announced, int times_wanted) override {
    requests.push_back(announced);
    times.push_back(times_wanted);
  }
  void forget() override { ++forgotten; }
  [[nodiscard]] double waited() const override { return 0; }
  std::vector<std::vector<data::BatchRequest>> requests;
  std::vector<int> times;
  int forgotten = 0;
};

struct Visit {
  StepPosition position;
  RngKey key;
  std::int64_t shard;
  Range samples;
};

class LoopTest : public ::testing::Test {
 protected:
  Stage stage(const std::string& name, const StopOptions& stop, std::size_t passes = 1) {
    Stage made{name, stop, {}, {}};
    for (std::size_t i = 0; i < passes; ++i) {
      made.passes.push_back(
          {{}, [this](ShardRun& run) {
             const std::lock_guard lock(mutex_);
             visits_.push_back({run.position, run.context.key, run.shard, run.samples});
           }});
    }
    return made;
  }

  void run(std::vector<Stage> stages, data::Loader* loader = nullptr,
           const LoopPosition& start = {}) {
    StepRunner runner(*single_, *device_, workers_, 2);
    run_stages(stages, options_, runner, loader, {&notes_}, start);
  }

  int workers_ = 1;
  LoopOptions options_{.seed = 5, .samples = 10, .batch_images = 4};  // an epoch: 4, 4, 2
  std::unique_ptr<comm::Communicator> single_ = comm::make_single();
  std::unique_ptr<Device> device_ = make_cpu_device();
  std::mutex mutex_;
  std::vector<Visit> visits_;
  Notes notes_;
};

TEST_F(LoopTest, PositionsOverEpochsWithAShortLastBatch) {
  run({stage("one", {.epochs = 2, .steps = {}})});
  ASSERT_EQ(notes_.reports.size(), 6U);
  const std::vector<std::int64_t> images = {4, 4, 2, 4, 4, 2};
  for (std::size_t i = 0; i < 6; ++i) {
    const StepReport& report = notes_.reports[i];
    const auto step = static_cast<std::int64_t>(i);
    EXPECT_EQ(report.step, step);
    EXPECT_EQ(report.stage_step, step);
    EXPECT_EQ(report.epoch, step / 3);
    EXPECT_EQ(report.images, images[i]);
    EXPECT_EQ(report.ends_epoch, i == 2 || i == 5);
    EXPECT_EQ(report.ends_stage, i == 5);
  }
  ASSERT_EQ(visits_.size(), 12U);
  EXPECT_EQ(visits_[0].samples, (Range{0, 2}));
  EXPECT_EQ(visits_[1].samples, (Range{2, 4}));
  EXPECT_EQ(visits_[4].samples, (Range{8, 9}));
  EXPECT_EQ(visits_[5].samples, (Range{9, 10}));
  EXPECT_EQ(visits_[6].samples, (Range{0, 2}));
  EXPECT_EQ(visits_[6].position.epoch, 1);
  EXPECT_EQ(visits_[6].position.seed, 5U);
}

TEST_F(LoopTest, StagesBeginNewEpochsAndCountTheirOwnSteps) {
  run({stage("one", {.epochs = {}, .steps = 4}), stage("skipped", {.epochs = 9, .steps = 0}),
       stage("two", {.epochs = {}, .steps = 1})});
  EXPECT_THAT(notes_.begun,
              ElementsAre(std::pair("one", 4), std::pair("skipped", 0), std::pair("two", 1)));
  ASSERT_EQ(notes_.reports.size(), 5U);
  const StepReport& last = notes_.reports.back();
  EXPECT_EQ(last.stage_index, 2);
  EXPECT_EQ(last.stage_step, 0);
  EXPECT_EQ(last.step, 4);
  EXPECT_EQ(last.epoch, 2);  // "one" had broken off in epoch 1
  EXPECT_TRUE(last.ends_stage);
  EXPECT_EQ(visits_.back().position.stage, 2);
  EXPECT_EQ(visits_.back().position.samples, (Range{0, 4}));
}

TEST_F(LoopTest, AnObserverEndsAStageAndTheNextOneRuns) {
  notes_.stop_after = 1;
  run({stage("one", {.epochs = 3, .steps = {}}), stage("two", {.epochs = {}, .steps = 2})});
  ASSERT_EQ(notes_.reports.size(), 4U);
  EXPECT_FALSE(notes_.reports[1].ends_stage);
  EXPECT_EQ(notes_.reports[2].stage_index, 1);
  EXPECT_EQ(notes_.reports[2].epoch, 1);
}

TEST_F(LoopTest, WhatWasAnnouncedForAStageEndsWithIt) {
  Announced loader;
  notes_.stop_after = 1;
  run({stage("one", {.epochs = 3, .steps = {}}), stage("two", {.epochs = {}, .steps = 2})},
      &loader);
  EXPECT_EQ(loader.forgotten, 2);
}

TEST_F(LoopTest, EveryShardOfEveryPassHasAKeyOfItsOwnWhateverTheWorkers) {
  const auto keys = [this] {
    visits_.clear();
    run({stage("one", {.epochs = {}, .steps = 3}, 2), stage("two", {.epochs = {}, .steps = 3})});
    std::vector<std::array<std::uint32_t, 4>> all;
    for (const Visit& visit : visits_) {
      all.push_back(visit.key.words());
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto alone = keys();
  ASSERT_EQ(alone.size(), 18U);
  EXPECT_EQ(std::adjacent_find(alone.begin(), alone.end()), alone.end());
  workers_ = 2;
  EXPECT_EQ(keys(), alone);
  options_.seed = 6;
  EXPECT_NE(keys(), alone);
}

TEST_F(LoopTest, AnnouncesWhatComesNextAndNothingBehindTheEnd) {
  Announced loader;
  run({stage("skipped", {.epochs = {}, .steps = 0}), stage("one", {.epochs = {}, .steps = 4})},
      &loader);
  ASSERT_EQ(loader.requests.size(), 4U);
  EXPECT_EQ(loader.requests[0].size(), 2U);
  EXPECT_EQ(loader.requests[2][1].first, 9);
  EXPECT_EQ(loader.requests[2][1].last, 10);
  EXPECT_EQ(loader.requests[3][0].epoch, 1);
  EXPECT_EQ(loader.requests[3][0].first, 0);
}

TEST_F(LoopTest, AnnouncesAStepOnceForAllItsPasses) {
  Announced loader;
  run({stage("one", {.epochs = {}, .steps = 2}), stage("two", {.epochs = {}, .steps = 1}, 2)},
      &loader);
  EXPECT_THAT(loader.times, ElementsAre(1, 1, 2));
}

/// Samples on disk, as far as a loader can tell; counts what is read of them.
class SlowPixels final : public data::Dataset {
 public:
  [[nodiscard]] std::int64_t size() const override { return 10; }
  [[nodiscard]] Shape sample_shape() const override { return {1, 1, 1}; }
  [[nodiscard]] int classes() const override { return 1; }
  void read(std::int64_t index, std::uint8_t* pixels) const override {
    ++reads;
    *pixels = static_cast<std::uint8_t>(index);
  }
  [[nodiscard]] std::int32_t label(std::int64_t /*index*/) const override { return 0; }
  [[nodiscard]] bool in_memory() const override { return false; }
  [[nodiscard]] std::string sha256(const std::stop_token& /*stop*/) const override { return ""; }
  [[nodiscard]] std::string description() const override { return "slow"; }

  mutable std::atomic<int> reads{0};
};

TEST_F(LoopTest, APassIsServedWhatTheOneBeforeItRead) {
  const auto pixels = std::make_shared<SlowPixels>();
  const auto loader = data::make_loader(pixels, options_.seed, true);
  std::atomic<int> served{0};
  for (workers_ = 1; workers_ <= 2; ++workers_) {
    Stage two_passes = stage("one", {.epochs = 1, .steps = {}}, 2);
    for (Pass& pass : two_passes.passes) {
      pass.shard = [&](ShardRun& run) {
        loader->load({run.position.epoch, run.samples.first, run.samples.last}, run.worker.batch);
        const std::vector<std::int64_t> order = data::sample_order(options_.seed, 0, 10);
        for (std::int64_t i = run.samples.first; i < run.samples.last; ++i) {
          served += run.worker.batch.pixels.at(static_cast<std::size_t>(i - run.samples.first)) ==
                    order[static_cast<std::size_t>(i)];
        }
      };
    }
    pixels->reads = 0;
    served = 0;
    run({two_passes}, loader.get());
    EXPECT_EQ(served, 20);
    EXPECT_EQ(pixels->reads, 10) << "not once for each pass";
  }
}

TEST_F(LoopTest, GoesOnFromAnyPositionAsIfItHadNotStopped) {
  const auto stages = [this] {
    return std::vector<Stage>{stage("one", {.epochs = {}, .steps = 4}),
                              stage("two", {.epochs = 2, .steps = {}})};
  };
  run(stages());
  const std::vector<StepReport> straight = notes_.reports;
  ASSERT_EQ(straight.size(), 10U);
  for (std::size_t done = 1; done < straight.size(); ++done) {
    notes_.reports.clear();
    run(stages(), nullptr, straight[done - 1].position());
    ASSERT_EQ(notes_.reports.size(), straight.size() - done);
    for (std::size_t i = done; i < straight.size(); ++i) {
      const StepReport& expected = straight[i];
      const StepReport& found = notes_.reports[i - done];
      EXPECT_EQ(found.step, expected.step);
      EXPECT_EQ(found.stage_index, expected.stage_index);
      EXPECT_EQ(found.stage_step, expected.stage_step);
      EXPECT_EQ(found.epoch, expected.epoch);
      EXPECT_EQ(found.images, expected.images);
      EXPECT_EQ(found.ends_epoch, expected.ends_epoch);
      EXPECT_EQ(found.ends_stage, expected.ends_stage);
    }
  }
}

TEST_F(LoopTest, AStageThatHadEndedIsNotGoneOnWith) {
  const auto stages = [this] {
    return std::vector<Stage>{stage("one", {.epochs = {}, .steps = 4}),
                              stage("two", {.epochs = {}, .steps = 1})};
  };
  run(stages(), nullptr, {.stage = 0, .stage_step = 4, .step = 4, .first_epoch = 0});
  EXPECT_THAT(notes_.first_steps, ElementsAre(4, 0));
  ASSERT_EQ(notes_.reports.size(), 1U);
  EXPECT_EQ(notes_.reports[0].stage_index, 1);
  EXPECT_EQ(notes_.reports[0].epoch, 2);
  notes_ = {};
  notes_.ended_early = true;
  run(stages(), nullptr, {.stage = 0, .stage_step = 2, .step = 2, .first_epoch = 0});
  ASSERT_EQ(notes_.reports.size(), 1U);
  EXPECT_EQ(notes_.reports[0].stage_index, 1);
  EXPECT_EQ(notes_.reports[0].step, 2);
  EXPECT_EQ(notes_.reports[0].epoch, 1);
  notes_ = {};
  run(stages(), nullptr, {.stage = 1, .stage_step = 1, .step = 5, .first_epoch = 2});
  EXPECT_TRUE(notes_.reports.empty());
  ASSERT_EQ(notes_.ends.size(), 1U);
  EXPECT_EQ(notes_.ends[0].first.step, 5);
  EXPECT_EQ(notes_.ends[0].second, LoopEnd::kFinished);
}

TEST_F(LoopTest, AnErrorOfAShardComesOutOfTheLoop) {
  for (workers_ = 1; workers_ <= 2; ++workers_) {
    Stage failing = stage("one", {.epochs = 1, .steps = {}});
    failing.passes[0].shard = [](ShardRun& run) {
      if (run.shard == 1 && run.position.stage_step == 1) {
        throw IoError("sample 6 cannot be read");
      }
    };
    notes_.reports.clear();
    EXPECT_EQ(test::message_of<IoError>([&] { run({failing}); }), "sample 6 cannot be read");
    EXPECT_EQ(notes_.reports.size(), 1U);
  }
}

}  // namespace
}  // namespace gentrain::trainers
