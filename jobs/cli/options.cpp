// OptionSet.
#include "jobs/cli/options.h"

#include <iostream>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::jobs {

namespace po = boost::program_options;

OptionSet::OptionSet(std::string usage, std::string summary)
    : usage_(std::move(usage)), summary_(std::move(summary)) {
  visible.add_options()("help,h", "this text");
}

bool OptionSet::parse(const Arguments& arguments) {
  po::options_description all;
  all.add(visible).add(hidden_);
  try {
    po::store(po::command_line_parser(arguments).options(all).positional(positional).run(),
              values_);
    if (has("help")) {
      std::cout << "usage: " << usage_ << "\n" << summary_ << "\n\n" << visible;
      return false;
    }
    po::notify(values_);
  } catch (const po::error& error) {
    throw JobError(fmt::format("{} (usage: {})", error.what(), usage_));
  }
  return true;
}

std::string OptionSet::log_level() const {
  if (has("quiet")) {
    return "error";
  }
  return has("log-level") ? get<std::string>("log-level") : "info";
}

Job OptionSet::job() const {
  if (!has("job")) {
    throw JobError(fmt::format("a job file is missing (usage: {})", usage_));
  }
  return load_job(get<std::string>("job"),
                  has("set") ? get<std::vector<std::string>>("set") : std::vector<std::string>{});
}

void add_job_options(OptionSet& options) {
  options.hidden_.add_options()("job", po::value<std::string>(), "job file");
  options.positional.add("job", 1);
  options.visible.add_options()("set", po::value<std::vector<std::string>>()->composing(),
                                "KEY=VALUE: a key of the job, as --set batch.shards=8");
}

void add_log_options(OptionSet& options) {
  options.visible.add_options()("quiet,q", "print errors alone")(
      "log-level", po::value<std::string>(), "debug, info (default), warning, error or off");
}

}  // namespace gentrain::jobs
