// gentrain JOB: does what a job file describes: trains, fits a regression, prepares faces or
// dreams.
#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "comm/watchdog.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/terminal.h"
#include "jobs/cli/verbs.h"
#include "kernels/error.h"
#include "trainers/contract.h"
#include "trainers/dreams.h"
#include "trainers/face_preparation.h"
#include "trainers/feature_regression.h"
#include "trainers/run_log.h"
#include "trainers/training.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

namespace {

trainers::ResumeOptions resume_options(const std::string& text) {
  using Mode = trainers::ResumeOptions::Mode;
  if (text == "auto" || text == "never") {
    return {text == "auto" ? Mode::kAuto : Mode::kNever, {}};
  }
  return {Mode::kPath, text};
}

/// A job of the kind prepare_faces: nothing to go on with, as its files are written at the end.
int prepare(const Job& job, const OptionSet& options, comm::Communicator& communicator) {
  if (options.get<std::string>("resume") != "auto") {
    throw JobError(fmt::format(
        "--resume: {} is of the kind prepare_faces, which begins anew each time", job.file));
  }
  trainers::TrainOptions placement;
  placement.threads = job.threads;
  const auto threads = static_cast<int>(trainers::wanted_workers(placement, communicator));
  trainers::run_face_preparation(job.data, job.output, threads, communicator);
  return kSuccess;
}

/// A job of the kind deepdream: it goes on with what its output holds, image by image.
int dream(const Job& job, const OptionSet& options, comm::Communicator& communicator) {
  const std::string resume = options.get<std::string>("resume");
  if (resume != "auto" && resume != "never") {
    throw JobError(fmt::format(
        "--resume: {} is of the kind deepdream, which goes on with its output alone: auto or never",
        job.file));
  }
  const trainers::DreamSetting setting{.options = job,
                                       .dream = job.dream,
                                       .output = job.output,
                                       .identity = job_identity(job),
                                       .resolved = dump_job(job),
                                       .anew = resume == "never",
                                       .overwrite = options.has("overwrite")};
  return trainers::run_dreams(setting, communicator) ? kSuccess : kRequested;
}

/// Ranks cannot start ranks anew: that is for the launcher.
void refuse_restarts(const Arguments& arguments) {
  for (const std::string& argument : arguments) {
    if (argument.starts_with("--max-restarts")) {
      throw JobError(
          "--max-restarts: the ranks cannot restart themselves; `gentrain launch -np N JOB "
          "--max-restarts K`, without mpirun, starts them and restarts them");
    }
  }
}

}  // namespace

int train_verb(Session& session, const Arguments& arguments) {
  refuse_restarts(arguments);
  OptionSet options("gentrain JOB [options]",
                    "Trains what a job file describes, fits its regression, prepares its faces, or "
                    "dreams.");
  add_job_options(options);
  add_log_options(options);
  options.visible.add_options()(
      "resume", po::value<std::string>()->default_value("auto"),
      "auto: go on with the unfinished run of this job that the output folder holds; never: start "
      "anew; PATH: go on from this checkpoint or the newest of this run's folder")(
      "overwrite", "start anew over the run that the output folder holds");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  trainers::start_log(options.log_level(), session.communicator.rank());
  const comm::Watchdog watchdog(session.communicator);  // before the first file is read
  const Job job = options.job();
  if (job.kind == JobKind::kPrepareFaces) {
    return prepare(job, options, session.communicator);
  }
  if (job.kind == JobKind::kDeepDream) {
    return dream(job, options, session.communicator);
  }
  const trainers::RunSetting setting{
      .job = job.name,
      .identity = job_identity(job),
      .same_job = job_identity(job, false),
      .resolved = dump_job(job),
      .output = job.output,
      .overwrite = options.has("overwrite"),
      .resume = resume_options(options.get<std::string>("resume")),
      .terminal = on_terminal() && options.log_level() == "info",
      .process_start = session.process_start,
      .exit_code_of = exit_code_of,
      .stopped_code = kRequested,
      .version = session.communicator.rank() == 0 ? version_text() : ""};
  const auto result =
      job.kind == JobKind::kFeatureRegression
          ? trainers::run_feature_regression(job, job.regression, setting, session.communicator)
          : trainers::train(job, setting, session.communicator);
  return result.kind == trainers::RunResult::Kind::kStopped ? kRequested : kSuccess;
}

}  // namespace gentrain::jobs
