// gentrain bench JOB: times the steps of a job.
#include <iostream>
#include <utility>

#include <boost/program_options.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "comm/watchdog.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/schema.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/bench.h"
#include "trainers/dreams.h"
#include "trainers/observers.h"
#include "trainers/run_log.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

void print_table(const trainers::BenchResult& result) {
  const auto row = [](std::string_view name, const std::string& value) {
    std::cout << fmt::format("  {:<16} {}\n", name, value);
  };
  row("images/s", fmt::format("{} (best {})", trainers::with_digits(result.images_per_s()),
                              trainers::with_digits(result.best_images_per_s())));
  row("step", fmt::format("{:.3f} ms median, {:.3f} ms min", result.step_ms, result.step_ms_min));
  row("arithmetic", fmt::format("{:.3f} GFLOP a step, {:.1f} GFLOP/s", result.gflop_per_step,
                                result.gflop_per_s()));
  row("to first step", fmt::format("{:.3f} s", result.startup_s));
  row("peak memory", fmt::format("{:.1f} MiB a rank, {:.1f} MiB of it tensors", result.peak_rss_mib,
                                 result.tensor_peak_mib));
  row("exchanged",
      fmt::format("{} bytes a step and rank", trainers::with_commas(result.exchanged_bytes)));
}

nlohmann::json to_json(const Job& job, const trainers::BenchResult& result, bool forward) {
  return {{"job", job.name},
          {"stage", result.stage},
          {"forward", forward},
          {"cached_features", result.features},
          {"images_per_s", result.images_per_s()},
          {"best_images_per_s", result.best_images_per_s()},
          {"step_ms", result.step_ms},
          {"step_ms_min", result.step_ms_min},
          {"gflop_per_step", result.gflop_per_step},
          {"gflop_per_s", result.gflop_per_s()},
          {"startup_s", result.startup_s},
          {"peak_rss_mib", result.peak_rss_mib},
          {"peak_rss_mib_all_ranks", result.peak_rss_mib_all_ranks},
          {"tensor_peak_mib", result.tensor_peak_mib},
          {"exchanged_bytes", result.exchanged_bytes},
          {"ranks", result.ranks},
          {"threads", result.threads},
          {"shards", result.shards},
          {"batch", result.batch}};
}

void bench_training(Session& session, Job job, const trainers::BenchOptions& bench) {
  comm::Communicator& communicator = session.communicator;
  job.weights.use = trainers::WeightsOptions::Use::kNothing;  // their values are of no account
  if (job.kind != JobKind::kTrain) {
    throw JobError(fmt::format("bench: {} is of the kind {}, which takes no steps", job.file,
                               choice_name(job.kind)));
  }
  // Ranks that differ in one of these would wait for each other.
  const std::string identity =
      fmt::format("{}bench: stage '{}', steps {}, warmup {}, forward {}\n", job_identity(job),
                  bench.stage, bench.steps, bench.warmup, bench.forward);
  using CacheFeatures = trainers::DataOptions::CacheFeatures;
  if (job.data.cache_features == CacheFeatures::kAuto) {
    job.data.cache_features = CacheFeatures::kMemory;  // nothing is written
  }
  trainers::TrainingRun run(job, communicator, identity);
  const trainers::BenchResult result = trainers::bench(run, bench, session.process_start);
  if (communicator.rank() == 0) {
    std::cout << fmt::format("{}, stage {}{}: batch {} in {} shards, {} rank{} x {} thread{}\n{}\n",
                             job.name, result.stage, bench.forward ? ", forward pass alone" : "",
                             result.batch, result.shards, result.ranks,
                             result.ranks == 1 ? "" : "s", result.threads,
                             result.threads == 1 ? "" : "s", run.contract());
    if (!run.data_note().empty()) {
      std::cout << run.data_note() << "\n";
    }
    if (!result.features.empty()) {
      std::cout << fmt::format(
          "steps start from features of {}, which were computed before: the steady state\n",
          result.features);
    }
    print_table(result);
    std::cout << to_json(job, result, bench.forward).dump() << std::endl;
  }
}

/// Gradients of a dream's loss; each counts as an image.
void bench_dreams(Session& session, const Job& job, const trainers::BenchOptions& bench) {
  comm::Communicator& communicator = session.communicator;
  const std::string identity =
      fmt::format("{}bench: steps {}, warmup {}\n", job_identity(job), bench.steps, bench.warmup);
  const trainers::DreamSetting setting{.options = job,
                                       .dream = job.dream,
                                       .output = job.output,
                                       .identity = identity,
                                       .resolved = {}};
  const trainers::BenchResult result =
      trainers::bench_dreams(setting, bench, session.process_start, communicator);
  if (communicator.rank() == 0) {
    std::cout << fmt::format("{}, gradients in {} parts: {} rank{} x {} thread{}\n", job.name,
                             job.op_threads, result.ranks, result.ranks == 1 ? "" : "s",
                             result.threads, result.threads == 1 ? "" : "s");
    print_table(result);
    std::cout << to_json(job, result, false).dump() << std::endl;
  }
}

}  // namespace

int bench_verb(Session& session, const Arguments& arguments) {
  OptionSet options("[mpirun -np N] gentrain bench JOB [options]",
                    "Times whole steps of a job, data loading included; writes nothing. The last "
                    "line is one JSON object.");
  add_job_options(options);
  trainers::BenchOptions bench;
  options.visible.add_options()("stage", po::value(&bench.stage)->value_name("NAME"),
                                "which stage; default: the last")(
      "steps", po::value(&bench.steps)->value_name("N")->default_value(bench.steps),
      "steps that are timed")(
      "warmup", po::value(&bench.warmup)->value_name("N")->default_value(bench.warmup),
      "steps before them")("forward", po::bool_switch(&bench.forward),
                           "the forward pass alone, over the same shards");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  comm::Communicator& communicator = session.communicator;
  trainers::start_log("info", communicator.rank());
  const comm::Watchdog watchdog(communicator);  // before the first file is read
  Job job = options.job();
  if (job.kind == JobKind::kDeepDream) {
    bench_dreams(session, job, bench);
  } else {
    bench_training(session, std::move(job), bench);
  }
  communicator.barrier();
  return kSuccess;
}

}  // namespace gentrain::jobs
