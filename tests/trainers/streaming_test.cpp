// Streams: every item once and in order, batches by index whoever computes them, few of them in
// memory, items that cannot be loaded, errors that end it.
#include "trainers/streaming.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

using test::message_of;
using testing::ElementsAre;

/// A row: the number in the name, the items of the batch, the sum of the samples before it.
class Counting final : public StreamWork {
 public:
  [[nodiscard]] std::size_t item_bytes() const override { return 1; }
  [[nodiscard]] std::size_t row_values() const override { return 3; }
  void load(const StreamItem& item, std::int64_t index,
            std::span<std::uint8_t> sample) const override {
    const std::lock_guard lock(mutex);
    loaded.insert(index);
    farthest = std::max(farthest, index - told.load());
    if (item.name.starts_with("bad")) {
      sample[0] = 99;  // half read
      throw IoError(item.name + ": is no number");
    }
    if (item.name == "worse") {
      throw NumericError("worse");
    }
    sample[0] = static_cast<std::uint8_t>(std::stoi(item.name) % 256);
  }
  [[nodiscard]] std::vector<float> compute(Worker& /*worker*/,
                                           std::span<const std::uint8_t> samples,
                                           std::int64_t n) const override {
    std::vector<float> rows;
    float before = 0;
    for (const std::uint8_t sample : samples) {
      rows.insert(rows.end(), {static_cast<float>(sample), static_cast<float>(n), before});
      before += static_cast<float>(sample);
    }
    const std::lock_guard lock(mutex);
    ++batches;
    return rows;
  }

  void check(const StreamItem& item, std::span<const float> row) const override {
    EXPECT_FALSE(item.name.starts_with("bad"));
    if (row[0] == 77) {
      throw IoError(item.name + ": is 77");
    }
  }

  mutable std::mutex mutex;
  mutable std::set<std::int64_t> loaded;
  mutable int batches = 0;
  mutable std::atomic<std::int64_t> told{0};  // rows
  mutable std::int64_t farthest = 0;          // that an item was loaded ahead of the rows told
};

StreamSource source_of(std::vector<std::string> names) {
  return [names = std::move(names), at = std::size_t{0}](
             const std::stop_token& /*stop*/) mutable -> std::optional<StreamItem> {
    if (at == names.size()) {
      return std::nullopt;
    }
    const auto label = static_cast<std::int32_t>(at);
    return StreamItem{names[at++], label};
  };
}

std::vector<std::string> numbers(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    names.push_back(std::to_string(i));
  }
  return names;
}

struct Told {
  std::vector<std::vector<float>> rows;
  std::vector<std::string> errors;
  StreamSummary summary;
};

/// What rank 0 is told, and that all ranks count the same.
Told told_by(int ranks, int workers, const std::vector<std::string>& names, std::int64_t batch) {
  Told told;
  std::mutex mutex;
  run_ranks(ranks, [&](comm::Communicator& communicator) {
    StepRunner runner(communicator, test::cpu_device(), workers, 64);
    const Counting work;
    const StreamSummary summary =
        stream(communicator, runner, source_of(names), work, batch, [&](const StreamRow& row) {
          EXPECT_EQ(communicator.rank(), 0);
          EXPECT_EQ(row.index, std::ssize(told.rows));
          EXPECT_EQ(row.item.label, row.index);
          EXPECT_EQ(row.item.name, names[static_cast<std::size_t>(row.index)]);
          told.rows.emplace_back(row.values.begin(), row.values.end());
          told.errors.push_back(row.error);
        });
    const std::lock_guard lock(mutex);
    if (communicator.rank() == 0) {
      told.summary = summary;
    }
    EXPECT_EQ(summary.items, std::ssize(names));
    EXPECT_EQ(summary.failed, std::ranges::count_if(names, [](const std::string& name) {
                return name.starts_with("bad");
              }));
  });
  return told;
}

TEST(Streams, TellTheSameForAnyRanksAndWorkers) {
  std::vector<std::string> names = numbers(53);
  names[7] = "bad \xFF";  // a name need not be UTF-8
  const Told one = told_by(1, 1, names, 4);
  ASSERT_EQ(one.rows.size(), 53U);
  EXPECT_THAT(one.rows[6], ElementsAre(6, 4, 4 + 5));
  EXPECT_THAT(one.rows[52], ElementsAre(52, 4, 0)) << "the last batch is filled up";
  for (const int ranks : {1, 2, 3, 5}) {
    for (const int workers : {1, 2, 3}) {
      const Told other = told_by(ranks, workers, names, 4);
      EXPECT_EQ(other.rows, one.rows) << ranks << " ranks, " << workers << " workers";
      EXPECT_EQ(other.errors, one.errors);
    }
  }
  EXPECT_NE(told_by(1, 1, names, 5).rows, one.rows) << "the batch is part of the contract";
}

/// Not even a half-read sample of it shows in the others' rows.
TEST(Streams, AnItemThatCannotBeLoadedLeavesItsReason) {
  const Told told = told_by(2, 1, {"1", "bad", "3", "bad too"}, 3);
  EXPECT_THAT(told.errors, ElementsAre("", "bad: is no number", "", "bad too: is no number"));
  EXPECT_THAT(told.rows[1], testing::IsEmpty());
  EXPECT_THAT(told.rows[2], ElementsAre(3, 3, 1 + 0));
  EXPECT_EQ(told.summary.failed, 2);
  EXPECT_EQ(told.summary.first_error, "bad: is no number");
}

/// Behind a short batch its last loaded item stands once more, and is not told.
TEST(Streams, ARowDoesNotDependOnHowManyFollow) {
  const Told alone = told_by(1, 1, {"7"}, 8);
  ASSERT_EQ(alone.rows.size(), 1U);
  EXPECT_THAT(alone.rows[0], ElementsAre(7, 8, 0));
  EXPECT_EQ(told_by(1, 1, {"7", "bad"}, 8).rows[0], alone.rows[0]);
  EXPECT_EQ(told_by(2, 1, {"7", "2", "3", "4"}, 8).rows[0], alone.rows[0]);
}

/// Rows of items that could not be loaded, which are computed of zeros, are not looked at.
TEST(Streams, ARowThatIsNoneLeavesItsReason) {
  const Told told = told_by(1, 1, {"bad", "76"}, 2);
  EXPECT_THAT(told.errors, ElementsAre("bad: is no number", ""));
  const auto single = comm::make_single();
  StepRunner runner(*single, test::cpu_device(), 1, 64);
  std::vector<std::string> errors;
  const StreamSummary summary =
      stream(*single, runner, source_of({"76", "77", "78"}), Counting(), 2,
             [&](const StreamRow& row) { errors.push_back(row.error); });
  EXPECT_THAT(errors, ElementsAre("", "77: is 77", ""));
  EXPECT_EQ(summary.failed, 1);
}

TEST(Streams, MayBeEmpty) {
  for (const int ranks : {1, 3}) {
    EXPECT_THAT(told_by(ranks, 2, {}, 8).rows, testing::IsEmpty());
    EXPECT_EQ(told_by(ranks, 2, {"5"}, 8).rows.size(), 1U);
    EXPECT_EQ(told_by(ranks, 2, numbers(16), 8).rows.size(), 16U);
  }
}

/// However many items there are.
TEST(Streams, KeepAWindowOfBatches) {
  const auto single = comm::make_single();
  StepRunner runner(*single, test::cpu_device(), 2, 64);
  const Counting work;
  std::int64_t taken_ahead = 0;
  std::int64_t taken = 0;
  const auto source = [&](const std::stop_token& /*stop*/) -> std::optional<StreamItem> {
    taken_ahead = std::max(taken_ahead, taken - work.told.load());
    return taken++ < 1000 ? std::optional(StreamItem{"1", -1}) : std::nullopt;
  };
  stream(*single, runner, source, work, 2, [&](const StreamRow& /*row*/) {
    work.told.fetch_add(1);
    std::this_thread::sleep_for(std::chrono::microseconds(20));  // slower than the workers
  });
  EXPECT_EQ(work.loaded.size(), 1000U);
  EXPECT_EQ(work.batches, 500);
  EXPECT_LE(work.farthest, 2 * 2 * 2 * 2) << "two rounds of two batches of two for two workers";
  EXPECT_LE(taken_ahead, 16 + 16 + 2);
}

/// The first rows come while names are still on their way.
TEST(Streams, DoNotWaitForTheEnd) {
  const auto single = comm::make_single();
  StepRunner runner(*single, test::cpu_device(), 2, 64);
  const Counting work;
  std::atomic<int> rows{0};
  int at = 0;
  const auto source = [&](const std::stop_token& stop) -> std::optional<StreamItem> {
    while (at == 4 && rows < 4 && !stop.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return at < 6 ? std::optional(StreamItem{std::to_string(at++), -1}) : std::nullopt;
  };
  const StreamSummary summary =
      stream(*single, runner, source, work, 2, [&](const StreamRow& /*row*/) { ++rows; });
  EXPECT_EQ(summary.items, 6);
}

TEST(Streams, EndWithTheErrorsOfTheirParts) {
  const auto single = comm::make_single();
  StepRunner runner(*single, test::cpu_device(), 2, 64);
  const Counting work;
  const auto nothing = [](const StreamRow& /*row*/) {};
  EXPECT_EQ(message_of<NumericError>([&] {
              stream(*single, runner, source_of({"1", "2", "worse", "3"}), work, 2, nothing);
            }),
            "worse");
  int at = 0;
  std::int64_t rows = 0;
  const auto breaks = [&](const std::stop_token& /*stop*/) -> std::optional<StreamItem> {
    if (++at == 6) {
      throw IoError("the list ends in the middle");
    }
    return StreamItem{"1", -1};
  };
  EXPECT_EQ(message_of<IoError>([&] {
              stream(*single, runner, breaks, work, 2, [&](const StreamRow& /*row*/) { ++rows; });
            }),
            "the list ends in the middle");
  EXPECT_EQ(rows, 5) << "what was given before it is told";
  const auto waits = [](const std::stop_token& stop) -> std::optional<StreamItem> {
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return std::nullopt;
  };
  std::atomic<int> given{0};
  const auto gives_two = [&](const std::stop_token& stop) {
    return given++ < 2 ? std::optional(StreamItem{"1", -1}) : waits(stop);
  };
  EXPECT_EQ(message_of<IoError>([&] {
              stream(*single, runner, gives_two, work, 2,
                     [](const StreamRow& /*row*/) { throw IoError("the disk is full"); });
            }),
            "the disk is full")
      << "though the source is still waiting";
  EXPECT_EQ(message_of<JobError>([&] { stream(*single, runner, waits, work, 0, nothing); }),
            "batches of 0: at least 1 is needed");
}

}  // namespace
}  // namespace gentrain::trainers
