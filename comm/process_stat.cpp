// Fields behind the name, which may hold spaces and brackets itself.
#include "comm/process_stat.h"

#include <fstream>
#include <iterator>
#include <sstream>

namespace gentrain::comm {

namespace {

/// What stands behind the name; empty if nothing does.
std::string_view behind_name(std::string_view stat) {
  const std::size_t name_end = stat.rfind(')');
  return name_end == std::string_view::npos || name_end + 2 > stat.size()
             ? std::string_view()
             : stat.substr(name_end + 2);
}

}  // namespace

char state_in(std::string_view stat) {
  const std::string_view fields = behind_name(stat);
  return fields.empty() ? '\0' : fields.front();
}

std::optional<ProcessStat> read_process_stat(const std::string& process) {
  std::ifstream file("/proc/" + process + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::istringstream fields{std::string(behind_name(text))};
  ProcessStat stat;
  std::string skipped;
  fields >> stat.state >> stat.parent;
  for (int field = 5; field < 9; ++field) {
    fields >> skipped;
  }
  fields >> stat.flags;
  for (int field = 10; field < 22; ++field) {
    fields >> skipped;
  }
  return fields >> stat.start ? std::optional(stat) : std::nullopt;
}

}  // namespace gentrain::comm
