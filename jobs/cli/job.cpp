// Loading a job: text, tree, overrides, struct, checks; every error of all of these in one report.
#include "jobs/cli/job.h"

#include <fstream>
#include <sstream>
#include <system_error>

#include <fmt/format.h>

#include "jobs/cli/describe.h"
#include "jobs/cli/job_reader.h"
#include "jobs/cli/yaml.h"
#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

constexpr std::uintmax_t kMaxBytes = 1 << 20;

std::string read_text(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    throw JobError(fmt::format("{}: there is no such job file", path.string()));
  }
  if (std::filesystem::is_directory(status)) {
    throw JobError(fmt::format("{}: is a folder, not a job file", path.string()));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) {
    throw JobError(fmt::format("{}: the job file cannot be read", path.string()));
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxBytes) {
    throw JobError(
        fmt::format("{}: is larger than {} bytes, so not a job file", path.string(), kMaxBytes));
  }
  return text;
}

/// Whether an override of stages.NAME.* names a stage that the job has; reports it if not.
bool names_a_stage(const YamlNode& root, std::string_view assignment, Issues& issues) {
  constexpr std::string_view kPrefix = "stages.";
  if (!assignment.starts_with(kPrefix)) {
    return true;
  }
  const Position position{fmt::format("--set {}", assignment), 0, 0};
  const std::string_view rest = assignment.substr(kPrefix.size());
  const std::string_view name = rest.substr(0, rest.find_first_of(".="));
  const YamlEntry* stages = root.find("stages");
  if (stages == nullptr) {
    issues.add(position, "", "this job has no stages; set the key without stages.NAME");
    return false;
  }
  if (stages->value.find(name) != nullptr) {
    return true;
  }
  std::vector<std::string_view> known;
  for (const YamlEntry& stage : stages->value.entries) {
    known.push_back(stage.key);
  }
  issues.add(position, "", fmt::format("unknown stage '{}'{}", name, suggest(name, known)));
  return false;
}

}  // namespace

bool operator==(const Job& a, const Job& b) {
  const trainers::TrainOptions& left = a;
  const trainers::TrainOptions& right = b;
  return a.kind == b.kind && a.regression == b.regression && a.dream == b.dream &&
         a.output == b.output && left == right;
}

Job parse_job(std::string_view text, const std::string& source,
              const std::vector<std::string>& overrides) {
  ReadState state;
  YamlNode root = parse_yaml(text, source, state.issues);
  if (root.kind == YamlNode::Kind::kNothing) {
    state.issues.add({source, 0, 0}, "", "the job file is empty");
  } else if (root.kind == YamlNode::Kind::kScalar || root.kind == YamlNode::Kind::kList) {
    state.issues.add(root.position, "",
                     fmt::format("a job is a map of keys, got {}", describe_value(root)));
  }
  if (root.kind != YamlNode::Kind::kMap) {
    state.issues.throw_if_any();
  }
  for (const std::string& assignment : overrides) {
    if (names_a_stage(root, assignment, state.issues)) {
      apply_override(root, assignment, kShortForms, state.issues);
    }
  }
  Job job;
  job.file = source;
  job.name = std::filesystem::path(source).stem().string();
  job.output = fmt::format("runs/{}", job.name);
  Reader reader(root, "", state);
  describe(reader, job);
  const bool trains = job.kind == JobKind::kTrain;
  reader.finish(trains ? "the job" : fmt::format("a job of kind {}", choice_name(job.kind)));
  if (job.kind == JobKind::kDeepDream) {
    check_dream(job, state);
  } else if (job.kind != JobKind::kPrepareFaces) {
    check_job(job, state);
  }
  state.issues.throw_if_any();
  return job;
}

Job load_job(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  return parse_job(read_text(path), path.string(), overrides);
}

}  // namespace gentrain::jobs
