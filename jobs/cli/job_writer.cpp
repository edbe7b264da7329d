// A job as YAML, and what makes two jobs the same computation.
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "jobs/cli/job.h"
#include "jobs/cli/job_lister.h"

namespace gentrain::jobs {

std::string quote(std::string_view text) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
           c == '_' || c == '.' || c == '-';
  };
  const bool word = !text.empty() && std::ranges::all_of(text, is_plain) && text.front() != '-' &&
                    text != "null" && text != "Null" && text != "NULL";
  if (word) {
    return std::string(text);
  }
  std::string quoted = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else if (c == '$' && text.substr(i).starts_with("${")) {
      quoted += "$$";  // else it would be taken for a variable
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string pair_text(std::int64_t h, std::int64_t w) {
  return h == w ? fmt::format("{}", h) : fmt::format("[{}, {}]", h, w);
}

std::string factors_text(double low, double high) {
  return low == 1 && high == 1 ? "0" : fmt::format("[{}, {}]", low, high);
}

std::string interval_text(const trainers::CheckpointOptions::Interval& interval) {
  using Unit = trainers::CheckpointOptions::Unit;
  switch (interval.unit) {
    case Unit::kSteps:
      return fmt::format("{}", interval.count);
    case Unit::kEpochs:
      return fmt::format("{} epoch{}", interval.count, interval.count == 1 ? "" : "s");
    case Unit::kSeconds:
      return fmt::format("{} s", interval.count);
    case Unit::kEnd:
      return "end";
    case Unit::kNever:
      break;
  }
  return "never";
}

std::string layer_text(trainers::LayerSpec layer) {
  Lister lister(Lister::Mode::kFile);
  describe(lister, layer);
  if (lister.entries().empty()) {
    return std::string(choice_name(layer.kind));
  }
  std::vector<std::string> values;
  for (const Entry& entry : lister.entries()) {
    values.push_back(fmt::format("{}: {}", entry.path.back(), entry.value));
  }
  return fmt::format("{{{}: {{{}}}}}", choice_name(layer.kind), fmt::join(values, ", "));
}

namespace {

/// Keys that say where a job runs and what it reports, not what it computes.
bool is_placement(const Path& path) {
  constexpr auto kKeys =
      std::to_array<std::string_view>({"output", "device", "threads", "checkpoint", "log"});
  return std::ranges::find(kKeys, path[0]) != kKeys.end() || path == Path{"data", "cache"} ||
         path == Path{"data", "cache_features"} || path == Path{"data", "cache_features_mib"} ||
         path == Path{"content", "cache"};
}

}  // namespace

std::string dump_job(const Job& job) {
  Lister lister(Lister::Mode::kFile);
  Job copy = job;
  describe(lister, copy);
  std::string text;
  Path open;  // the groups that the last line is in
  for (const Entry& entry : lister.entries()) {
    const Path groups(entry.path.begin(), entry.path.end() - 1);
    const auto same =
        static_cast<std::size_t>(std::ranges::mismatch(groups, open).in1 - groups.begin());
    for (std::size_t depth = same; depth < groups.size(); ++depth) {
      text += fmt::format("{:{}}{}:\n", "", 2 * depth, groups[depth]);
    }
    open = groups;
    const std::size_t indent = 2 * groups.size();
    if (entry.items.empty()) {
      text += fmt::format("{:{}}{}: {}\n", "", indent, entry.path.back(), entry.value);
      continue;
    }
    text += fmt::format("{:{}}{}:\n", "", indent, entry.path.back());
    for (const std::string& item : entry.items) {
      text += fmt::format("{:{}}- {}\n", "", indent + 2, item);
    }
  }
  return text;
}

std::string job_identity(const Job& job, bool with_stop) {
  Lister lister(Lister::Mode::kNamed);
  Job copy = job;
  describe(lister, copy);
  std::string text;
  for (const Entry& entry : lister.entries()) {
    const Path& path = entry.path;
    const bool stops = (path.size() == 4 && path[0] == "stages" && path[2] == "stop") ||
                       path == Path{"regression", "max_iterations"};
    if (!is_placement(path) && (with_stop || !stops)) {
      text += fmt::format("{}: {}{}\n", fmt::join(path, "."), entry.value,
                          fmt::join(entry.items, ", "));
    }
  }
  return text;
}

}  // namespace gentrain::jobs
