// gentrain JOB: train.
#include <boost/program_options.hpp>

#include "comm/watchdog.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/terminal.h"
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
  const comm::Watchdog watchdog(session.communicator);
  const trainers::RunSetting setting{
      .job = job.name,
      .identity = job_identity(job),
      .resolved = dump_job(job),
      .output = job.output,
      .overwrite = options.has("overwrite"),
      .terminal = on_terminal() && options.log_level() == "info",
      .process_start = session.process_start,
      .exit_code_of = exit_code_of,
      .version = session.communicator.rank() == 0 ? version_text() : ""};
  trainers::train_classifier(job, setting, session.communicator);
  return kSuccess;
}

}  // namespace gentrain::jobs
