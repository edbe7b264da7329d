// gentrain launch: the command line of the launcher.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "comm/communicator.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"
#include "jobs/launch/attempt.h"
#include "jobs/launch/options.h"
#include "jobs/launch/process.h"
#include "jobs/launch/supervisor.h"
#include "kernels/error.h"
#include "trainers/contract.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

/// mpirun's spellings as the ones that Boost knows.
Arguments with_long_names(Arguments arguments) {
  for (std::string& argument : arguments) {
    if (argument == "-np" || argument == "-n") {
      argument = "--np";
    } else if (argument == "-H" || argument == "-host" || argument == "--host") {
      argument = "--hosts";
    }
  }
  return arguments;
}

OptionSet launch_options() {
  OptionSet options("gentrain launch -np N [-H HOST:SLOTS,...] JOB [options]",
                    "Trains a job on N ranks under mpirun and restarts it after failures.");
  add_job_options(options);
  add_log_options(options);
  options.visible.add_options()("np", po::value<int>(), "-np N: ranks; default: all slots of -H")(
      "hosts", po::value<std::string>(), "-H HOST[:SLOTS],...: where they run; default: here")(
      "max-restarts", po::value<int>()->default_value(3),
      "give up after so many restarts in a row without progress")(
      "grace", po::value<double>()->default_value(60),
      "seconds that the ranks have to end after a signal")(
      "overwrite", "start anew over the run that the output folder holds")(
      "resume", po::value<std::string>(), "passed on to the first start: auto, never or a file")(
      "interface", po::value<std::string>()->default_value(""),
      "network interface, or network as 10.0.0.0/16, for messages between hosts")(
      "remote-shell", po::value<std::string>()->default_value(""),
      "starts programs on other hosts; default: $OMPI_MCA_plm_rsh_agent, else ssh")(
      "mpirun", po::value<std::string>()->default_value("mpirun"), "the mpirun to start")(
      "mpirun-option", po::value<std::vector<std::string>>()->composing(),
      "--mpirun-option='--mca NAME VALUE': words for mpirun")(
      "mpirun-texts", "print what mpirun says when ranks fail, too");
  return options;
}

void refuse_launcher() {
  const comm::Launcher outer = comm::detect_launcher();
  if (outer.present || outer.promised_size > 1) {
    throw JobError(fmt::format(
        "gentrain launch starts mpirun itself and was started by {}, which would make a run of "
        "every rank: call it without {}",
        outer.name, outer.name));
  }
}

std::string remote_shell(const OptionSet& options) {
  if (const auto& given = options.get<std::string>("remote-shell"); !given.empty()) {
    return given;
  }
  const char* const agent = std::getenv("OMPI_MCA_plm_rsh_agent");
  return agent == nullptr || split_words(agent).empty() ? "ssh" : agent;
}

void take_ranks(const OptionSet& options, const Job& job, LaunchOptions& launch) {
  if (options.has("hosts")) {
    launch.hosts = parse_hosts(options.get<std::string>("hosts"));
  }
  if (!options.has("np") && launch.hosts.empty()) {
    throw JobError("the number of ranks is missing: gentrain launch -np N JOB");
  }
  launch.ranks =
      options.has("np")
          ? options.get<int>("np")
          : std::accumulate(launch.hosts.begin(), launch.hosts.end(), 0,
                            [](int sum, const HostSlots& host) { return sum + host.slots; });
  if (launch.ranks < 1) {
    throw JobError(fmt::format("-np {}: at least 1 is needed", launch.ranks));
  }
  if (job.kind == JobKind::kTrain) {
    trainers::check_supported(job, launch.ranks);
  }
}

LaunchOptions read_options(const OptionSet& options, const Job& job) {
  LaunchOptions launch;
  take_ranks(options, job, launch);
  launch.max_restarts = options.get<int>("max-restarts");
  launch.grace_seconds = options.get<double>("grace");
  if (launch.max_restarts < 0) {
    throw JobError(fmt::format("--max-restarts {}: at least 0 is needed", launch.max_restarts));
  }
  if (!(launch.grace_seconds >= 0) || !std::isfinite(launch.grace_seconds)) {
    throw JobError(fmt::format("--grace {}: needed: seconds, from 0 on", launch.grace_seconds));
  }
  launch.mpirun_name = options.get<std::string>("mpirun");
  launch.mpirun = find_program(launch.mpirun_name);
  launch.network_interface = options.get<std::string>("interface");
  launch.remote_shell = remote_shell(options);
  if (options.has("mpirun-option")) {
    for (const auto& text : options.get<std::vector<std::string>>("mpirun-option")) {
      const auto words = split_words(text);
      launch.mpirun_options.insert(launch.mpirun_options.end(), words.begin(), words.end());
    }
  }
  launch.mpirun_texts = options.has("mpirun-texts");
  launch.program = std::filesystem::read_symlink("/proc/self/exe");
  launch.job = job.file;
  launch.settings = words_passed_on(options);
  if (options.has("overwrite")) {
    launch.first.emplace_back("--overwrite");
  }
  if (options.has("resume")) {
    launch.first.insert(launch.first.end(), {"--resume", options.get<std::string>("resume")});
  }
  launch.output = job.output;
  return launch;
}

}  // namespace

int launch_verb(Session& /*session*/, const Arguments& arguments) {
  OptionSet options = launch_options();
  if (!options.parse(with_long_names(arguments))) {
    return kSuccess;
  }
  refuse_launcher();
  return supervise(read_options(options, options.job()));
}

}  // namespace gentrain::jobs
