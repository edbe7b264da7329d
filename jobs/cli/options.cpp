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
    po::store(po::command_line_parser(arguments).options(all).positional(positional_).run(),
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

void OptionSet::add_argument(const std::string& name) {
  hidden_.add_options()(name.c_str(), po::value<std::string>(), name.c_str());
  positional_.add(name.c_str(), 1);
}

void OptionSet::add_arguments(const std::string& name) {
  hidden_.add_options()(name.c_str(), po::value<std::vector<std::string>>(), name.c_str());
  positional_.add(name.c_str(), -1);
}

std::string OptionSet::required(const std::string& name) const {
  if (!has(name)) {
    throw JobError(fmt::format("the {} is missing (usage: {})", name, usage_));
  }
  return get<std::string>(name);
}

Job OptionSet::job() const {
  return load_job(required("job"),
                  has("set") ? get<std::vector<std::string>>("set") : std::vector<std::string>{});
}

void add_job_options(OptionSet& options) {
  options.add_argument("job");
  options.visible.add_options()("set", po::value<std::vector<std::string>>()->composing(),
                                "KEY=VALUE: a key of the job, as --set batch.shards=8");
}

void add_log_options(OptionSet& options) {
  options.visible.add_options()("quiet,q", "print errors alone")(
      "log-level", po::value<std::string>(), "debug, info (default), warning, error or off");
}

std::vector<std::string> words_passed_on(const OptionSet& options) {
  std::vector<std::string> words;
  if (options.has("set")) {
    for (const auto& setting : options.get<std::vector<std::string>>("set")) {
      words.insert(words.end(), {"--set", setting});
    }
  }
  if (options.has("quiet")) {
    words.emplace_back("--quiet");
  }
  if (options.has("log-level")) {
    words.insert(words.end(), {"--log-level", options.get<std::string>("log-level")});
  }
  return words;
}

}  // namespace gentrain::jobs
