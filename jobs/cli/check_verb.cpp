// gentrain check JOB: what a job is, what it takes, what it lacks.
#include <iostream>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/estimate.h"
#include "trainers/observers.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

void print(const Job& job, const trainers::Estimate& estimate, int ranks) {
  using trainers::with_commas;
  std::cout << dump_job(job) << "\n";
  std::cout << "layer                 output            parameters      products\n";
  for (const trainers::LayerInfo& layer : estimate.layers) {
    std::cout << fmt::format("{:<20}  {:<16} {:>11} {:>13}\n", layer.name, layer.output.str(),
                             with_commas(layer.parameters), with_commas(layer.products));
  }
  const auto row = [](std::string_view name, const std::string& value) {
    std::cout << fmt::format("{:<18} {}\n", name, value);
  };
  std::cout << "\n";
  row("parameters", with_commas(estimate.parameters));
  row("data", estimate.data);
  row("contract", estimate.contract);
  row("steps", with_commas(estimate.steps));
  row("ranks x threads", fmt::format("{} x {}", ranks, estimate.threads));
  row("tensor memory", fmt::format("{:.1f} MiB a rank", estimate.tensor_mib));
  row("resident memory", fmt::format("{:.0f} MiB a rank", estimate.resident_mib));
  row("exchanged",
      fmt::format("{} bytes sent a step by rank 0", with_commas(estimate.exchanged_bytes)));
  row("missing", estimate.missing.empty() ? "nothing" : estimate.missing);
}

}  // namespace

int check_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "gentrain check JOB [options]",
      "Reads a job, tries two steps of it on one rank, and prints the resolved job, its "
      "layers, and what\na rank will take; writes nothing.");
  add_job_options(options);
  options.visible.add_options()("ranks", po::value<int>()->default_value(1),
                                "number of ranks to answer for, all on this host");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const int ranks = options.get<int>("ranks");
  if (ranks < 1) {
    throw JobError(fmt::format("--ranks {}: at least 1 is needed", ranks));
  }
  const Job job = options.job();
  if (session.communicator.rank() != 0) {
    return kSuccess;
  }
  const trainers::Estimate estimate = trainers::estimate_classifier(job, ranks);
  print(job, estimate, ranks);
  return estimate.missing.empty() ? kSuccess : kBadFile;
}

}  // namespace gentrain::jobs
