// gentrain verify FILE: whether a model file is whole.
#include <iostream>

#include <fmt/format.h>

#include "core/io/array_file.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"

namespace gentrain::jobs {

int verify_verb(Session& session, const Arguments& arguments) {
  OptionSet options("gentrain verify FILE",
                    "Says whether a model file is whole, or what is wrong and where.");
  options.add_argument("file");
  if (!options.parse(arguments)) {
    return kSuccess;
  }
  const std::string file = options.required("file");
  if (session.communicator.rank() != 0) {
    return kSuccess;
  }
  const std::vector<std::string> findings = io::verify_array_file(file);
  for (const std::string& finding : findings) {
    std::cout << finding << "\n";
  }
  if (findings.empty()) {
    const io::ArrayFile content = io::parse_array_file(file, io::read_file(file));
    std::cout << fmt::format("{}: whole, {} arrays\n", file, content.arrays.size());
  }
  return findings.empty() ? kSuccess : kBadFile;
}

}  // namespace gentrain::jobs
