// gentrain verify FILE: whether a model, checkpoint or pack is whole.
#include <iostream>

#include <fmt/format.h>

#include "core/io/array_file.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/options.h"
#include "jobs/cli/verbs.h"

namespace gentrain::jobs {
namespace {

// What a checkpoint says of itself, as far as it does.
void print_header(const nlohmann::json& header) {
  for (const char* key : {"job", "step", "contract", "data"}) {
    if (!header.is_object() || !header.contains(key)) {
      continue;
    }
    const nlohmann::json& value = header.at(key);
    std::cout << fmt::format("  {:<9} {}\n", key,
                             value.is_string() ? value.get<std::string>() : value.dump());
  }
}

}  // namespace

int verify_verb(Session& session, const Arguments& arguments) {
  OptionSet options(
      "gentrain verify FILE",
      "Says whether a model, checkpoint or pack is whole, or what is wrong and where.");
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
  if (!findings.empty()) {
    return kBadFile;
  }
  const io::Bytes bytes = io::read_file(file);
  const io::ArrayViews content = io::view_array_file(file, bytes);
  std::cout << fmt::format("{}: whole, a {} of {} arrays\n", file, io::name_of(content.kind),
                           content.arrays.size());
  if (content.kind == io::FileKind::kCheckpoint) {
    print_header(content.header);
  }
  return kSuccess;
}

}  // namespace gentrain::jobs
