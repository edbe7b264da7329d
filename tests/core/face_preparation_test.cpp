// From a photograph to a face: what is kept and cut out, and which set a name belongs to.
#include "core/image/face_preparation.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/core/portraits.h"
#include "tests/support/compare.h"

namespace gentrain::image {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::HasSubstr;

constexpr FaceOptions kSmallFaces{.size = 48};

FaceOutcome outcome_of(const Image& photograph, const FaceOptions& options = kSmallFaces) {
  return prepare_face(photograph, options).outcome;
}

TEST(FacePreparation, SquareAroundAFace) {
  const auto expect_square = [](const Rectangle& face, double margin, const Rectangle& square) {
    const Rectangle found = square_around(face, margin);
    EXPECT_EQ(found.x, square.x);
    EXPECT_EQ(found.y, square.y);
    EXPECT_EQ(found.w, square.w);
    EXPECT_EQ(found.h, square.h);
  };
  expect_square({100, 80, 100, 100}, 1.4, {80, 53, 140, 140});  // raised by 7
  expect_square({100, 80, 100, 100}, 1, {100, 75, 100, 100});   // raised by 5
  expect_square({100, 80, 40, 50}, 1, {95, 78, 50, 50});        // the longer side counts
  expect_square({3, 2, 40, 40}, 2, {-17, -22, 80, 80});         // may leave the frame
}

// SHA-256 of "abc" begins with ba7816bf8f01cfea: 0.72839 of 2^64.
TEST(FacePreparation, TheNameChoosesTheSet) {
  EXPECT_TRUE(is_test_face("abc", 0.7284));
  EXPECT_FALSE(is_test_face("abc", 0.7283));
  constexpr int kNames = 4000;
  int tests = 0;
  for (int i = 0; i < kNames; ++i) {
    tests += is_test_face(fmt::format("Person/Person_{:04}.jpg", i), 0.05) ? 1 : 0;
  }
  // Four standard deviations of a binomial distribution.
  EXPECT_NEAR(tests, 0.05 * kNames, 4 * std::sqrt(0.05 * 0.95 * kNames));
}

TEST(FacePreparation, OutcomesHaveNames) {
  std::set<std::string_view> names;
  for (const FaceOutcome outcome : kFaceOutcomes) {
    names.insert(name_of(outcome));
  }
  EXPECT_THAT(names,
              testing::ElementsAre("kept", "none", "outside", "several", "small", "unreadable"));
}

TEST(FacePreparation, WithoutAFaceOrTooSmall) {
  EXPECT_EQ(outcome_of(empty_frame(200, 200)), FaceOutcome::kNone);
  EXPECT_EQ(outcome_of(empty_frame(200, 47)), FaceOutcome::kSmall);
  EXPECT_EQ(outcome_of(empty_frame(47, 200)), FaceOutcome::kSmall);
  EXPECT_EQ(outcome_of(empty_frame(48, 48)), FaceOutcome::kNone);
}

TEST(FacePreparation, OneFaceIsCutOutAndScaled) {
  const std::vector<Image> faces = drawn_portraits(2);
  ASSERT_EQ(faces.size(), 2U);
  const PreparedFace kept = prepare_face(portrait(faces[0]), kSmallFaces);
  ASSERT_EQ(kept.outcome, FaceOutcome::kKept);
  EXPECT_EQ(kept.face.h, 48);
  EXPECT_EQ(kept.face.w, 48);
  EXPECT_EQ(kept.face.c, 3);
  // The same by hand: what lies in the square, averaged.
  const Image photograph = portrait(faces[0]);
  const std::vector<Rectangle> found = image_library().detect_frontal_faces(photograph);
  const Rectangle square = square_around(found.at(0), kSmallFaces.margin);
  Image cut = empty_frame(square.h, square.w);
  for (std::int64_t y = 0; y < square.h; ++y) {
    for (std::int64_t x = 0; x < square.w * 3; ++x) {
      cut.pixels[static_cast<std::size_t>(y * square.w * 3 + x)] =
          photograph
              .pixels[static_cast<std::size_t>(((square.y + y) * photograph.w + square.x) * 3 + x)];
    }
  }
  EXPECT_EQ(kept.face.pixels, image_library().resize(cut, 48, 48, Interpolation::kArea).pixels);
  FaceOptions wider = kSmallFaces;
  wider.margin = 1.5;
  EXPECT_NE(prepare_face(photograph, wider).face.pixels, kept.face.pixels);
}

TEST(FacePreparation, SeveralOutsideAndTooSmallFaces) {
  const std::vector<Image> faces = drawn_portraits(2);
  ASSERT_EQ(faces.size(), 2U);
  Image both = empty_frame(2 * kPortraitSide, 4 * kPortraitSide);
  put_into(both, portrait(faces[0]), 0, 0);
  put_into(both, portrait(faces[1]), 0, 2 * kPortraitSide);
  EXPECT_EQ(outcome_of(both), FaceOutcome::kSeveral);
  FaceOptions wide = kSmallFaces;
  wide.margin = 4;  // more than the frame
  EXPECT_EQ(outcome_of(portrait(faces[0]), wide), FaceOutcome::kOutside);
  FaceOptions large = kSmallFaces;
  large.size = 2 * kPortraitSide;  // the frame has as many rows, the square has not
  EXPECT_EQ(outcome_of(portrait(faces[0]), large), FaceOutcome::kSmall);
}

TEST(FacePreparation, GreyPhotographsBecomeThreeChannels) {
  const std::vector<Image> faces = drawn_portraits(1);
  ASSERT_EQ(faces.size(), 1U);
  const Image grey = image_library().with_channels(portrait(faces[0]), 1);
  const PreparedFace kept = prepare_face(grey, kSmallFaces);
  ASSERT_EQ(kept.outcome, FaceOutcome::kKept);
  ASSERT_EQ(kept.face.c, 3);
  for (std::size_t i = 0; i < kept.face.pixels.size(); i += 3) {
    ASSERT_EQ(kept.face.pixels[i], kept.face.pixels[i + 1]);
    ASSERT_EQ(kept.face.pixels[i], kept.face.pixels[i + 2]);
  }
}

TEST(FacePreparation, FilesThatCannotBeReadAreNoErrors) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("gentrain_faces_{}", getpid());
  fs::create_directories(folder);
  std::ofstream(folder / "a.jpg") << "no image";
  write_png(folder / "b.png", empty_frame(60, 60));
  const PreparedFace bad = prepare_face_file(folder / "a.jpg", kSmallFaces);
  EXPECT_EQ(bad.outcome, FaceOutcome::kUnreadable);
  EXPECT_THAT(bad.reason, HasSubstr((folder / "a.jpg").string() + " is no image"));
  const PreparedFace missing = prepare_face_file(folder / "c.jpg", kSmallFaces);
  EXPECT_EQ(missing.outcome, FaceOutcome::kUnreadable);
  EXPECT_THAT(missing.reason, HasSubstr((folder / "c.jpg").string()));
  EXPECT_EQ(prepare_face_file(folder / "b.png", kSmallFaces).outcome, FaceOutcome::kNone);
  fs::remove_all(folder);
}

TEST(FacePreparation, OptionsOutOfRangeAreErrors) {
  const Image frame = empty_frame(60, 60);
  EXPECT_EQ(message_of<ShapeError>([&] { prepare_face(frame, {.size = 0}); }),
            "faces: a size of 0 and a margin of 1.4 were wanted, each must be at least 1");
  EXPECT_EQ(message_of<ShapeError>([&] { prepare_face(frame, {.margin = 0.5}); }),
            "faces: a size of 96 and a margin of 0.5 were wanted, each must be at least 1");
}

}  // namespace
}  // namespace gentrain::image
