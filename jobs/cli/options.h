// Options of verbs, by Boost.Program_options: the parts that several verbs share.
#pragma once

#include <string>
#include <vector>

#include <boost/program_options.hpp>

#include "jobs/cli/job.h"
#include "jobs/cli/verbs.h"

namespace gentrain::jobs {

/// The options of one verb. Errors are JobError with the usage line.
class OptionSet {
 public:
  OptionSet(std::string usage, std::string summary);

  boost::program_options::options_description visible{"options"};

  /// The next argument without a name, as a string.
  void add_argument(const std::string& name);
  /// All arguments that are left, as strings: the last one added.
  void add_arguments(const std::string& name);

  /// Reads the arguments; false if --help was asked for and printed.
  bool parse(const Arguments& arguments);
  [[nodiscard]] bool has(const std::string& name) const { return values_.count(name) > 0; }
  template <class T>
  [[nodiscard]] const T& get(const std::string& name) const {
    return values_[name].as<T>();
  }
  /// An argument or option that must be given. Throws JobError naming it, with the usage.
  [[nodiscard]] std::string required(const std::string& name) const;
  /// "info" unless --log-level or --quiet say otherwise.
  [[nodiscard]] std::string log_level() const;
  /// The job that the arguments name, with --set applied.
  [[nodiscard]] Job job() const;

 private:
  std::string usage_;
  std::string summary_;
  boost::program_options::options_description hidden_;
  boost::program_options::positional_options_description positional_;
  boost::program_options::variables_map values_;
};

/// JOB and --set KEY=VALUE.
void add_job_options(OptionSet& options);
/// --quiet, --log-level.
void add_log_options(OptionSet& options);
/// The options of the last two that were given, as words for another gentrain.
std::vector<std::string> words_passed_on(const OptionSet& options);

}  // namespace gentrain::jobs
