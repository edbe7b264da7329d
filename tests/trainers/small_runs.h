// What tests of trainers share: a small classifier job on drawn digits, ranks as threads of this
// process, and the hashes that they end with.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/local_ranks.h"
#include "trainers/training.h"

namespace gentrain::trainers {

inline LayerSpec layer_of(LayerKind kind) {
  LayerSpec layer;
  layer.kind = kind;
  return layer;
}
inline LayerSpec conv_layer(std::int64_t out, std::int64_t kernel) {
  LayerSpec layer = layer_of(LayerKind::kConv);
  layer.out = out;
  layer.kernel_h = layer.kernel_w = kernel;
  return layer;
}
inline LayerSpec pool_layer(LayerKind kind, std::int64_t window) {
  LayerSpec layer = layer_of(kind);
  layer.kernel_h = layer.kernel_w = layer.stride_h = layer.stride_w = window;
  return layer;
}
inline LayerSpec linear_layer(std::int64_t out) {
  LayerSpec layer = layer_of(LayerKind::kLinear);
  layer.out = out;
  return layer;
}
inline LayerSpec dropout_layer(double rate) {
  LayerSpec layer = layer_of(LayerKind::kDropout);
  layer.rate = rate;
  return layer;
}

/// LeNet, layer by layer.
inline std::vector<LayerSpec> lenet_layers() {
  return {conv_layer(6, 5),
          layer_of(LayerKind::kTanh),
          pool_layer(LayerKind::kMaxPool, 2),
          layer_of(LayerKind::kTanh),
          conv_layer(12, 5),
          pool_layer(LayerKind::kMaxPool, 2),
          layer_of(LayerKind::kFlatten),
          linear_layer(100),
          layer_of(LayerKind::kTanh),
          linear_layer(10)};
}

/// LeNet on 250 digits: an epoch has five steps of 48 images and one of 10, which leaves six of the
/// 16 shards empty. Eight steps end in the second epoch.
inline TrainOptions small_job() {
  TrainOptions options;
  options.seed = 7;
  options.threads = 1;
  options.batch = {.global = 48, .shards = 16};
  options.data.source = DataOptions::Source::kDigits;
  options.data.train_count = 250;
  options.data.test_count = 40;
  options.model.name = "lenet";
  StageOptions stage;
  stage.stop.steps = 8;
  stage.optimizer.lr = 0.1;
  stage.optimizer.momentum = 0.9;
  options.stages = {stage};
  return options;
}

/// A small variational autoencoder with Adam on the same digits.
inline TrainOptions small_vae_job() {
  TrainOptions options = small_job();
  options.data.normalize.train = data::Normalization{0, 1};
  options.model.name = "vae";
  options.model.vae = {.latent = 5, .hidden = 20};
  options.stages[0].optimizer = {.name = OptimizerOptions::Name::kAdam, .lr = 1e-2};
  return options;
}

/// SRGAN in small on drawn faces, both stages; its content loss sees one map of a VGG19 without
/// what it learned.
inline TrainOptions small_srgan_job() {
  TrainOptions options = small_job();
  options.batch = {.global = 16, .shards = 16};
  options.data.source = DataOptions::Source::kFaces;
  options.data.train_count = 20;
  options.data.test_count = 3;
  options.model.name = "srgan";
  options.model.srgan = {.width = 4, .blocks = 1};
  options.init.name = Initializer::Kind::kXavierUniform;
  options.content.weights = "random";
  options.content.maps = {"block1_conv1"};
  options.adversarial.weight = 0.1;
  options.samples.every.unit = CheckpointOptions::Unit::kNever;
  options.stages[0].name = "mse";
  options.stages[0].stop.steps = 1;
  options.stages[0].optimizer = {.name = OptimizerOptions::Name::kAdam, .lr = 1e-3};
  options.stages.push_back(options.stages[0]);
  options.stages[1].name = "gan";
  options.stages[1].stop.steps = 2;
  options.stages[1].discriminator_optimizer = OptimizerOptions{.lr = 1e-2, .momentum = 0.5};
  return options;
}

/// Runs `body` as every rank of a job of `ranks`, each on a thread of its own. A rank that throws
/// would leave the others waiting: it ends the test program.
inline void run_ranks(int ranks, const std::function<void(comm::Communicator&)>& body) {
  test::LocalRanks world(ranks);
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<std::size_t>(ranks));
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      try {
        body(world.rank(r));
      } catch (const std::exception& error) {
        std::fprintf(stderr, "rank %d of %d: %s\n", r, ranks, error.what());
        std::_Exit(1);
      }
    });
  }
}

/// What a run ends with.
struct Hashes {
  std::string weights;
  std::string state;
  friend bool operator==(const Hashes&, const Hashes&) = default;
};
inline std::ostream& operator<<(std::ostream& out, const Hashes& hashes) {
  return out << hashes.weights.substr(0, 12) << " " << hashes.state.substr(0, 12);
}

/// Changes the stages of a run before it begins: how tests break one.
using Sabotage = std::function<void(TrainingRun&, std::vector<Stage>&)>;

/// Trains and gives the hashes, which all ranks must have alike.
inline Hashes train_small(const TrainOptions& options, int ranks, const Sabotage& sabotage = {}) {
  std::vector<Hashes> all(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](comm::Communicator& communicator) {
    TrainingRun run(options, communicator);
    std::vector<Stage> stages = run.make_stages("");
    if (sabotage) {
      sabotage(run, stages);
    }
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
    Queue& queue = run.runner().queue();
    const auto state = run.updates().back()->gather_state(queue);
    all[static_cast<std::size_t>(communicator.rank())] = {
        weights_sha256(run.device(), queue, run.parameters()),
        state_sha256(run.device(), queue, run.parameters(), state)};
  });
  for (int r = 1; r < ranks; ++r) {
    EXPECT_EQ(all[static_cast<std::size_t>(r)], all[0]) << "rank " << r << " of " << ranks;
  }
  return all[0];
}

}  // namespace gentrain::trainers
