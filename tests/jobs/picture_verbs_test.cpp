// predict, features and summary on pictures, lists, URLs and arrays: what they print and write, and
// every error.
#include <algorithm>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/io/row_file.h"
#include "tests/core/canned_server.h"
#include "tests/core/image_files.h"
#include "tests/jobs/verbs_fixture.h"

namespace gentrain::jobs {
namespace {

using image::FileBytes;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// A classifier of three classes of grey pictures, [28, 28, 1], and pictures.
class PictureVerbs : public Verbs {
 protected:
  static void SetUpTestSuite() {
    Verbs::SetUpTestSuite();
    fs::create_directories(path("set/1"));
    fs::create_directories(path("set/2"));
    save("set/1/a.png", image::plain_png(30, 40, {10, 120, 240}));
    save("set/1/b.png", image::plain_png(28, 28, {200, 20, 40}));
    save("set/2/c.jpg", image::jpeg());
    save("dot.png", image::plain_png(1, 1, {1, 2, 3}));
    save("bad.png", FileBytes{'n', 'o'});
  }

  static std::string in(const std::string& name) { return path(name).string(); }
  static void save(const std::string& name, const FileBytes& bytes) {
    write(path(name), std::string(bytes.begin(), bytes.end()));
  }
  static Outcome predict(const std::vector<std::string>& names, const std::string& format = "csv") {
    std::vector<std::string> words{"predict", model(), "--format", format};
    words.insert(words.end(), names.begin(), names.end());
    return gentrain(words);
  }
  static Outcome features(const std::vector<std::string>& more) {
    std::vector<std::string> words{"features", model(), "--out", in("out.h5")};
    words.insert(words.end(), more.begin(), more.end());
    return gentrain(words);
  }
  static std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
      lines.push_back(line);
    }
    return lines;
  }
  static std::string answer(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\nConnection: close\r\n\r\n" + body;
  }
};

TEST_F(PictureVerbs, PredictTakesManyKindsOfNamesInOrder) {
  write(path("list.txt"), "# pictures\n" + in("set/2/c.jpg") + "\r\n\n" + in("dot.png"));
  const Outcome csv =
      predict({in("dot.png"), in("set"), in("list.txt"), "--top", "2", "--batch", "2"});
  EXPECT_EQ(csv.code, kSuccess) << csv.err;
  const std::vector<std::string> lines = lines_of(csv.out);
  ASSERT_EQ(lines.size(), 1U + 6U);
  EXPECT_EQ(lines[0], "image,label1,p1,label2,p2,error");
  EXPECT_THAT(lines[1], StartsWith(in("dot.png") + ","));
  EXPECT_THAT(lines[2], StartsWith(in("set/1/a.png") + ","));
  EXPECT_THAT(lines[4], StartsWith(in("set/2/c.jpg") + ","));
  EXPECT_THAT(lines[5], StartsWith(in("set/2/c.jpg") + ","));
  EXPECT_THAT(lines[6], StartsWith(in("dot.png") + ","));
  EXPECT_EQ(csv.err,
            "data: " + in("dot.png") + ", images in " + in("set") + ", " + in("list.txt") + "\n");
  EXPECT_EQ(lines_of(predict({in("set"), "-n", "2"}).out).size(), 1U + 2U);

  const nlohmann::json json = predict({in("set")}, "jsonl").last_line();
  EXPECT_EQ(json.at("image"), in("set/2/c.jpg"));
  EXPECT_EQ(json.at("truth"), 2) << "as the folder is named";
  EXPECT_EQ(json.at("top").size(), 5);
  EXPECT_EQ(json.at("top").at(0).at("label"), json.at("label"));
  EXPECT_GE(json.at("top").at(0).at("probability"), json.at("top").at(1).at("probability"));

  const Outcome table = predict({in("set")}, "table");
  EXPECT_THAT(table.out, StartsWith("  picture "));
  EXPECT_THAT(table.out, HasSubstr(in("set/1/a.png")));
}

TEST_F(PictureVerbs, PredictGivesAPictureTheSameRowInAnyBatchOfOneSize) {
  const auto row_of = [](const Outcome& outcome, std::size_t line) {
    const std::string text = lines_of(outcome.out).at(line);
    return text.substr(text.find(','));
  };
  const Outcome alone = predict({in("dot.png"), in("bad.png")});
  const Outcome together = predict({in("dot.png"), in("set/1/a.png")});
  EXPECT_EQ(row_of(alone, 1), row_of(together, 1)) << "bad.png changes nothing of the others";
}

TEST_F(PictureVerbs, PredictNamesWhatCannotBeRead) {
  const Outcome some = predict({in("bad.png"), in("gone.png"), in("dot.png")});
  EXPECT_EQ(some.code, kSuccess);
  const std::vector<std::string> lines = lines_of(some.out);
  ASSERT_EQ(lines.size(), 1U + 3U);
  EXPECT_THAT(lines[1], HasSubstr("bad.png is no image: JPEG"));
  EXPECT_THAT(lines[2], HasSubstr("gone.png: "));
  EXPECT_THAT(some.err, HasSubstr("gentrain: 2 of 3 pictures could not be read; the first: " +
                                  in("bad.png") + " is no image"));
  const nlohmann::json json = predict({in("bad.png")}, "jsonl").last_line();
  EXPECT_THAT(json.at("error"), HasSubstr("bad.png is no image"));
  const Outcome none = predict({in("bad.png")}, "table");
  EXPECT_EQ(none.code, kBadFile);
  EXPECT_THAT(none.out, HasSubstr("bad.png is no image"));
  save("large.png", FileBytes{'n', 'o'});
  fs::resize_file(path("large.png"), (std::uintmax_t{64} << 20) + 1);  // a hole
  EXPECT_THAT(predict({in("large.png")}).out,
              HasSubstr("large.png: 67108865 bytes are more than the limit of 67108864"));
  fs::remove(path("large.png"));
  // A PNG that claims to have 20,000 x 20,000 pixels.
  FileBytes huge = image::plain_png(1, 1, {1, 2, 3});
  const FileBytes extent = image::big(20000, 4);
  std::copy(extent.begin(), extent.end(), huge.begin() + 16);
  std::copy(extent.begin(), extent.end(), huge.begin() + 20);
  save("huge.png", huge);
  EXPECT_THAT(predict({in("huge.png")}).out,
              HasSubstr("20000 x 20000 pixels are more than the limit of 134217728"));
}

TEST_F(PictureVerbs, PredictFetchesUrls) {
  const FileBytes png = image::plain_png(5, 5, {9, 8, 7});
  const std::string body(png.begin(), png.end());
  const test::CannedServer server(
      {answer(body), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"});
  const std::string url = server.url("/x.png");
  const Outcome outcome = predict({url, url, "--threads", "1"});
  EXPECT_EQ(outcome.code, kSuccess) << outcome.err;
  const std::vector<std::string> lines = lines_of(outcome.out);
  ASSERT_EQ(lines.size(), 1U + 2U);
  EXPECT_THAT(lines[1], StartsWith(url + ","));
  EXPECT_THAT(lines[1], Not(HasSubstr("404")));
  EXPECT_THAT(lines[2], HasSubstr("404"));
}

TEST_F(PictureVerbs, PredictRefusesWhatItCannotDo) {
  const auto refused = [](const std::vector<std::string>& words, int code = kUsage) {
    const Outcome outcome = predict(words);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(refused({in("dot.png"), "digits"}),
              HasSubstr("'digits' is given with others: only pictures"));
  EXPECT_THAT(refused({"-", "-"}), HasSubstr("standard input, -, can be read once"));
  EXPECT_THAT(refused({in("dot.png"), "--top", "0"}), HasSubstr("--top 0: must be at least 1"));
  EXPECT_THAT(refused({in("dot.png"), "--batch", "0"}), HasSubstr("--batch 0: must be at least 1"));
  EXPECT_THAT(refused({in("dot.png"), "-n", "0"}),
              HasSubstr("-n 0: at least 1 picture has to be asked for"));
  EXPECT_THAT(refused({in("dot.png"), "--fit", "wide"}),
              HasSubstr("--fit: there is no 'wide' (known: crop, stretch)"));
  EXPECT_THAT(refused({in("dot.png"), "--preprocess", "keras"}),
              HasSubstr("--preprocess: there is no 'keras'"));
  EXPECT_THAT(refused({in("gone.txt")}, kBadFile), HasSubstr("gone.txt: "));
  write(path("empty.txt"), "\n# nothing\n");
  EXPECT_THAT(refused({in("empty.txt")}, kBadFile),
              HasSubstr("there is nothing to predict: " + in("empty.txt") + " names no pictures"));
  write(path("long.txt"), std::string(70000, 'x') + "\n");
  EXPECT_THAT(refused({in("long.txt")}, kBadFile),
              HasSubstr("long.txt: line 1 is longer than 65536 bytes"));
}

TEST_F(PictureVerbs, FeaturesOfALayerAreWritten) {
  const Outcome outcome = features({in("set"), in("bad.png"), "--layer", "conv2"});
  EXPECT_EQ(outcome.code, kSuccess) << outcome.err;
  EXPECT_EQ(outcome.out, in("out.h5") + ": [12] of conv2, 3 pictures\n");
  EXPECT_THAT(outcome.err, HasSubstr("1 of 4 pictures could not be read"));
  const io::RowFileReader file(in("out.h5"), {"features", "labels"});
  EXPECT_EQ(file.rows(0), 3);
  EXPECT_EQ(file.row_shape(0), Shape{12});
  std::vector<float> label(1);
  file.read(1, 2, label);
  EXPECT_EQ(label[0], 1);
}

/// Mean and largest value over a map are those of all its pixels, of more than a window has too.
TEST_F(PictureVerbs, FeaturesPoolWholeMaps) {
  const auto first_row = [](const std::string& layer, const std::string& pool, const Shape& shape) {
    EXPECT_EQ(features({in("set"), "--layer", layer, "--pool", pool}).code, kSuccess);
    const io::RowFileReader file(in("out.h5"), {"features"});
    EXPECT_EQ(file.row_shape(0), shape);
    std::vector<float> row(static_cast<std::size_t>(file.row_shape(0).elements()));
    file.read(0, 0, row);
    return row;
  };
  for (const auto& [layer, shape] : {std::pair<std::string, Shape>{"conv1", Shape{24, 24, 6}},
                                     std::pair<std::string, Shape>{"conv2", Shape{8, 8, 12}}}) {
    const auto channels = static_cast<std::size_t>(shape[2]);
    const std::vector<float> map = first_row(layer, "none", shape);
    const std::vector<float> mean = first_row(layer, "avg", Shape{shape[2]});
    const std::vector<float> largest = first_row(layer, "max", Shape{shape[2]});
    for (std::size_t c = 0; c < channels; ++c) {
      double sum = 0;
      float most = map[c];
      for (std::size_t i = c; i < map.size(); i += channels) {
        sum += static_cast<double>(map[i]);
        most = std::max(most, map[i]);
      }
      EXPECT_NEAR(mean[c], sum / static_cast<double>(map.size() / channels), 1e-4) << layer;
      EXPECT_EQ(largest[c], most) << layer;
    }
  }
}

TEST_F(PictureVerbs, FeaturesTakeArrays) {
  {
    io::RowFileWriter file(path("in.h5"));
    const int input = file.add_floats("input", Shape{28, 28, 1});
    for (int i = 0; i < 3; ++i) {
      file.append(input, std::vector<float>(784, 0.25F * static_cast<float>(i)));
    }
    file.commit();
  }
  const Outcome outcome =
      features({in("in.h5"), "--layer", "conv1", "--layer", "fc1", "--batch", "2"});
  EXPECT_EQ(outcome.code, kSuccess) << outcome.err;
  EXPECT_EQ(outcome.out, in("out.h5") + ": 3 rows of 3 arrays\n");
  const io::RowFileReader file(in("out.h5"), {"output", "layers/conv1", "layers/fc1"});
  EXPECT_EQ(file.row_shape(0), Shape{10});
  EXPECT_EQ(file.row_shape(1), (Shape{24, 24, 6}));
  EXPECT_EQ(file.rows(2), 3);
  {
    io::RowFileWriter wrong(path("wrong.h5"));
    wrong.add_floats("input", Shape{28, 28});
    wrong.commit();
  }
  const Outcome refused = features({in("wrong.h5")});
  EXPECT_EQ(refused.code, kBadFile);
  EXPECT_THAT(refused.err,
              HasSubstr("wrong.h5: /input has rows of [28, 28] where the model's input "
                        "input is [28, 28, 1]"));
  const Outcome itself = gentrain({"features", model(), in("in.h5"), "--out", in("in.h5")});
  EXPECT_EQ(itself.code, kUsage);
  EXPECT_THAT(itself.err, HasSubstr("is the file that is read"));
}

TEST_F(PictureVerbs, FeaturesRefuseWhatTheyCannotDo) {
  const auto refused = [](const std::vector<std::string>& words, int code = kUsage) {
    const Outcome outcome = features(words);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(refused({in("set"), "--layer", "conv9"}),
              HasSubstr("the network has no layer 'conv9' (known: "));
  EXPECT_THAT(refused({in("set"), "--layer", "conv1", "--layer", "conv2"}),
              HasSubstr("of pictures the features are those of one layer"));
  EXPECT_THAT(refused({in("set"), "--pool", "sum"}),
              HasSubstr("--pool: there is no 'sum' (known: avg, max, none)"));
  EXPECT_THAT(refused({}), HasSubstr("there is nothing to look at"));
  EXPECT_THAT(refused({"digits"}), HasSubstr("'digits' names no pictures"));
  EXPECT_THAT(refused({in("a.h5"), in("b.h5")}), HasSubstr("one file of arrays at a time"));
  EXPECT_THAT(refused({in("set"), "--top", "half"}),
              HasSubstr("--top: there is no 'half' (known: original, none)"));
  EXPECT_THAT(refused({in("bad.png")}, kBadFile), HasSubstr("1 of 1 pictures could not be read"));
  EXPECT_THAT(gentrain({"features", model(), in("set")}).err, HasSubstr("the out is missing"));
  // The result does not take the place of what it is made of.
  const std::string list = in("list_out.txt");
  write(list, in("dot.png"));
  const std::string weights = in("weights.h5");
  write(weights, "w");
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {model(), in("set"), "--out", model()},
           {in("run"), in("set"), "--out", model()},
           {model(), list, "--out", list},
           {"squeezenet", in("set"), "--weights", weights, "--out", weights}}) {
    std::vector<std::string> all{"features"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = gentrain(all);
    EXPECT_EQ(outcome.code, kUsage);
    EXPECT_THAT(outcome.err, HasSubstr("is the file that is read"));
  }
}

TEST_F(PictureVerbs, SummariesOfModelsAndJobs) {
  const Outcome text = gentrain({"summary", model()});
  EXPECT_EQ(text.code, kSuccess) << text.err;
  EXPECT_THAT(text.out, HasSubstr("parameters  22,278, 22,278 of them trainable\n"));
  const nlohmann::json json = gentrain({"summary", model(), "--json"}).last_line();
  EXPECT_EQ(json.at("parameters"), 22278);
  EXPECT_EQ(json.at("inputs").at(0).at("shape"), (std::vector<int>{28, 28, 1}));
  const Outcome of_job = gentrain({"summary", job()});
  EXPECT_EQ(of_job.code, kSuccess) << of_job.err;
  EXPECT_THAT(of_job.out, testing::ContainsRegex("conv1 .* frozen in head\n"));
  const nlohmann::json squeezenet =
      gentrain({"summary", "squeezenet", "--top", "none", "--json"}).last_line();
  EXPECT_EQ(squeezenet.at("parameters"), 722496);
  EXPECT_EQ(gentrain({"summary", in("gone.h5")}).code, kBadFile);
  EXPECT_THAT(gentrain({"summary", model(), "--set", "a=b"}).err, HasSubstr("is no job"));
  EXPECT_EQ(gentrain({"summary"}).code, kUsage);
}

}  // namespace
}  // namespace gentrain::jobs
