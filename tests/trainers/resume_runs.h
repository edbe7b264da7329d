// Small runs that go on: a folder for each test, one job of eight steps, and what is read of its
// results.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tests/trainers/small_runs.h"
#include "trainers/checkpoint.h"
#include "trainers/observers.h"
#include "trainers/resume.h"

namespace gentrain::trainers {

/// One job; checkpoints behind every step.
class ResumeTest : public ::testing::Test {
 protected:
  ResumeTest() {
    options_ = small_job();
    options_.evaluate.every = 1;
    options_.log.every = 1;
    options_.best.metric = Metric::kLoss;
    options_.checkpoint = {{CheckpointOptions::Unit::kSteps, 1}, 100};
  }
  ~ResumeTest() override { std::filesystem::remove_all(base_); }
  ResumeTest(const ResumeTest&) = delete;
  ResumeTest& operator=(const ResumeTest&) = delete;

  RunSetting setting(const std::string& folder) const {
    RunSetting made;
    made.job = "small";
    made.same_job = "optimizer.lr: 0.1\nseed: 7\n";
    made.identity = fmt::format("{}stop: {}\n", made.same_job, *options_.stages.back().stop.steps);
    made.resolved = "seed: 7\n";
    made.output = base_ / folder;
    return made;
  }

  RunResult train(const RunSetting& setting, int ranks = 1) const {
    RunResult result;
    run_ranks(ranks, [&](comm::Communicator& communicator) {
      RunResult mine = trainers::train(options_, setting, communicator);
      if (communicator.rank() == 0) {
        result = std::move(mine);
      }
    });
    return result;
  }
  /// On this thread, so that errors come out.
  RunResult train_alone(const RunSetting& setting) const {
    const auto single = comm::make_single();
    return trainers::train(options_, setting, *single);
  }

  /// Writes the checkpoint of every step of a run, which a run itself skips while it still writes
  /// the one before.
  void write_every_checkpoint(const std::string& name) const {
    const auto single = comm::make_single();
    RunFolder folder(base_ / name);
    TrainingRun run(options_, *single);
    std::vector<Stage> stages = run.make_stages("");
    StepTimes times(std::chrono::system_clock::now());
    EvaluationObserver evaluation({*single, run.runner(), run.objective(), run.parameters(),
                                   run.evaluation_data(), options_.evaluate, options_.early_stop,
                                   options_.best, nullptr});
    CheckpointWriter writer(folder, run.parameters(), 100);
    Checkpointer checkpointer(run, checkpoint_header(setting(name), run, stages),
                              {&times, &evaluation}, &writer,
                              [&evaluation] { return evaluation.best_step(); });
    class Settle final : public Observer {
     public:
      explicit Settle(CheckpointWriter& writer) : writer_(writer) {}
      void after_step(const StepReport& /*report*/) override { writer_.finish(); }

     private:
      CheckpointWriter& writer_;
    } settle(writer);
    run_stages(stages, run.loop_options(), run.runner(), &run.loader(),
               {&times, &evaluation, &checkpointer, &settle});
  }

  /// metrics.jsonl without what a clock says.
  std::vector<std::string> metrics(const std::string& folder) const {
    std::ifstream file(base_ / folder / "metrics.jsonl");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
      nlohmann::json json = nlohmann::json::parse(line);
      json.erase("images_per_s");
      lines.push_back(json.dump());
    }
    return lines;
  }

  std::string text_of(const std::string& file) const {
    std::ifstream in(base_ / file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  static void flip_a_bit(const std::filesystem::path& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(0, std::ios::end);
    const auto middle = file.tellg() / 2;
    file.seekg(middle);
    const auto byte = static_cast<char>(file.get() ^ 4);
    file.seekp(middle);
    file.put(byte);
  }

  std::filesystem::path base_ =
      std::filesystem::temp_directory_path() / ("gentrain_resume_" + std::to_string(getpid()));
  TrainOptions options_;
};

}  // namespace gentrain::trainers
