// Observers: a loss that is not finite, early stop, the best model, the step log, times.
#include "trainers/observers.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/pixel_net.h"
#include "trainers/run_log.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(WithCommas, EveryThreeDigits) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(9832), "9,832");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(with_commas(-123), "-123");
  EXPECT_EQ(with_commas(-1234), "-1,234");
}

TEST(WithDigits, ThreeOfThemBelowAHundred) {
  EXPECT_EQ(with_digits(6.449), "6.45");
  EXPECT_EQ(with_digits(64.52), "64.5");
  EXPECT_EQ(with_digits(0.0645), "0.0645");
  EXPECT_EQ(with_digits(7), "7.00");
  EXPECT_EQ(with_digits(0), "0.00");
  EXPECT_EQ(with_digits(99.94), "99.9");
  EXPECT_EQ(with_digits(99.96), "100");
  EXPECT_EQ(with_digits(158799.6), "158,800");
}

class ObserverTest : public ::testing::Test {
 protected:
  ~ObserverTest() override { fs::remove_all(folder_); }
  ObserverTest() = default;
  ObserverTest(const ObserverTest&) = delete;
  ObserverTest& operator=(const ObserverTest&) = delete;

  StepReport report(std::int64_t step, float loss) {
    StepReport made;
    made.stage = &stage_;
    made.step = made.stage_step = step;
    made.epoch = step;
    made.images = 8;
    made.seconds = 0.5;
    made.ends_epoch = true;
    made.statistics = {loss, 2.0F};
    return made;
  }

  EvaluationObserver::Setting setting() {
    return {*single_, runner_, *net_.objective, net_.parameters, {dataset_, {0.25, 0.5}, 4}, {},
            {},       {},      nullptr};
  }

  /// The next evaluation is with this slope: a larger one has a lower loss, any positive one is
  /// right about as many samples.
  void set_slope(float slope) { net_.set_slope(*device_, runner_.queue(), slope); }
  std::vector<float> weights() {
    return copy_to_host<float>(*device_, runner_.queue(), net_.parameters[0]);
  }

  std::vector<nlohmann::json> metrics_lines() const {
    std::ifstream file(folder_ / "metrics.jsonl");
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(file, line);) {
      lines.push_back(nlohmann::json::parse(line));
    }
    return lines;
  }

  fs::path folder_ = fs::temp_directory_path() / ("gentrain_observers_" + std::to_string(getpid()));
  std::unique_ptr<comm::Communicator> single_ = comm::make_single();
  std::unique_ptr<Device> device_ = make_cpu_device();
  StepRunner runner_{*single_, *device_, 1, 1};
  PixelNet net_{*device_, runner_.queue()};
  const CountedPixels dataset_{30};
  Stage stage_{"train", {}, {}, {"loss", "top1"}};
};

TEST_F(ObserverTest, FiniteCheckNamesStepAndFirstTensor) {
  FiniteCheck check(runner_, net_.parameters);
  EXPECT_NO_THROW(check.after_step(report(0, 3e38F)));
  EXPECT_EQ(message_of<NumericError>([&] { check.after_step(report(41, kNan)); }),
            "the loss is nan at step 42 (epoch 42); the first tensor that is not finite: none of "
            "the parameters, so a layer's results. A lower learning rate or clip_norm may help");
  const std::vector<float> bias = {0, std::numeric_limits<float>::infinity(), 0};
  copy_from_host<float>(*device_, runner_.queue(), bias, net_.parameters[1]);
  EXPECT_EQ(message_of<NumericError>([&] { check.after_step(report(3, HUGE_VALF)); }),
            "the loss is inf at step 4 (epoch 4); the first tensor that is not finite: "
            "linear1/bias. A lower learning rate or clip_norm may help");
  set_slope(kNan);
  EXPECT_THAT(message_of<NumericError>([&] { check.after_step(report(3, kNan)); }),
              ::testing::HasSubstr("not finite: linear1/weight."));
}

TEST_F(ObserverTest, FiniteCheckNamesATermThatIsNotTheLoss) {
  FiniteCheck check(runner_, net_.parameters);
  StepReport bad = report(41, 1.0F);
  EXPECT_NO_THROW(check.after_step(bad));
  bad.statistics[1] = -HUGE_VALF;
  EXPECT_EQ(message_of<NumericError>([&] { check.after_step(bad); }),
            "the term top1 is -inf at step 42 (epoch 42); the first tensor that is not finite: "
            "none of the parameters, so a layer's results. A lower learning rate or clip_norm may "
            "help");
  bad.statistics[0] = kNan;
  EXPECT_THAT(message_of<NumericError>([&] { check.after_step(bad); }),
              ::testing::StartsWith("the loss is nan at step 42"));
}

TEST_F(ObserverTest, FiniteCheckLooksAtTheWeightsThatTheLastStepLeft) {
  FiniteCheck check(runner_, net_.parameters);
  const LoopPosition position{.stage = 0, .stage_step = 7, .step = 9, .first_epoch = 0};
  EXPECT_NO_THROW(check.end(position, LoopEnd::kFinished));
  set_slope(kNan);
  for (const LoopEnd end : {LoopEnd::kFinished, LoopEnd::kStopped}) {
    EXPECT_EQ(message_of<NumericError>([&] { check.end(position, end); }),
              "linear1/weight is not finite behind step 9. A lower learning rate or clip_norm may "
              "help");
  }
}

TEST_F(ObserverTest, EvaluatesAsOftenAsToldAndAtTheEnd) {
  auto options = setting();
  options.evaluate.every = 3;
  EvaluationObserver observer(options);
  observer.begin_stage(stage_, 8, 0);
  std::vector<std::int64_t> evaluated;
  for (std::int64_t step = 0; step < 8; ++step) {
    dataset_.take_reads();
    StepReport now = report(step, 1.0F);
    now.ends_stage = step == 7;
    observer.after_step(now);
    if (dataset_.take_reads() == std::vector<int>(30, 1)) {
      evaluated.push_back(step);
    }
  }
  EXPECT_THAT(evaluated, ::testing::ElementsAre(2, 5, 7));
  ASSERT_TRUE(observer.last());
  EXPECT_EQ(observer.last()->samples, 30);
  EXPECT_FALSE(observer.best());
  EXPECT_FALSE(observer.wants_stop());
}

TEST_F(ObserverTest, StopsWhenTheMetricDoesNotImproveEnough) {
  auto options = setting();
  options.early_stop = {.metric = Metric::kLoss, .patience = 2, .min_delta = 1e-3};
  EvaluationObserver observer(options);
  observer.begin_stage(stage_, 100, 0);
  const auto stops_after = [&](float slope, std::int64_t step) {
    set_slope(slope);
    observer.after_step(report(step, 1.0F));
    return observer.wants_stop();
  };
  // The loss has its minimum over the slope somewhere; this one is close to it, the others are far.
  EXPECT_FALSE(stops_after(4.0F, 0));
  EXPECT_FALSE(stops_after(2.0F, 1));     // better
  EXPECT_FALSE(stops_after(3.0F, 2));     // worse: one
  EXPECT_FALSE(stops_after(1.0F, 3));     // better than all: the count begins anew
  EXPECT_FALSE(stops_after(0.9999F, 4));  // better by less than min_delta: one
  EXPECT_TRUE(stops_after(5.0F, 5));
  observer.begin_stage(stage_, 100, 0);
  EXPECT_FALSE(observer.wants_stop());
}

TEST_F(ObserverTest, KeepsTheBestWeightsAndPutsThemBack) {
  auto options = setting();
  options.best.metric = Metric::kLoss;
  EvaluationObserver observer(options);
  observer.begin_stage(stage_, 3, 0);
  double least = HUGE_VAL;
  std::int64_t best_step = -1;
  std::vector<float> best_weights;
  std::int64_t step = 0;
  for (const float slope : {4.0F, 1.0F, 6.0F}) {
    set_slope(slope);
    observer.after_step(report(step++, 1.0F));
    if (observer.last()->loss < least) {
      least = observer.last()->loss;
      best_step = step;
      best_weights = weights();
    }
  }
  EXPECT_EQ(best_step, 2);  // steps are counted from 1 in reports to people
  EXPECT_EQ(observer.best_step(), best_step);
  EXPECT_EQ(observer.best()->loss, least);
  const std::uint64_t version = net_.parameters.arena().buffer().version();
  observer.restore_best();
  EXPECT_EQ(weights(), best_weights);
  EXPECT_NE(net_.parameters.arena().buffer().version(), version);
}

TEST_F(ObserverTest, TheModeTurnsTheMetricAround) {
  for (const auto& [mode, step] : std::vector<std::pair<MetricMode, std::int64_t>>{
           {MetricMode::kAuto, 2}, {MetricMode::kMin, 2}, {MetricMode::kMax, 3}}) {
    auto options = setting();
    options.best = {.metric = Metric::kLoss, .mode = mode};
    EvaluationObserver observer(options);
    std::int64_t at = 0;
    for (const float slope : {4.0F, 1.0F, 6.0F}) {
      set_slope(slope);
      observer.after_step(report(at++, 1.0F));
    }
    EXPECT_EQ(observer.best_step(), step);
  }
}

TEST_F(ObserverTest, WithoutABestModelRestoringDoesNothing) {
  EvaluationObserver observer(setting());
  observer.after_step(report(0, 1.0F));
  const std::vector<float> before = weights();
  observer.restore_best();
  EXPECT_EQ(weights(), before);
}

TEST_F(ObserverTest, LogsStepsAndEvaluationsAsLines) {
  RunFolder folder(folder_);
  folder.prepare();
  LogOptions log;
  log.every = 3;
  StepLog steps(folder, log, false);
  auto options = setting();
  options.folder = &folder;
  options.evaluate.every = 5;
  EvaluationObserver evaluation(options);
  steps.begin_stage(stage_, 8, 0);
  for (std::int64_t step = 0; step < 8; ++step) {
    StepReport now = report(step, 1.5F);
    now.ends_stage = step == 7;
    now.learning_rate = 0.25;
    now.gradient_norm = step == 5 ? 2.0 : 0.0;
    steps.after_step(now);
    evaluation.after_step(now);
  }
  const auto lines = metrics_lines();
  std::vector<std::pair<int, bool>> kinds;
  for (const nlohmann::json& line : lines) {
    kinds.emplace_back(line["step"].get<int>(), line.contains("evaluation"));
  }
  EXPECT_THAT(kinds,
              ::testing::ElementsAre(std::pair(1, false), std::pair(3, false), std::pair(5, true),
                                     std::pair(6, false), std::pair(8, false), std::pair(8, true)));
  EXPECT_EQ(lines[0]["loss"], 1.5);
  EXPECT_EQ(lines[0]["top1"], 0.25);
  EXPECT_EQ(lines[0]["lr"], 0.25);
  EXPECT_EQ(lines[0]["images_per_s"], 16.0);
  EXPECT_FALSE(lines[0].contains("gradient_norm"));
  EXPECT_EQ(lines[3]["gradient_norm"], 2.0);
  EXPECT_EQ(lines[2]["evaluation"]["samples"], 30);
}

TEST_F(ObserverTest, LinesOfEpochsTellSlowStepsInThreeDigits) {
  RunFolder folder(folder_);
  folder.prepare();
  StepLog steps(folder, {}, false);
  steps.begin_stage(stage_, 8, 0);
  const auto line = [&](std::int64_t step, double seconds) {
    StepReport now = report(step, 1.5F);  // 8 images
    now.seconds = seconds;
    start_log("info", 0);
    testing::internal::CaptureStdout();
    steps.after_step(now);
    return testing::internal::GetCapturedStdout();
  };
  EXPECT_THAT(line(0, 1.24), ::testing::HasSubstr("loss 1.5000       6.45 images/s  "));
  EXPECT_THAT(line(1, 0.001), ::testing::HasSubstr("loss 1.5000      8,000 images/s  "));
}

TEST_F(ObserverTest, TimesLeaveTheFirstStepOut) {
  StepTimes times(std::chrono::system_clock::now() - std::chrono::seconds(5));
  EXPECT_EQ(times.median_seconds(), 0);
  EXPECT_EQ(times.images_per_second(), 0);
  EXPECT_EQ(times.mean_loss(500), 0);
  std::int64_t step = 0;
  for (const double seconds : {9.0, 1.0, 3.0, 2.0}) {
    StepReport now = report(step, static_cast<float>(step));
    now.seconds = seconds;
    times.after_step(now);
    ++step;
  }
  EXPECT_EQ(times.steps(), 4);
  EXPECT_EQ(times.median_seconds(), 2);
  EXPECT_EQ(times.images_per_second(), 4);
  EXPECT_EQ(times.mean_loss(2), 2.5);
  EXPECT_EQ(times.mean_loss(500), 1.5);
  EXPECT_GE(times.startup_seconds(), 5);
  EXPECT_LT(times.startup_seconds(), 65);
}

TEST_F(ObserverTest, LossesOfAnotherStageAreNotAveraged) {
  StepTimes times(std::chrono::system_clock::now());
  for (std::int64_t step = 0; step < 5; ++step) {
    StepReport now = report(step, static_cast<float>(step));
    now.stage_step = step % 3;
    times.after_step(now);
  }
  EXPECT_EQ(times.mean_loss(500), 3.5) << "of steps 3 and 4";
  times.begin_stage(stage_, 0, 0);  // a stage without steps
  EXPECT_EQ(times.mean_loss(500), 3.5);
  ObserverState saved;
  times.save(saved);
  saved.source = "checkpoint";
  StepTimes again(std::chrono::system_clock::now());
  again.restore(saved);
  EXPECT_EQ(again.mean_loss(500), 3.5);
  StepReport next = report(5, 8.0F);
  next.stage_step = 2;
  again.after_step(next);
  EXPECT_EQ(again.mean_loss(500), 5) << "of steps 3, 4 and 5";
  saved.values["losses"] = 1;
  EXPECT_EQ(message_of<IoError>([&] { again.restore(saved); }),
            "checkpoint: losses is [2] where the network has [1]");
}

}  // namespace
}  // namespace gentrain::trainers
