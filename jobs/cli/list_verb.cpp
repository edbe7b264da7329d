// gentrain list [WHAT]: the names that jobs and commands know.
#include <functional>
#include <iostream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/job.h"
#include "jobs/cli/options.h"
#include "jobs/cli/schema.h"
#include "jobs/cli/verbs.h"
#include "jobs/cli/yaml.h"
#include "kernels/error.h"
#include "trainers/models/layer_names.h"
#include "trainers/options.h"

namespace gentrain::jobs {

namespace {

struct List {
  std::string_view name;
  std::string_view what;
  std::function<std::string()> text;
};

template <class Names>
std::string lines(const Names& names) {
  return fmt::format("{}\n", fmt::join(names, "\n"));
}

/// Names of an enumeration that jobs know.
template <class Value>
std::string choices() {
  return lines(choice_names<Value>());
}

std::string exit_codes() {
  std::string text;
  for (const ExitCodeText& code : kExitCodes) {
    text += fmt::format("{:>3}  {}\n", code.code, code.meaning);
  }
  return text;
}

const std::vector<List>& lists() {
  static const std::vector<List> all = {
      {"models", "built-in models", [] { return lines(trainers::kModelNames); }},
      {"layers", "layers of model.layers", choices<trainers::LayerKind>},
      {"data", "data sources", choices<trainers::DataOptions::Source>},
      {"optimizers", "optimizers", choices<OptimizerOptions::Name>},
      {"schedules", "learning-rate schedules", choices<ScheduleOptions::Name>},
      {"initializers", "initial weights", choices<Initializer::Kind>},
      {"keys", "every key of a job, as docs/job-reference.md", job_reference},
      {"exit-codes", "exit codes", exit_codes},
  };
  return all;
}

}  // namespace

int list_verb(Session& session, const Arguments& arguments) {
  OptionSet options("gentrain list [WHAT]", "Prints names that jobs and commands know.");
  options.add_argument("what");
  if (!options.parse(arguments) || session.communicator.rank() != 0) {
    return kSuccess;
  }
  if (!options.has("what")) {
    for (const List& list : lists()) {
      std::cout << fmt::format("  {:<14} {}\n", list.name, list.what);
    }
    return kSuccess;
  }
  const auto& what = options.get<std::string>("what");
  std::vector<std::string_view> names;
  for (const List& list : lists()) {
    if (list.name == what) {
      std::cout << list.text();
      return kSuccess;
    }
    names.push_back(list.name);
  }
  throw JobError(fmt::format("list: there is no '{}'{}", what, suggest(what, names)));
}

}  // namespace gentrain::jobs
