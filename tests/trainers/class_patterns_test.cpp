// Classes of images by patterns over their paths, and everything that can be wrong with them.
#include "trainers/class_patterns.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "trainers/data_source.h"

namespace gentrain::trainers {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClassPatterns : public ::testing::Test {
 protected:
  ClassPatterns() {
    for (const char* file :
         {"train/flowers/roses_1.jpg", "train/flowers/daisy_2.JPG", "train/flowers/roses_0.png",
          "val/flowers/roses_3.jpg", "val/flowers/daisy_1.jpg", "train/cats/cat.1.jpg",
          "train/flowers/roses.txt", ".hidden/flowers/roses_9.jpg"}) {
      fs::create_directories((root_ / file).parent_path());
      std::ofstream(root_ / file) << "x";
    }
  }
  ~ClassPatterns() override { fs::remove_all(root_); }
  ClassPatterns(const ClassPatterns&) = delete;
  ClassPatterns& operator=(const ClassPatterns&) = delete;

  image::Listing list(const std::vector<ClassPattern>& classes) const {
    return list_by_patterns(root_, classes);
  }

  fs::path root_ =
      fs::temp_directory_path() / ("gentrain_class_patterns_" + std::to_string(getpid()));
};

TEST_F(ClassPatterns, AllImagesBelowAFolderSorted) {
  EXPECT_THAT(images_below(root_),
              ElementsAre("train/cats/cat.1.jpg", "train/flowers/daisy_2.JPG",
                          "train/flowers/roses_0.png", "train/flowers/roses_1.jpg",
                          "val/flowers/daisy_1.jpg", "val/flowers/roses_3.jpg"));
}

TEST_F(ClassPatterns, ClassesAreSortedAsFoldersAre) {
  const image::Listing listing =
      list({{"roses", {"*/flowers/roses*", ""}}, {"daisies", {"*/flowers/daisy*", ""}}});
  EXPECT_THAT(listing.classes, ElementsAre("daisies", "roses"));
  std::vector<std::string> names;
  std::vector<std::int32_t> labels;
  for (const image::Listing::File& file : listing.files) {
    names.push_back(file.name);
    labels.push_back(file.label);
  }
  EXPECT_THAT(names, ElementsAre("train/flowers/daisy_2.JPG", "val/flowers/daisy_1.jpg",
                                 "train/flowers/roses_0.png", "train/flowers/roses_1.jpg",
                                 "val/flowers/roses_3.jpg"));
  EXPECT_THAT(labels, ElementsAre(0, 0, 1, 1, 1));
}

TEST_F(ClassPatterns, APatternThatMatchesNothingNamesPathsNearIt) {
  const std::string said = message_of<JobError>([&] {
    list({{"roses", {"*/flowers/roses*", ""}}, {"tulips", {"train/tulips*", "j.yaml:3:5"}}});
  });
  EXPECT_THAT(said,
              HasSubstr("j.yaml:3:5: data.classes.tulips: 'train/tulips*' matches none of the "
                        "6 images below " +
                        root_.string() + " (there are "));
  EXPECT_THAT(said, HasSubstr("train/cats/cat.1.jpg"));
}

TEST_F(ClassPatterns, AFileOfTwoClassesIsNamed) {
  EXPECT_EQ(
      message_of<JobError>([&] {
        list({{"roses", {"*roses*", ""}}, {"flowers", {"*/flowers/*", ""}}});
      }),
      "data.classes: train/flowers/roses_0.png is of two classes: it matches '*/flowers/*' of "
      "flowers and '*roses*' of roses");
}

TEST_F(ClassPatterns, FoldersThatHoldNoImages) {
  EXPECT_EQ(message_of<IoError>([&] { images_below(root_ / "nowhere"); }),
            "data.path: " + (root_ / "nowhere").string() + ": there is no such folder of images");
  EXPECT_EQ(message_of<IoError>([&] { images_below(root_ / "train/flowers/roses.txt"); }),
            "data.path: " + (root_ / "train/flowers/roses.txt").string() +
                ": is no folder: one of images was expected");
  fs::create_directories(root_ / "empty");
  EXPECT_THAT(message_of<IoError>([&] { list_by_patterns(root_ / "empty", {}); }),
              HasSubstr("empty: there are no images in it or below it"));
  fs::create_directory_symlink(root_, root_ / "val/loop");
  EXPECT_THAT(
      message_of<IoError>([&] { images_below(root_); }),
      HasSubstr("folders are nested more than 32 deep: does a link lead to a folder above"));
}

TEST_F(ClassPatterns, ATrainingJobTakesThemToo) {
  TrainOptions job;
  job.data.source = DataOptions::Source::kFolder;
  job.data.path = root_.string();
  job.data.classes = {{"roses", {"*/roses*", ""}}, {"daisies", {"*/daisy*", ""}}};
  job.data.height = job.data.width = 8;
  job.data.validation = 0.4;
  const LoadedData loaded = load_data(job, 1, *comm::make_single());
  EXPECT_EQ(loaded.pair.train->size(), 3);
  EXPECT_EQ(loaded.pair.test->size(), 2);
  ASSERT_NE(loaded.whole, nullptr);
  EXPECT_EQ(loaded.whole->size(), 5);
  EXPECT_THAT(loaded.whole->class_names(), ElementsAre("daisies", "roses"));
  job.data.validation_seed = 1;  // the job's own
  const LoadedData same = load_data(job, 1, *comm::make_single());
  const data::SplitIndices indices = data::split_indices(5, 0.4, 1);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto place = static_cast<std::int64_t>(i);
    EXPECT_EQ(same.pair.test->label(place), loaded.pair.test->label(place));
    EXPECT_EQ(same.pair.test->label(place), loaded.whole->label(indices.validation[i]));
  }
}

}  // namespace
}  // namespace gentrain::trainers
