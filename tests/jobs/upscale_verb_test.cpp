// gentrain upscale: what it writes and says, and every input that is refused.
#include <array>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/image/image.h"
#include "tests/core/image_files.h"
#include "tests/jobs/verbs_fixture.h"

namespace gentrain::jobs {
namespace {

using image::FileBytes;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class UpscaleVerb : public Verbs {
 protected:
  static void SetUpTestSuite() {
    Verbs::SetUpTestSuite();
    train_srgan();
    save("a.png", image::plain_png(5, 7, {10, 120, 240}));
    save("b.jpg", image::jpeg());
    save("grey.png", image::png(2, 2, image::kGrey, 8, {0, 200, 0, 200}));
    save("rgb.png", image::png(2, 2, image::kRgb, 8,
                               {0, 0, 0, 200, 200, 200,  //
                                0, 0, 0, 200, 200, 200}));
    save("dot.png", image::plain_png(1, 1, {1, 2, 3}));
  }
  void TearDown() override {
    std::error_code error;
    fs::remove_all(path("out"), error);
  }

  static std::string in(const std::string& name) { return path(name).string(); }
  static void save(const std::string& name, const FileBytes& bytes) {
    write(path(name), std::string(bytes.begin(), bytes.end()));
  }
  static Outcome upscale(const std::vector<std::string>& images,
                         const std::vector<std::string>& more = {"--out", in("out")}) {
    std::vector<std::string> words{"upscale", srgan(), "--threads", "2"};
    words.insert(words.end(), images.begin(), images.end());
    words.insert(words.end(), more.begin(), more.end());
    return gentrain(words);
  }
  /// `bytes` as bad.jpg among good files: they are enlarged, it is named with the reason.
  void expect_bad(const FileBytes& bytes, const std::string& reason) {
    save("bad.jpg", bytes);
    const Outcome outcome = upscale({in("a.png"), in("bad.jpg"), in("b.jpg")});
    EXPECT_EQ(outcome.code, kBadFile);
    EXPECT_THAT(outcome.err, HasSubstr("gentrain: " + in("bad.jpg")));
    EXPECT_THAT(outcome.err, HasSubstr(reason));
    EXPECT_THAT(outcome.out, HasSubstr("2 of 3 images"));
    EXPECT_TRUE(fs::exists(path("out/a.png")));
    EXPECT_TRUE(fs::exists(path("out/b.png")));
    EXPECT_FALSE(fs::exists(path("out/bad.png")));
    fs::remove_all(path("out"));
  }
};

TEST_F(UpscaleVerb, MakesImagesFourTimesAsLarge) {
  const Outcome made = upscale({in("a.png"), in("b.jpg"), in("dot.png")});
  ASSERT_EQ(made.code, kSuccess) << made.err;
  EXPECT_THAT(made.out, ContainsRegex(in("a.png") + ": 5 x 7 pixels become 20 x 28 in " +
                                      in("out/a.png") + ", [0-9.]+ s\n"));
  EXPECT_THAT(made.out,
              ContainsRegex("\n3 of 3 images, 0.00 MPixel in [0-9.]+ s: [0-9.]+ MPixel/s, peak "
                            "memory [0-9]+ MiB a rank\n$"));
  EXPECT_EQ(made.err, "");
  for (const auto& [name, h, w] :
       {std::tuple("out/a.png", 20, 28), {"out/b.png", 32, 64}, {"out/dot.png", 4, 4}}) {
    const image::Image image = image::read_image(path(name));
    EXPECT_EQ(image.h, h) << name;
    EXPECT_EQ(image.w, w) << name;
  }
}

TEST_F(UpscaleVerb, GreyImagesAreTakenAsColours) {
  ASSERT_EQ(upscale({in("grey.png"), in("rgb.png")}).code, kSuccess);
  EXPECT_EQ(image::read_image(path("out/grey.png")).pixels,
            image::read_image(path("out/rgb.png")).pixels);
  std::ifstream file(path("out/grey.png"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(bytes.at(25), image::kRgb);
}

TEST_F(UpscaleVerb, BadFilesLeaveTheOthers) {
  expect_bad({}, "is empty");
  const FileBytes jpeg = image::jpeg();
  expect_bad({jpeg.begin(), jpeg.end() - 20}, "is truncated");
  const std::string text = "no image at all";
  expect_bad({text.begin(), text.end()}, "is no image");
  FileBytes cmyk = jpeg;
  cmyk[image::kJpegFrame + 9] = 4;
  expect_bad(cmyk, "is a JPEG in CMYK; grey and RGB are read: convert it");
  FileBytes damaged = image::plain_png(40, 40, {1, 2, 3});
  damaged[damaged.size() - 20] ^= 0xFF;
  expect_bad(damaged, "is damaged");
  const auto claiming = [](std::uint32_t h, std::uint32_t w) {
    FileBytes bomb = image::plain_png(1, 1, {1, 2, 3});
    const FileBytes high = image::big(h, 4);
    const FileBytes wide = image::big(w, 4);
    std::copy(wide.begin(), wide.end(), bomb.begin() + 16);
    std::copy(high.begin(), high.end(), bomb.begin() + 20);
    return bomb;
  };
  expect_bad(claiming(60000, 60000), "60000 x 60000 pixels are more than the limit of 134217728");
  expect_bad(claiming(2, 262145),
             "2 x 262145 pixels, but images of up to 262144 rows and columns can be enlarged");
  fs::remove(path("bad.jpg"));
  const Outcome missing = upscale({in("bad.jpg"), in("a.png")});
  EXPECT_EQ(missing.code, kBadFile);
  EXPECT_THAT(missing.err, HasSubstr(in("bad.jpg") + ": open failed: No such file or directory"));
  EXPECT_TRUE(fs::exists(path("out/a.png")));
  const Outcome folder = upscale({in("mnist")}, {"--out", in("out"), "--overwrite"});
  EXPECT_EQ(folder.code, kBadFile);
  EXPECT_THAT(folder.err, HasSubstr(in("mnist") + ": is no regular file"));
  EXPECT_THAT(folder.out, HasSubstr("0 of 1 images"));
}

TEST_F(UpscaleVerb, NamesOfResults) {
  fs::create_directories(path("more"));
  save("more/a.jpg", image::jpeg());
  const Outcome same = upscale({in("a.png"), in("more/a.jpg")});
  EXPECT_EQ(same.code, kUsage);
  EXPECT_EQ(same.err, "gentrain: " + in("a.png") + " and " + in("more/a.jpg") +
                          " would both become " + in("out/a.png") + "\n");
  EXPECT_FALSE(fs::exists(path("out")));
  EXPECT_THAT(upscale({in("more/")}).err,
              HasSubstr("'" + in("more/") + "' does not name an image file"));
  ASSERT_EQ(upscale({in("a.png")}).code, kSuccess);
  const Outcome again = upscale({in("b.jpg"), in("a.png")});
  EXPECT_EQ(again.code, kUsage);
  EXPECT_EQ(again.err, "gentrain: " + in("out/a.png") +
                           " is there already: replace it with --overwrite, or take another "
                           "--out\n");
  EXPECT_FALSE(fs::exists(path("out/b.png")));
  EXPECT_EQ(upscale({in("a.png")}, {"--out", in("out"), "--overwrite"}).code, kSuccess);
  const Outcome itself = upscale({in("a.png")}, {"--out", in("."), "--overwrite"});
  EXPECT_EQ(itself.code, kUsage);
  EXPECT_EQ(itself.err, "gentrain: " + in("a.png") +
                            " would be replaced by an enlargement: take another --out\n");
}

TEST_F(UpscaleVerb, FoldersThatCannotBeWritten) {
  const Outcome file = upscale({in("a.png")}, {"--out", in("b.jpg")});
  EXPECT_EQ(file.code, kBadFile);
  EXPECT_THAT(file.err, HasSubstr("the output folder " + in("b.jpg") + " cannot be made: "));
  const Outcome below = upscale({in("a.png")}, {"--out", in("b.jpg/x")});
  EXPECT_EQ(below.code, kBadFile);
  EXPECT_THAT(below.err, HasSubstr("cannot be made: Not a directory"));
  const Outcome closed = upscale({in("a.png")}, {"--out", "/proc/self"});
  EXPECT_EQ(closed.code, kBadFile);
  EXPECT_THAT(closed.err, HasSubstr("cannot write /proc/self/a.png: "));
}

TEST_F(UpscaleVerb, ModelsThatDoNotEnlarge) {
  const auto with = [](const std::string& file) {
    return gentrain({"upscale", file, in("a.png"), "--out", in("out")});
  };
  const Outcome lenet = with(model());
  EXPECT_EQ(lenet.code, kUsage);
  EXPECT_EQ(lenet.err,
            "gentrain: " + model() +
                " holds a lenet, which does not enlarge images: a model of srgan does\n");
  EXPECT_FALSE(fs::exists(path("out")));
  const Outcome missing = with(in("no.h5"));
  EXPECT_EQ(missing.code, kBadFile);
  EXPECT_THAT(missing.err, HasSubstr(in("no.h5")));
  std::string checkpoint;
  for (const auto& entry : fs::directory_iterator(path("srgan/checkpoints"))) {
    checkpoint = entry.path().string();
  }
  const Outcome other = with(checkpoint);
  EXPECT_EQ(other.code, kBadFile);
  EXPECT_THAT(other.err, HasSubstr(checkpoint + " is a checkpoint"));
  EXPECT_THAT(with(in("a.png")).err, HasSubstr(in("a.png")));
}

TEST_F(UpscaleVerb, NeedsImagesAndAFolder) {
  const Outcome nothing = upscale({});
  EXPECT_EQ(nothing.code, kUsage);
  EXPECT_THAT(nothing.err, HasSubstr("there is no image to enlarge (usage: gentrain upscale"));
  const Outcome nowhere = upscale({in("a.png")}, {});
  EXPECT_EQ(nowhere.code, kUsage);
  EXPECT_THAT(nowhere.err, HasSubstr("the out is missing (usage: [mpirun -np N] gentrain upscale "
                                     "MODEL IMAGE... --out DIR [options])"));
  EXPECT_THAT(upscale({in("a.png")}, {"--out", in("out"), "--threads=-1"}).err,
              HasSubstr("--threads"));
}

}  // namespace
}  // namespace gentrain::jobs
