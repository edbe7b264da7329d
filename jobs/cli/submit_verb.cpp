// gentrain submit: a job into the queue of Slurm.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include <boost/program_options.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"
#include "jobs/launch/batch_script.h"
#include "jobs/launch/process.h"
#include "kernels/error.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

OptionSet submit_options() {
  OptionSet options("gentrain submit JOB --nodes N --ranks-per-node M [options]",
                    "Hands a job to Slurm: it checkpoints before the time limit, is requeued and "
                    "resumes.");
  add_job_options(options);
  add_log_options(options);
  options.visible.add_options()("nodes", po::value<int>(), "nodes")(
      "ranks-per-node", po::value<int>(), "ranks on each of them")(
      "cpus-per-rank", po::value<int>(), "cores for each rank")(
      "time", po::value<std::string>(), "time limit of one start, as sbatch takes it: 8:00:00")(
      "partition", po::value<std::string>(), "partition")("account", po::value<std::string>(),
                                                          "account")(
      "signal-before", po::value<int>()->default_value(60),
      "seconds before the time limit at which the ranks are asked to write a checkpoint")(
      "max-restarts", po::value<int>()->default_value(3),
      "give up after so many requeues in a row without progress")(
      "env", po::value<std::vector<std::string>>()->composing(),
      "NAME=VALUE: environment of the ranks")(
      "sbatch-option", po::value<std::vector<std::string>>()->composing(),
      "--sbatch-option=NAME[=VALUE]: any other option of sbatch, without its dashes")(
      "overwrite", "start anew over the run that the output folder holds")(
      "resume", po::value<std::string>(), "passed on to the first start: auto, never or a file")(
      "print", "print the script instead of submitting it");
  return options;
}

int positive(const OptionSet& options, const std::string& name, int least) {
  if (!options.has(name)) {
    throw JobError(
        fmt::format("--{} is missing: gentrain submit JOB --nodes N --ranks-per-node M", name));
  }
  const int value = options.get<int>(name);
  if (value < least) {
    throw JobError(fmt::format("--{} {}: at least {} is needed", name, value, least));
  }
  return value;
}

SbatchOption sbatch_option(const std::string& text) {
  const std::size_t sign = text.find('=');
  if (text.empty() || sign == 0) {
    throw JobError(fmt::format("--sbatch-option {}: needed: NAME or NAME=VALUE", text));
  }
  return {text.substr(0, sign), sign == std::string::npos
                                    ? std::nullopt
                                    : std::optional<std::string>(text.substr(sign + 1))};
}

std::vector<SbatchOption> sbatch_options(const OptionSet& options, const Job& job) {
  const auto number = [](int value) { return fmt::format("{}", value); };
  const int nodes = positive(options, "nodes", 1);
  const int ranks = positive(options, "ranks-per-node", 1);
  if (job.kind == JobKind::kTrain && std::int64_t{nodes} * ranks > job.batch.shards) {
    throw JobError(
        fmt::format("{} nodes with {} ranks each but only {} shards, and a shard is "
                    "computed by one rank",
                    nodes, ranks, job.batch.shards));
  }
  std::vector<SbatchOption> all = {
      {"job-name", job.name},
      {"nodes", number(nodes)},
      {"ntasks-per-node", number(ranks)},
      {"signal", fmt::format("B:USR1@{}", positive(options, "signal-before", 0))}};
  if (options.has("cpus-per-rank")) {
    all.emplace_back("cpus-per-task", number(positive(options, "cpus-per-rank", 1)));
  }
  for (const char* name : {"time", "partition", "account"}) {
    if (options.has(name)) {
      all.emplace_back(name, options.get<std::string>(name));
    }
  }
  if (options.has("sbatch-option")) {
    for (const auto& text : options.get<std::vector<std::string>>("sbatch-option")) {
      all.push_back(sbatch_option(text));
    }
  }
  return all;
}

std::vector<std::string> arguments_of(const OptionSet& options, const Job& job) {
  std::vector<std::string> words = words_passed_on(options);
  words.insert(words.begin(), job.file);
  if (options.has("resume")) {
    words.insert(words.end(), {"--resume", options.get<std::string>("resume")});
  }
  if (options.has("overwrite")) {
    words.emplace_back("--overwrite");
  }
  return words;
}

std::string script_of(const OptionSet& options, const Job& job) {
  BatchOptions batch;
  batch.sbatch = sbatch_options(options, job);
  batch.variables.push_back(
      fmt::format("GENTRAIN_MAX_RESTARTS={}", positive(options, "max-restarts", 0)));
  if (options.has("env")) {
    for (const auto& text : options.get<std::vector<std::string>>("env")) {
      if (const std::size_t sign = text.find('='); sign == 0 || sign == std::string::npos) {
        throw JobError(fmt::format("--env {}: needed: NAME=VALUE", text));
      }
      batch.variables.push_back(text);
    }
  }
  batch.program = std::filesystem::read_symlink("/proc/self/exe");
  batch.arguments = arguments_of(options, job);
  return batch_script(batch);
}

/// Runs sbatch, which keeps a copy of the script, and gives its exit code.
int submit(const std::string& script) {
  const std::string program = find_program("sbatch");
  std::string name = (std::filesystem::temp_directory_path() / "gentrain-XXXXXX").string();
  const int file = mkstemp(name.data());
  if (file < 0) {
    throw IoError(fmt::format("no file {} can be made", name));
  }
  close(file);
  std::ofstream(name) << script;
  int code = kFailure;
  {
    Child sbatch({.program = program,
                  .words = {"sbatch", name},
                  .variables = {},
                  .output = Command::Output::kShared});
    while (!sbatch.ended()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    code = sbatch.exit_code();
  }
  std::filesystem::remove(name);
  if (code != 0) {
    throw Error(
        fmt::format("sbatch did not take the job (exit code {}); --print shows the script", code));
  }
  return kSuccess;
}

}  // namespace

int submit_verb(Session& /*session*/, const Arguments& arguments) {
  OptionSet options = submit_options();
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const std::string script = script_of(options, options.job());
  if (options.has("print")) {
    std::cout << script;
    return kSuccess;
  }
  return submit(script);
}

}  // namespace gentrain::jobs
