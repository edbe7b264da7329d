// The promise inside one process: one job gives the same bytes on any number of ranks and workers;
// and broken runs, which show that the comparison can fail.
#include <algorithm>
#include <cmath>
#include <latch>
#include <map>
#include <mutex>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

constexpr std::array<int, 6> kRanks = {1, 2, 3, 5, 8, 16};
constexpr std::array<int, 3> kWorkers = {1, 2, 3};

TrainOptions lenet_momentum() {
  TrainOptions options = small_job();
  options.stages[0].clip_norm = 0.5;
  options.stages[0].optimizer.weight_decay = 1e-3;
  return options;
}

TrainOptions lenet_adam() {
  TrainOptions options = small_job();
  options.stages[0].optimizer = {.name = OptimizerOptions::Name::kAdam, .lr = 1e-3};
  options.stages[0].schedule = {.name = ScheduleOptions::Name::kCosine, .total = 8, .warmup = 2};
  return options;
}

/// Two stages, the first with all but the last layer frozen.
TrainOptions dropout_net() {
  TrainOptions options = small_job();
  options.model.name.clear();
  options.model.layers = {conv_layer(8, 3),
                          layer_of(LayerKind::kRelu),
                          pool_layer(LayerKind::kMaxPool, 4),
                          layer_of(LayerKind::kFlatten),
                          dropout_layer(0.3),
                          linear_layer(24),
                          layer_of(LayerKind::kSigmoid),
                          dropout_layer(0.5),
                          linear_layer(10)};
  StageOptions& second = options.stages.emplace_back(options.stages[0]);
  second.name = "whole";
  options.stages[0].trainable = {{"linear2/*", ""}};
  options.stages[0].stop.steps = 3;
  second.optimizer = {.name = OptimizerOptions::Name::kAdamW, .lr = 1e-3, .weight_decay = 0.1};
  second.clip_norm = 0.1;
  return options;
}

TrainOptions in_bf16(TrainOptions options) {
  options.precision = Precision::kBf16Emulated;
  return options;
}

TrainOptions lenet_bf16() {
  return in_bf16(lenet_adam());
}

TrainOptions vae_bf16() {
  return in_bf16(small_vae_job());
}

/// Shards of two and three images side by side.
TrainOptions uneven_vae() {
  TrainOptions options = small_vae_job();
  options.batch.global = 41;
  options.model.vae = {.latent = 9, .hidden = 33};
  return options;
}

class SameBytes : public ::testing::TestWithParam<std::pair<const char*, TrainOptions (*)()>> {};

TEST_P(SameBytes, AnyNumberOfRanksAndWorkers) {
  TrainOptions options = GetParam().second();
  const Hashes expected = train_small(options, 1);
  for (const int ranks : kRanks) {
    for (const int workers : kWorkers) {
      options.threads = workers;
      EXPECT_EQ(train_small(options, ranks), expected) << ranks << " ranks x " << workers;
    }
  }
}

TEST_P(SameBytes, AnotherSeedOrShardingIsAnotherRun) {
  const TrainOptions options = GetParam().second();
  const Hashes expected = train_small(options, 1);
  TrainOptions other = options;
  other.seed += 1;
  EXPECT_NE(train_small(other, 1).weights, expected.weights);
  other = options;
  other.batch.shards = 12;
  EXPECT_NE(train_small(other, 1).weights, expected.weights);
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, SameBytes,
    ::testing::Values(std::pair("lenet_momentum", &lenet_momentum),
                      std::pair("lenet_adam", &lenet_adam), std::pair("dropout_net", &dropout_net),
                      std::pair("vae", &small_vae_job), std::pair("lenet_bf16", &lenet_bf16),
                      std::pair("vae_bf16", &vae_bf16), std::pair("uneven_vae", &uneven_vae)),
    [](const auto& param_info) { return param_info.param.first; });

TEST(SameBytesModels, LayersOfAJobAreTheBuiltInLenet) {
  TrainOptions options = lenet_momentum();
  const Hashes built_in = train_small(options, 1);
  options.model.name.clear();
  options.model.layers = lenet_layers();
  EXPECT_EQ(train_small(options, 3), built_in);
}

TEST(SameBytesModels, Bf16IsAnotherRunOfNearlyTheSameWeights) {
  std::vector<std::vector<float>> weights;
  for (const TrainOptions& options : {lenet_adam(), lenet_bf16()}) {
    run_ranks(1, [&](comm::Communicator& communicator) {
      TrainingRun run(options, communicator);
      std::vector<Stage> stages = run.make_stages("");
      run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {});
      weights.push_back(
          copy_to_host<float>(run.device(), run.runner().queue(), run.parameters().arena()));
    });
  }
  double apart = 0;
  double size = 0;
  for (std::size_t i = 0; i < weights[0].size(); ++i) {
    apart += std::pow(static_cast<double>(weights[0][i] - weights[1][i]), 2);
    size += std::pow(static_cast<double>(weights[0][i]), 2);
  }
  EXPECT_GT(apart, 0);
  EXPECT_LT(std::sqrt(apart / size), 0.02);
}

/// Wraps the function of the first stage's pass.
template <class Wrap>
Sabotage wrap_shards(Wrap wrap) {
  return [wrap](TrainingRun& run, std::vector<Stage>& stages) {
    Pass& pass = stages.front().passes.front();
    pass.shard = wrap(run, std::move(pass.shard));
  };
}

/// A wrapper that changes nothing must change no bit: what the tests below find is not its doing.
TEST(SameBytesCanFail, AWrapperAloneDoesNothing) {
  const auto wrap = [](TrainingRun&, std::function<void(ShardRun&)> inner) { return inner; };
  EXPECT_EQ(train_small(lenet_adam(), 3, wrap_shards(wrap)), train_small(lenet_adam(), 1));
}

/// The same gradients, added in another order: each shard takes the samples of its neighbour. (To
/// reverse the shards would not do: mirroring the tree of 16 swaps operands of additions alone.)
TEST(SameBytesCanFail, AnotherOrderOfTheSum) {
  const auto wrap = [](TrainingRun& run, std::function<void(ShardRun&)> inner) {
    return [inner = std::move(inner), shards = run.options().batch.shards](ShardRun& shard) {
      shard.samples = shard_samples(shard.position.samples, shards, (shard.shard + 1) % shards);
      inner(shard);
    };
  };
  TrainOptions options = lenet_momentum();
  EXPECT_NE(train_small(options, 1, wrap_shards(wrap)).weights, train_small(options, 1).weights);
}

/// Sums taken by a library, which gives up the promise, depend on the number of ranks.
TEST(SameBytesCanFail, SumsOfALibrary) {
  TrainOptions options = lenet_momentum();
  options.exchange = comm::ExchangeMode::kLibrary;
  const Hashes one = train_small(options, 1);
  EXPECT_EQ(one, train_small(lenet_momentum(), 1));
  EXPECT_NE(train_small(options, 3).weights, one.weights);
}

TEST(SameBytesCanFail, ARankDependentSeed) {
  const auto wrap = [](TrainingRun& run, std::function<void(ShardRun&)> inner) {
    const auto rank = static_cast<std::uint64_t>(run.communicator().rank());
    return [inner = std::move(inner), rank](ShardRun& shard) {
      shard.context.key = shard.context.key.fold(rank);
      for (RngKey& key : shard.shards.keys) {
        key = key.fold(rank);
      }
      inner(shard);
    };
  };
  TrainOptions dropout = dropout_net();
  dropout.stages.erase(dropout.stages.begin());
  for (const TrainOptions& options : {dropout, small_vae_job()}) {
    EXPECT_NE(train_small(options, 3, wrap_shards(wrap)).weights,
              train_small(options, 1, wrap_shards(wrap)).weights)
        << options.model.name;
  }
}

/// One rank's 16 shards stand side by side on one worker, in two eights on two.
TEST(SameBytesSideBySide, ShardsOfAWorkerAreComputedTogether) {
  for (const auto& [workers, expected] :
       {std::pair(1, std::set<std::int64_t>{16}), std::pair(2, std::set<std::int64_t>{8}),
        std::pair(3, std::set<std::int64_t>{2})}) {
    std::mutex mutex;
    std::set<std::int64_t> sizes;
    const auto wrap = [&](TrainingRun&, std::function<void(ShardRun&)> inner) {
      return [&, inner = std::move(inner)](ShardRun& run) {
        inner(run);
        const std::lock_guard lock(mutex);
        sizes.insert(run.gradients[0]->shards());
      };
    };
    TrainOptions options = uneven_vae();
    options.threads = workers;
    train_small(options, 1, wrap_shards(wrap));
    EXPECT_EQ(sizes, expected) << workers << " workers";
  }
}

TEST(SameBytesSideBySide, SumsAreToldOfEachShard) {
  run_ranks(1, [&](comm::Communicator& communicator) {
    TrainingRun run(uneven_vae(), communicator);
    std::vector<Stage> stages = run.make_stages("");
    Pass& pass = stages.front().passes.front();
    pass.shard = [inner = std::move(pass.shard)](ShardRun& shards) {
      shards.shards.rows = {shards.samples.size()};  // all as one
      inner(shards);
    };
    EXPECT_EQ(test::message_of<Error>(
                  [&] { run_stages(stages, run.loop_options(), run.runner(), &run.loader(), {}); }),
              "3 sums of 16 shards side by side: as many of each are needed");
  });
}

/// Side by side, but all with the noise of the first shard; then with the border between two shards
/// moved by an image.
TEST(SameBytesCanFail, ShardsSideBySideThatAreNotAlone) {
  const auto one_key = [](TrainingRun&, std::function<void(ShardRun&)> inner) {
    return [inner = std::move(inner)](ShardRun& run) {
      std::fill(run.shards.keys.begin(), run.shards.keys.end(), run.context.key);
      inner(run);
    };
  };
  const auto other_border = [](TrainingRun&, std::function<void(ShardRun&)> inner) {
    return [inner = std::move(inner)](ShardRun& run) {
      if (run.shards.rows.size() > 1 && run.shards.rows[0] > 0) {
        run.shards.rows[0] -= 1;
        run.shards.rows[1] += 1;
      }
      inner(run);
    };
  };
  const Hashes expected = train_small(uneven_vae(), 1);
  EXPECT_NE(train_small(uneven_vae(), 1, wrap_shards(one_key)).weights, expected.weights);
  EXPECT_NE(train_small(uneven_vae(), 1, wrap_shards(other_border)).weights, expected.weights);
}

/// A loader with a buffer per worker: the first pixel is what the worker's last shard left.
class StaleLoader final : public data::Loader {
 public:
  StaleLoader(data::Loader& inner, int workers) : inner_(inner), all_are_here_(workers) {}

  void load(const data::BatchRequest& request, data::ShardBatch& batch) override {
    if (is_new(batch)) {
      all_are_here_.arrive_and_wait();  // so that every worker has a shard of the first step
    }
    inner_.load(request, batch);
    const std::lock_guard lock(mutex_);
    std::uint8_t& left = last_pixel_[&batch];
    batch.pixels[0] = left;
    left = batch.pixels[batch.pixels.size() / 2];
  }
  void announce(const std::vector<data::BatchRequest>& requests, int times) override {
    inner_.announce(requests, times);
  }
  void forget() override { inner_.forget(); }
  [[nodiscard]] double waited() const override { return inner_.waited(); }

 private:
  bool is_new(const data::ShardBatch& batch) {
    const std::lock_guard lock(mutex_);
    return last_pixel_.emplace(&batch, std::uint8_t{0}).second;
  }

  data::Loader& inner_;
  std::latch all_are_here_;
  std::mutex mutex_;
  std::map<const data::ShardBatch*, std::uint8_t> last_pixel_;
};

TEST(SameBytesCanFail, AWorkerDependentBuffer) {
  std::vector<std::unique_ptr<StaleLoader>> loaders;
  const Sabotage sabotage = [&loaders](TrainingRun& run, std::vector<Stage>& stages) {
    loaders.push_back(std::make_unique<StaleLoader>(run.loader(), run.workers()));
    stages.front().passes.front() = make_pass(
        *run.updates().front(), run.objective(),
        {*loaders.back(), *run.data().train, run.data().train_normalization}, stages.front().name);
  };
  TrainOptions options = lenet_momentum();
  const Hashes one = train_small(options, 1, sabotage);
  EXPECT_EQ(train_small(options, 1, sabotage), one);
  options.threads = 3;
  EXPECT_NE(train_small(options, 1, sabotage).weights, one.weights);
}

}  // namespace
}  // namespace gentrain::trainers
