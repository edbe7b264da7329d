// What an evaluation tells of a classifier: top-k, confusion matrix, precision and recall, the
// worst mistakes; the same for any ranks and workers, and as files.
#include "trainers/classification_report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/data/memory_dataset.h"
#include "core/image/format.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/pixel_net.h"
#include "trainers/glyphs.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::StartsWith;

constexpr data::Normalization kHalf{0.25, 0.5};  // below pixel 64 negative

/// Runs `body` with a runner and a net on every rank.
template <class Body>
void on_ranks(int ranks, int workers, const Body& body) {
  run_ranks(ranks, [&](comm::Communicator& communicator) {
    const auto device = make_cpu_device();
    StepRunner runner(communicator, *device, workers, 16);
    PixelNet net(*device, runner.queue());
    body(communicator, runner, net);
  });
}

ClassificationReport report_over(const data::Dataset& dataset, int ranks, int workers,
                                 std::int64_t chunk, float slope = 0.5F) {
  std::vector<ClassificationReport> all(static_cast<std::size_t>(ranks));
  on_ranks(
      ranks, workers, [&](comm::Communicator& communicator, StepRunner& runner, PixelNet& net) {
        net.set_slope(runner.device(), runner.queue(), slope);
        all[static_cast<std::size_t>(communicator.rank())] =
            classification_report(communicator, runner, net.network(), {dataset, kHalf, chunk});
      });
  for (const ClassificationReport& one : all) {
    EXPECT_EQ(one, all[0]);
  }
  return all[0];
}

Evaluation evaluation_over(const data::Dataset& dataset, int ranks, std::int64_t top_k) {
  Evaluation result;
  on_ranks(ranks, 1, [&](comm::Communicator& communicator, StepRunner& runner, PixelNet& net) {
    const Evaluation mine =
        evaluate(communicator, runner, *net.objective, {dataset, kHalf, 7, top_k});
    if (communicator.rank() == 0) {
      result = mine;
    }
  });
  return result;
}

TEST(TopK, RanksOfLabels) {
  const std::vector<float> logits = {1, 3, 3, 0};
  EXPECT_EQ(rank_of_label(logits, 1), 0);
  EXPECT_EQ(rank_of_label(logits, 2), 1) << "the first of equal ones comes first";
  EXPECT_EQ(rank_of_label(logits, 0), 2);
  EXPECT_EQ(rank_of_label(logits, 3), 3);
}

TEST(TopK, NoNumberComesLast) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> logits = {kNan, 1, kNan, 2};
  EXPECT_EQ(rank_of_label(logits, 3), 0);
  EXPECT_EQ(rank_of_label(logits, 1), 1);
  EXPECT_EQ(rank_of_label(logits, 0), 4) << "not even among all classes";
  EXPECT_EQ(rank_of_label(logits, 2), 4);
}

TEST(TopK, CountsLabelsAmongTheLikeliest) {
  const CountedPixels dataset(130);
  const Evaluation plain = evaluation_over(dataset, 1, 1);
  std::int64_t among = 0;
  for (std::int64_t i = 0; i < 130; ++i) {  // class 0 is second always
    among += i % 3 != (i < 64 ? 1 : 2) ? 1 : 0;
  }
  for (const int ranks : {1, 3}) {
    const Evaluation two = evaluation_over(dataset, ranks, 2);
    EXPECT_EQ(two.correct_k, among);
    EXPECT_EQ(two.correct, plain.correct);
    EXPECT_EQ(two.loss, plain.loss);
    EXPECT_EQ(evaluation_over(dataset, ranks, 3).correct_k, 130);
  }
}

TEST(TopK, IsToldAndReadAgain) {
  Evaluation evaluation{
      .correct = 9, .samples = 20, .loss = 0.5, .top_k = 5, .correct_k = 19, .terms = {}};
  EXPECT_EQ(describe(evaluation), "9 of 20 right (0.4500), loss 0.5000, top-5 0.9500");
  const nlohmann::json json = to_json(evaluation);
  EXPECT_EQ(json["top5"], 0.95);
  EXPECT_EQ(json["correct_top5"], 19);
  const Evaluation again = evaluation_from_json(json);
  EXPECT_EQ(again.top_k, 5);
  EXPECT_EQ(again.correct_k, 19);
  EXPECT_EQ(again.correct, 9);
  evaluation.top_k = 1;
  EXPECT_EQ(describe(evaluation), "9 of 20 right (0.4500), loss 0.5000");
  EXPECT_FALSE(to_json(evaluation).contains("top1_correct"));
  EXPECT_EQ(evaluation_from_json(to_json(evaluation)).top_k, 1);
}

TEST(ClassificationReport, CountsByLabelAndPrediction) {
  const CountedPixels dataset(130);
  const ClassificationReport report = report_over(dataset, 1, 1, 7);
  ASSERT_EQ(report.classes, 3);
  std::vector<std::int64_t> expected(9);
  for (std::int64_t i = 0; i < 130; ++i) {
    ++expected[static_cast<std::size_t>(i % 3 * 3 + (i < 64 ? 2 : 1))];
  }
  EXPECT_EQ(report.confusion, expected);
  EXPECT_EQ(report.labelled(0), 44);
  EXPECT_EQ(report.predicted(0), 0);
  EXPECT_EQ(report.predicted(2), 64);
  EXPECT_FALSE(report.precision(0)) << "nothing is predicted as class 0";
  EXPECT_EQ(report.recall(0), 0.0);
  EXPECT_EQ(report.precision(2), static_cast<double>(expected[8]) / 64);
  EXPECT_EQ(report.recall(1), static_cast<double>(expected[4]) / 43);
}

TEST(ClassificationReport, TheWorstMistakesComeFirst) {
  const CountedPixels dataset(130);
  const ClassificationReport report = report_over(dataset, 1, 1, 7);
  ASSERT_EQ(report.worst.size(), kMostMistakes);
  // The furthest from pixel 64 whose label is the class of the other side.
  EXPECT_EQ(report.worst[0].sample, 128);
  EXPECT_EQ(report.worst[0].label, 2);
  EXPECT_EQ(report.worst[0].predicted, 1);
  const double x = (128 / 255.0 - 0.25) / 0.5;
  const double sum = 1 + std::exp(0.5 * x) + std::exp(-0.5 * x);
  EXPECT_NEAR(report.worst[0].loss, std::log(sum) + 0.5 * x, 1e-6);
  for (std::size_t i = 1; i < report.worst.size(); ++i) {
    EXPECT_GE(report.worst[i - 1].loss, report.worst[i].loss);
  }
  for (std::size_t i = 0; i < report.worst.size(); i += 2) {  // from either end, by turns
    const auto from_the_end = static_cast<std::int64_t>(i / 2 * 3);
    EXPECT_EQ(report.worst[i].sample, 128 - from_the_end);
    EXPECT_EQ(report.worst[i + 1].sample, 1 + from_the_end);
  }
}

/// Without the rule those of class 0 would be right with NaN, those above pixel 64 of class 1 with
/// infinity.
TEST(ClassificationReport, WhatIsNotFiniteIsAMistake) {
  for (const float slope :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const ClassificationReport report = report_over(CountedPixels(130), 2, 1, 7, slope);
    for (std::int64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(report.count(i, i), 0);
      EXPECT_EQ(report.labelled(i), i == 0 ? 44 : 43);
    }
    ASSERT_EQ(report.worst.size(), kMostMistakes);
    for (std::size_t i = 0; i < report.worst.size(); ++i) {
      EXPECT_EQ(report.worst[i].sample, static_cast<std::int64_t>(i)) << "all are equally bad";
      EXPECT_TRUE(std::isinf(report.worst[i].loss));
      EXPECT_NE(report.worst[i].predicted, report.worst[i].label);
    }
  }
}

TEST(ClassificationReport, IsTheSameForAnyRanksAndWorkers) {
  for (const std::int64_t size : {1, 9, 130}) {
    const CountedPixels dataset(size);
    const ClassificationReport alone = report_over(dataset, 1, 1, 4);
    EXPECT_EQ(report_over(dataset, 1, 3, 4), alone);
    EXPECT_EQ(report_over(dataset, 2, 1, 4), alone);
    EXPECT_EQ(report_over(dataset, 5, 2, 4), alone);
  }
}

ClassificationReport two_classes() {
  return {2, {"cats", "dogs"}, {3, 1, 0, 0}, {{2, 0, 1, 1.5}}};
}

TEST(ClassificationReport, AsJson) {
  const nlohmann::json json = to_json(two_classes());
  EXPECT_EQ(json["classes"], nlohmann::json({"cats", "dogs"}));
  EXPECT_EQ(json["samples"], 4);
  EXPECT_EQ(json["confusion"], nlohmann::json({{3, 1}, {0, 0}}));
  EXPECT_EQ(json["per_class"][0]["recall"], 0.75);
  EXPECT_EQ(json["per_class"][0]["precision"], 1.0);
  EXPECT_EQ(json["per_class"][1]["precision"], 0.0);
  EXPECT_TRUE(json["per_class"][1]["recall"].is_null());
  EXPECT_EQ(json["worst"][0]["class"], "cats");
  EXPECT_EQ(json["worst"][0]["predicted"], "dogs");
  EXPECT_EQ(json["worst"][0]["loss"], 1.5);
}

Colour pixel_at(const image::Image& image, std::int64_t y, std::int64_t x) {
  const auto at = static_cast<std::size_t>((y * image.w + x) * 3);
  return {image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]};
}

TEST(ConfusionPicture, CellsAreAsDarkAsTheirShareOfTheRow) {
  const image::Image image = draw_confusion(two_classes());
  constexpr std::int64_t kCell = 24;
  const std::int64_t left = image.w - 2 * kCell - 1;
  const std::int64_t top = image.h - 2 * kCell - 1;
  ASSERT_EQ(image.pixels.size(), static_cast<std::size_t>(image.h * image.w * 3));
  EXPECT_EQ(left, text_width("0 cats") + 8);
  EXPECT_EQ(pixel_at(image, top, left), (Colour{70, 116, 175}));           // 0.75
  EXPECT_EQ(pixel_at(image, top, left + kCell), (Colour{193, 209, 228}));  // 0.25
  EXPECT_EQ(pixel_at(image, top + kCell, left), (Colour{255, 255, 255}));
  const auto ink = [&](const Colour& colour) {
    int count = 0;
    for (std::int64_t y = top; y < top + kCell; ++y) {
      for (std::int64_t x = left; x < left + kCell; ++x) {
        count += pixel_at(image, y, x) == colour ? 1 : 0;
      }
    }
    return count;
  };
  EXPECT_GT(ink({255, 255, 255}), 2 * kCell - 1) << "the 3 is white";
  EXPECT_EQ(ink({0, 0, 0}), 0);
}

TEST(ConfusionPicture, ManyClassesHaveNoNumbers) {
  ClassificationReport report{300, {}, std::vector<std::int64_t>(90000), {}};
  report.confusion[0] = 1000000;
  const image::Image image = draw_confusion(report);
  EXPECT_EQ(image.h, 601);
  EXPECT_EQ(pixel_at(image, 0, 0), (Colour{8, 69, 148}));
}

std::shared_ptr<data::Dataset> images_of_shape(const Shape& shape) {
  const auto bytes = static_cast<std::size_t>(3 * shape.elements());
  io::Bytes pixels = io::make_bytes(bytes);
  std::fill_n(pixels.data.get(), bytes, std::uint8_t{90});
  return std::make_shared<data::MemoryDataset>(std::move(pixels), shape,
                                               std::vector<std::int32_t>{0, 1, 0}, 2, "images");
}

TEST(MistakesPicture, HasTheImageAndItsLine) {
  for (const std::int64_t channels : {1, 3}) {
    const auto image = draw_mistakes(two_classes(), *images_of_shape({10, 100, channels}));
    ASSERT_TRUE(image);
    EXPECT_EQ(image->h, 10 + kGlyphHeight + 4);
    EXPECT_EQ(image->w, 100);
    EXPECT_EQ(pixel_at(*image, 9, 99), (Colour{90, 90, 90}));
    EXPECT_EQ(std::count(image->pixels.begin(), image->pixels.end(), 0) > 60, true)
        << "CATS>DOGS 1.50";
  }
}

TEST(MistakesPicture, NarrowImagesHaveNumbersOrNothing) {
  const auto inked = [](std::int64_t width) {
    const auto image = draw_mistakes(two_classes(), *images_of_shape({10, width, 1}));
    return std::count(image->pixels.begin(), image->pixels.end(), 0) > 0;
  };
  EXPECT_TRUE(inked(text_width("0>1")));
  EXPECT_FALSE(inked(text_width("0>1") - 1));
}

TEST(MistakesPicture, IsNotThereWithoutMistakesOrImages) {
  ClassificationReport report = two_classes();
  EXPECT_FALSE(draw_mistakes(report, *images_of_shape({4, 4, 2})));
  report.worst.clear();
  EXPECT_FALSE(draw_mistakes(report, *images_of_shape({4, 4, 3})));
}

class ReportFiles : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string content(const char* file) const {
    std::ifstream in(folder_ / file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  const fs::path folder_ =
      fs::temp_directory_path() / ("gentrain_classification_report_" + std::to_string(getpid()));
};

TEST_F(ReportFiles, AreWrittenTwiceTheSame) {
  const auto images = images_of_shape({10, 100, 3});
  write_report(folder_, two_classes(), *images);
  const std::string json = content("evaluation.json");
  const std::string confusion = content("confusion.png");
  const std::string mistakes = content("mistakes.png");
  EXPECT_EQ(nlohmann::json::parse(json)["samples"], 4);
  for (const std::string& png : {confusion, mistakes}) {
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(png.data()), png.size());
    EXPECT_GT(image::inspect(bytes, "png").w, 50);
  }
  int asked = 0;
  write_report(folder_, two_classes(), *images, [&asked] { ++asked; });
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(content("evaluation.json"), json);
  EXPECT_EQ(content("confusion.png"), confusion);
  EXPECT_EQ(content("mistakes.png"), mistakes);
}

TEST_F(ReportFiles, OldMistakesGo) {
  ClassificationReport report = two_classes();
  write_report(folder_, report, *images_of_shape({10, 100, 3}));
  report.worst.clear();
  write_report(folder_, report, *images_of_shape({10, 100, 3}));
  EXPECT_FALSE(fs::exists(folder_ / "mistakes.png"));
}

TEST_F(ReportFiles, OldMistakesThatCannotGoAreNamed) {
  fs::create_directories(folder_ / "mistakes.png" / "inner");
  ClassificationReport report = two_classes();
  report.worst.clear();
  EXPECT_EQ(test::message_of<IoError>([&] {
              write_report(folder_, report, *images_of_shape({10, 100, 3}));
            }),
            (folder_ / "mistakes.png").string() + " cannot be removed: Directory not empty");
}

TEST_F(ReportFiles, AreCheckedRightBeforeEachChange) {
  const auto images = images_of_shape({10, 100, 3});
  std::vector<std::int64_t> files;  // at each check
  const auto count = [&] { files.push_back(std::distance(fs::directory_iterator(folder_), {})); };
  write_report(folder_, two_classes(), *images, count);
  EXPECT_THAT(files, ElementsAre(1, 2, 3)) << "one of them under its temporary name";
  ClassificationReport report = two_classes();
  report.worst.clear();
  int left = 2;
  const auto lose = [&left] {
    if (left-- == 0) {
      throw JobError("the lock is lost");
    }
  };
  EXPECT_EQ(test::message_of<JobError>([&] { write_report(folder_, report, *images, lose); }),
            "the lock is lost");
  EXPECT_TRUE(fs::exists(folder_ / "mistakes.png"));
}

TEST_F(ReportFiles, AFolderThatCannotBeMadeIsNamed) {
  std::ofstream(folder_) << "a file";
  EXPECT_THAT(test::message_of<IoError>([&] {
                write_report(folder_ / "x", two_classes(), *images_of_shape({4, 4, 3}));
              }),
              StartsWith((folder_ / "x").string() + " cannot be made: "));
}

TEST(EndReport, IsThatOfTheTestSetForAnyRanks) {
  TrainOptions options = small_job();
  std::optional<ClassificationReport> alone;
  for (const int ranks : {1, 3}) {
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      TrainingRun run(options, communicator);
      const auto report = end_report(run, 1);
      if (communicator.rank() == 0) {
        EXPECT_EQ(report->classes, 10);
        EXPECT_EQ(alone.value_or(*report), *report);
        alone = report;
        EXPECT_EQ(end_report(run, 0), std::nullopt) << "no step was taken";
      }
    });
  }
  options.evaluate.report = false;
  const auto single = comm::make_single();
  TrainingRun without(options, *single);
  EXPECT_EQ(end_report(without, 1), std::nullopt);
  TrainingRun other(small_vae_job(), *single);
  EXPECT_EQ(end_report(other, 1), std::nullopt);
}

TEST(Glyphs, AreDrawnWhereTheyAreInside) {
  image::Image image{7, 11, 3, std::vector<std::uint8_t>(7 * 11 * 3, 255)};
  draw_text(image, 0, 0, "1i", {1, 2, 3});
  EXPECT_EQ(pixel_at(image, 0, 2), (Colour{1, 2, 3}));
  EXPECT_EQ(pixel_at(image, 0, 0), (Colour{255, 255, 255}));
  EXPECT_EQ(pixel_at(image, 6, 7), (Colour{1, 2, 3})) << "the foot of a capital I";
  image::Image outside = image;
  draw_text(outside, -50, 0, "8", {9, 9, 9});
  draw_text(outside, 9, 20, "8", {9, 9, 9});
  EXPECT_EQ(outside.pixels, image.pixels);
  draw_text(outside, 0, 0, "\xc3", {9, 9, 9});
  EXPECT_EQ(pixel_at(outside, 0, 0), (Colour{9, 9, 9})) << "a box";
  EXPECT_EQ(text_width(""), 0);
  EXPECT_EQ(text_width("ab"), 11);
}

}  // namespace
}  // namespace gentrain::trainers
