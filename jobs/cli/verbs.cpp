// The table of verbs.
#include "jobs/cli/verbs.h"

#include <fmt/format.h>

#include "comm/communicator.h"
#include "core/io/hdf5.h"
#include "kernels/device.h"
#include "kernels/error.h"
#include "trainers/contract.h"

namespace gentrain::jobs {

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table = {
      {"train", "train JOB", "trains; the same as gentrain JOB", train_verb},
      {"launch", "launch -np N [-H HOSTS] JOB", "trains on N ranks and restarts after failures",
       launch_verb, false},
      {"submit", "submit JOB --nodes N ...", "trains under Slurm, over time limits and failures",
       submit_verb, false},
      {"check", "check JOB [--ranks N]", "what a job is, needs and lacks; trains nothing",
       check_verb},
      {"bench", "bench JOB [--steps N]", "times whole steps", bench_verb},
      {"eval", "eval MODEL [DATA]", "loss and accuracy of a trained model", eval_verb},
      {"predict", "predict MODEL [IMAGES...] [--top 5]", "labels and probabilities of images",
       predict_verb},
      {"features", "features MODEL IMAGES... --out OUT.h5",
       "what a layer makes of images or arrays", features_verb},
      {"summary", "summary MODEL|JOB [--json]", "layers, shapes, parameters and FLOPs",
       summary_verb},
      {"export", "export MODEL OUT.h5|OUT.onnx", "the network for Keras or ONNX", export_verb},
      {"sample", "sample MODEL OUT.png [-n 64]", "images that a model makes of noise", sample_verb},
      {"upscale", "upscale MODEL IMAGE... --out DIR", "images four times as high and wide",
       upscale_verb},
      {"pack", "pack FOLDER FILE [--size HxW]", "decodes a folder of images into one file",
       pack_verb, false},
      {"fetch", "fetch NAME... [--to FOLDER]", "data sets and weights from the network", fetch_verb,
       false},
      {"cache", "cache [--clear [WHAT]]", "lists or removes what is prepared for later runs",
       cache_verb, false},
      {"verify", "verify FILE", "whether a model, checkpoint or pack is whole", verify_verb},
      {"list", "list [WHAT]", "models, data, optimizers, keys, ...", list_verb},
  };
  return table;
}

std::string version_text() {
  std::string processor;
  std::string libraries;
  try {
    const auto device = trainers::make_device({});
    const DeviceIdentity& identity = device->identity();
    processor = fmt::format("{}, kernels for x86-64-{}", identity.name, identity.isa);
    libraries = identity.libraries + ", ";
  } catch (const DeviceError& error) {
    processor = error.what();
  }
  return fmt::format(
      "gentrain {}\n"
      "built        {}\n"
      "libraries    {}{}, {}\n"
      "processor    {}\n"
      "rules        f32, no contraction but explicit fused multiply-adds, sums over one tree of "
      "shards\n",
      GENTRAIN_VERSION, GENTRAIN_BUILD, libraries, io::hdf5_version(), comm::mpi_version(),
      processor);
}

}  // namespace gentrain::jobs
