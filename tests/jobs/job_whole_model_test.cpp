// What a job says of a whole model of another framework, and everything that can be wrong with it.
#include <string>

#include <gtest/gtest.h>

#include "tests/jobs/job_error.h"

namespace gentrain::jobs {
namespace {

using trainers::ImportedOptions;
using trainers::Preprocessing;

Job of(const std::string& model, const std::string& lines = "") {
  return parse_job("model: " + model + "\nstop: {epochs: 1}\n" + lines, "j.yaml");
}
std::string error(const std::string& model, const std::string& lines = "") {
  return error_of("model: " + model + "\nstop: {epochs: 1}\n" + lines);
}

TEST(WholeModelJob, Keys) {
  const Job plain = of("{file: x.onnx}");
  EXPECT_EQ(plain.model.imported.file, "x.onnx");
  EXPECT_EQ(plain.model.imported.top, ImportedOptions::Top::kOriginal);
  EXPECT_EQ(plain.model.imported.preprocess, Preprocessing::kNone);
  EXPECT_TRUE(is_imported(plain.model));
  const Job head =
      of("{file: x.h5, top: head, layer: a/b, hidden: 0, preprocess: caffe, batch_norm: train}",
         "weights: random\nfreeze: {through: a}");
  EXPECT_EQ(head.model.imported.top, ImportedOptions::Top::kHead);
  EXPECT_EQ(head.model.imported.layer, "a/b");
  EXPECT_EQ(head.model.imported.preprocess, Preprocessing::kCaffe);
  EXPECT_EQ(head.model.pretrained.hidden, 0);
  EXPECT_TRUE(head.model.pretrained.batch_statistics);
  EXPECT_EQ(called(head.model), "x.h5");
}

TEST(WholeModelJob, DumpReadsAgainToTheSame) {
  for (const Job& job : {of("{file: x.onnx}"), of("{file: x.h5, top: head, layer: b, hidden: 7}"),
                         of("{file: x.h5, preprocess: torch}", "weights: random")}) {
    SCOPED_TRACE(dump_job(job));
    const Job again = parse_job(dump_job(job), "runs/x/job.yaml");
    EXPECT_EQ(again.model, job.model);
    EXPECT_EQ(again.weights, job.weights);
    EXPECT_EQ(dump_job(again), dump_job(job));
  }
}

TEST(WholeModelJob, TheIdentityHasIt) {
  const std::string identity = job_identity(of("{file: x.h5}"));
  for (const char* other : {"{file: y.h5}", "{file: x.h5, top: head}",
                            "{file: x.h5, preprocess: caffe}", "{file: x.h5, batch_norm: train}"}) {
    EXPECT_NE(job_identity(of(other)), identity) << other;
  }
}

TEST(WholeModelJobErrors, OneModelAtATime) {
  EXPECT_EQ(error("{file: x.h5, name: lenet}"),
            "j.yaml:1:9: model.file stands in place of model.name and model.layers");
  EXPECT_EQ(error("{file: x.h5, layers: [flatten]}"),
            "j.yaml:1:9: model.file stands in place of model.name and model.layers");
}

TEST(WholeModelJobErrors, KeysOfOtherModels) {
  EXPECT_EQ(error("{name: lenet, layer: a, preprocess: caffe}"),
            "j.yaml:1:22: model.layer has no effect without model.file and model.top head\n"
            "j.yaml:1:32: model.preprocess has no effect without model.file");
  EXPECT_EQ(error("{file: x.h5, layer: a, hidden: 5}"),
            "j.yaml:1:21: model.layer has no effect without model.file and model.top head\n"
            "j.yaml:1:31: model.hidden has no effect without model.top head");
  EXPECT_EQ(error("{file: x.h5, top: none}"),
            "j.yaml:1:26: model.top is 'none' but must be one of head, original");
  EXPECT_EQ(error("{file: x.h5, preprocess: sepia}"),
            "j.yaml:1:33: model.preprocess is 'sepia' but must be one of none, inception, caffe, "
            "torch");
}

TEST(WholeModelJobErrors, OfWeights) {
  const std::string own =
      "j.yaml:3:1: weights: model.file has its own weights, beside which only random is there";
  EXPECT_EQ(error("{file: x.h5}", "weights: w.h5\n"), own);
  EXPECT_EQ(error("{file: x.h5}", "weights: {reinit: [a]}\n"), own);
  EXPECT_EQ(error("{file: x.h5}", "weights: random\ninit_from: m.h5\n"),
            "j.yaml:3:1: weights and init_from exclude each other: the weights are from one file");
}

}  // namespace
}  // namespace gentrain::jobs
