// gentrain check JOB: what a job is, what it takes, what it lacks.
#include <iostream>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/dreams.h"
#include "trainers/estimate.h"
#include "trainers/face_preparation.h"
#include "trainers/feature_regression.h"
#include "trainers/observers.h"
#include "trainers/preflight.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

using trainers::with_commas;

void row(std::string_view name, const std::string& value) {
  std::cout << fmt::format("{:<18} {}\n", name, value);
}

void print_layers(const std::vector<trainers::LayerInfo>& layers) {
  std::cout << fmt::format("{:<22} {:<18} {:>12} {:>14}  {}\n", "layer", "output of an image",
                           "parameters", "products", "named");
  for (const trainers::LayerInfo& layer : layers) {
    std::cout << fmt::format("{:<22} {:<18} {:>12} {:>14}{}{}\n", layer.name, layer.output.str(),
                             with_commas(layer.parameters), with_commas(layer.products),
                             layer.names.empty() ? "" : "  ", fmt::join(layer.names, " "));
  }
  std::cout << "\n";
}

void print_memory(const trainers::TensorMemory& memory, int threads) {
  const auto mib = [](std::int64_t bytes) {
    return static_cast<double>(bytes) / (1024.0 * 1024.0);
  };
  row("tensor memory", fmt::format("{:.3f} MiB a rank", mib(memory.total)));
  const auto part = [&](std::string_view name, std::int64_t bytes) {
    row("", fmt::format("{:>9.3f} MiB {}", mib(bytes), name));
  };
  part("weights", memory.weights);
  part("optimizer", memory.optimizer);
  part("gradients: sums over shards, on their way; weights in kernels' layouts", memory.gradients);
  if (memory.best > 0) {
    part("best weights", memory.best);
  }
  part(fmt::format("{} x {:.3f}: activations and scratch of a worker", threads, mib(memory.worker)),
       threads * memory.worker);
  if (memory.shared > 0) {
    row("", fmt::format("{:>9.3f} MiB more, once for all ranks of a host: frozen weights",
                        mib(memory.shared)));
  }
}

void print(const Job& job, const trainers::Estimate& estimate, int ranks) {
  std::cout << dump_job(job) << "\n";
  if (!estimate.layers.empty()) {
    print_layers(estimate.layers);
    row("parameters", with_commas(estimate.parameters));
    row("data", estimate.data);
    if (!estimate.data_note.empty()) {
      row("", estimate.data_note);
    }
    row("steps", with_commas(estimate.steps));
    for (const std::string& line : estimate.features) {
      row("features", line);
    }
  }
  row("contract", estimate.contract);
  row("ranks x threads", fmt::format("{} x {}", ranks, estimate.threads));
  if (!estimate.layers.empty()) {
    row("shards", fmt::format("at most {} a rank", estimate.shards));
    print_memory(estimate.memory, estimate.threads);
    row("resident memory",
        fmt::format("{:.0f} MiB a rank, {:.0f} more of rank 0 while it writes a checkpoint",
                    estimate.resident_mib, estimate.writer_mib));
    row("all ranks",
        fmt::format("{:.0f} MiB on one host: {} x {:.0f}, and once {:.0f} (what ranks share) "
                    "and {:.0f} (a checkpoint)",
                    estimate.host_mib, ranks, estimate.resident_mib - estimate.shared_mib,
                    estimate.shared_mib, estimate.writer_mib));
    row("exchanged", fmt::format("at most {} bytes sent a step and rank",
                                 with_commas(estimate.exchanged_bytes)));
  }
  row("missing", estimate.missing.empty() ? "nothing" : estimate.missing);
}

/// Of a job of the kind prepare_faces. False if its photographs are missing.
bool print_preparation(const Job& job) {
  std::cout << dump_job(job) << "\n";
  std::string missing;
  try {
    const image::Listing listing = trainers::list_photographs(job.data, *comm::make_single());
    row("photographs",
        fmt::format("{} in {}", with_commas(std::ssize(listing.files)), listing.folder.string()));
  } catch (const IoError& error) {
    missing = error.what();
  }
  row("missing", missing.empty() ? "nothing" : missing);
  return missing.empty();
}

/// Of a job of the kind feature_regression. False if something is missing.
bool print_regression(const Job& job, int ranks) {
  std::cout << dump_job(job) << "\n";
  const trainers::FeaturePlan plan = trainers::plan_feature_regression(job, job.regression);
  if (!plan.layers.empty()) {
    constexpr double kMib = 1024.0 * 1024.0;
    print_layers(plan.layers);
    row("parameters", with_commas(plan.parameters));
    row("data", plan.data);
    row("classes", fmt::format("{}", fmt::join(plan.classes, ", ")));
    row("split", fmt::format("{} images to fit to, {} to test with", with_commas(plan.train),
                             with_commas(plan.test)));
    row("features", fmt::format("{} numbers an image", with_commas(plan.width)));
    row("memory", fmt::format("{:.1f} MiB of features on each host; {} x {:.1f} beside them",
                              static_cast<double>(plan.feature_bytes) / kMib, ranks,
                              static_cast<double>(plan.fit_bytes) / kMib));
  }
  row("missing", plan.missing.empty() ? "nothing" : plan.missing);
  return plan.missing.empty();
}

/// Of a job of the kind deepdream, of so many ranks on this host. False if its weights are missing.
bool print_dreams(const Job& job, int ranks, const std::string& where) {
  constexpr double kMib = 1024.0 * 1024.0;
  std::cout << dump_job(job) << "\n";
  const trainers::DreamEstimate estimate = trainers::estimate_dreams(job, job.dream, ranks);
  row("contract", estimate.contract);
  row("images", with_commas(static_cast<std::int64_t>(estimate.images)));
  if (!estimate.note.empty()) {
    row("", estimate.note);
  }
  row("largest", fmt::format("{}, {} x {} pixels", estimate.largest, estimate.h, estimate.w));
  row("arithmetic", fmt::format("{:.1f} GFLOP a gradient", estimate.gflop));
  row("parameters", with_commas(estimate.parameters));
  row("memory",
      fmt::format("at least {:.0f} MiB a rank", static_cast<double>(estimate.bytes) / kMib));
  row("missing", estimate.missing.empty() ? "nothing" : estimate.missing);
  const trainers::MemoryNeed need{where.substr(0, where.rfind(':')), estimate.bytes,
                                  trainers::available_memory()};
  trainers::check_memory(std::vector(static_cast<std::size_t>(ranks), need));
  return estimate.missing.empty();
}

}  // namespace

int check_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "gentrain check JOB [options]",
      "Reads a job, tries a few steps of it on one rank, and prints the resolved job, its layers, "
      "what a rank\nwill take, and what is missing (then the exit code is 3); writes nothing.");
  add_job_options(options);
  options.visible.add_options()("ranks", po::value<int>()->value_name("N"),
                                "ranks to answer for, all on this host; default: those that mpirun "
                                "started, or 1");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const int ranks = options.has("ranks") ? options.get<int>("ranks") : session.communicator.size();
  if (ranks < 1) {
    throw JobError(fmt::format("--ranks {}: at least 1 is needed", ranks));
  }
  const Job job = options.job();
  if (session.communicator.rank() != 0) {
    return kSuccess;
  }
  if (job.kind == JobKind::kPrepareFaces) {
    return print_preparation(job) ? kSuccess : kBadFile;
  }
  if (job.kind == JobKind::kFeatureRegression) {
    return print_regression(job, ranks) ? kSuccess : kBadFile;
  }
  if (job.kind == JobKind::kDeepDream) {
    return print_dreams(job, ranks, session.communicator.where()) ? kSuccess : kBadFile;
  }
  const trainers::Estimate estimate = trainers::estimate(job, ranks);
  print(job, estimate, ranks);
  trainers::check_fits(estimate, ranks, trainers::available_memory());
  return estimate.missing.empty() ? kSuccess : kBadFile;
}

}  // namespace gentrain::jobs
