// gentrain export: what it prints, what others verbs make of the file, and what it refuses.
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "core/io/row_file.h"
#include "tests/jobs/verbs_fixture.h"
#include "tests/support/hdf5_reader.h"

namespace gentrain::jobs {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ExportVerb : public Verbs {
 protected:
  /// /output of a model for two rows of numbers.
  static std::vector<double> features(const std::string& model) {
    const std::string in = path("in.h5").string();
    const std::string out = path("out.h5").string();
    {
      io::RowFileWriter file(in);
      const int input = file.add_floats("input", {28, 28, 1});
      std::vector<float> row(28 * 28);
      for (int n = 0; n < 2; ++n) {
        for (std::size_t i = 0; i < row.size(); ++i) {
          row[i] = static_cast<float>((i * 37 + static_cast<std::size_t>(n)) % 101) / 101;
        }
        file.append(input, row);
      }
      file.commit();
    }
    const Outcome made = gentrain({"features", model, in, "--out", out, "--threads", "1"});
    EXPECT_EQ(made.code, kSuccess) << made.err;
    const io::Hdf5Lock lock;
    return test::Hdf5Reader(out).read("output").values;
  }
};

TEST_F(ExportVerb, TheFileComputesWhatTheModelDoes) {
  const std::vector<double> expected = features(model());
  for (const char* name : {"lenet.onnx", "lenet.h5"}) {
    const std::string out = path(name).string();
    write(out, "old");
    const Outcome done = gentrain({"export", model(), out});
    EXPECT_EQ(done.code, kSuccess) << done.err;
    EXPECT_THAT(done.out, AllOf(HasSubstr(out + ": input [n, 28, 28, 1] to fc2 [n, 10]\n"),
                                HasSubstr("of pixels x, 0 to 255, it takes (x / 255 - ")));
    const std::vector<double> came = features(out);
    ASSERT_EQ(came.size(), expected.size());
    for (std::size_t i = 0; i < came.size(); ++i) {
      EXPECT_NEAR(came[i], expected[i], 1e-5) << name;
    }
    EXPECT_EQ(gentrain({"summary", out}).code, kSuccess);
  }
}

TEST_F(ExportVerb, AFolderOfARunIsItsModel) {
  const std::string out = path("folder.onnx").string();
  EXPECT_EQ(gentrain({"export", path("run").string(), out}).code, kSuccess);
  EXPECT_TRUE(fs::exists(out));
}

TEST_F(ExportVerb, WhatItRefuses) {
  const Outcome ending = gentrain({"export", model(), path("lenet.pb").string()});
  EXPECT_EQ(ending.code, kUsage);
  EXPECT_THAT(ending.err, HasSubstr("lenet.pb: its ending says no format: .h5 (Keras) or .onnx is "
                                    "needed"));
  const Outcome itself = gentrain({"export", model(), model()});
  EXPECT_EQ(itself.code, kUsage);
  EXPECT_THAT(itself.err, HasSubstr("model.h5: is the model that is read"));
  const Outcome in_folder = gentrain({"export", path("run").string(), model()});
  EXPECT_EQ(in_folder.code, kUsage);
  EXPECT_THAT(in_folder.err, HasSubstr("model.h5: is the model that is read"));
  const Outcome nothing = gentrain({"export", model()});
  EXPECT_EQ(nothing.code, kUsage);
  const Outcome gone = gentrain({"export", path("gone.h5").string(), path("a.onnx").string()});
  EXPECT_EQ(gone.code, kBadFile);
  EXPECT_THAT(gone.err, HasSubstr("gone.h5"));
  const Outcome nowhere = gentrain({"export", model(), path("nowhere/a.onnx").string()});
  EXPECT_EQ(nowhere.code, kBadFile);
  EXPECT_THAT(nowhere.err, HasSubstr("nowhere/a.onnx"));
  train_srgan();
  const Outcome generator = gentrain({"export", srgan(), path("srgan.onnx").string()});
  EXPECT_EQ(generator.code, kUsage);
  EXPECT_THAT(generator.err, HasSubstr("(srgan, gentrain's) cannot be exported: it is no graph of "
                                       "layers"));
  EXPECT_FALSE(fs::exists(path("srgan.onnx")));
}

}  // namespace
}  // namespace gentrain::jobs
