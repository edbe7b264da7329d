// gentrain JOB: train.
#include <cstdio>

#include <boost/program_options.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"
#include "trainers/run_log.h"
#include "trainers/training.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

int train_verb(Session& session, const Arguments& arguments) {
  OptionSet options("gentrain JOB [options]", "Trains what a job file describes.");
  add_job_options(options);
  add_log_options(options);
  options.visible.add_options()("overwrite",
                                "start anew over the run that the output folder holds");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  trainers::start_log(options.log_level(), session.communicator.rank());
  const Job job = options.job();
  const trainers::RunSetting setting{job.name,
                                     job_identity(job),
                                     dump_job(job),
                                     job.output,
                                     options.has("overwrite"),
                                     isatty(STDOUT_FILENO) == 1 && options.log_level() == "info",
                                     session.process_start,
                                     exit_code_of};
  trainers::train_classifier(job, setting, session.communicator);
  return kSuccess;
}

}  // namespace gentrain::jobs
