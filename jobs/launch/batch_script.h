// The batch script that `gentrain submit` hands to Slurm: deploy/slurm/gentrain.sbatch, filled in.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gentrain::jobs {

using SbatchOption = std::pair<std::string, std::optional<std::string>>;

/// What goes into the script.
struct BatchOptions {
  /// Options of sbatch, name and value: {"nodes", "2"} is --nodes=2, {"hold", {}} is --hold. They
  /// take the place of the script's own of the same name.
  std::vector<SbatchOption> sbatch;
  /// Environment of the ranks, "NAME=VALUE".
  std::vector<std::string> variables;
  std::string program;                 // gentrain, as the nodes see it
  std::vector<std::string> arguments;  // the job and its options
};

/// A word as a shell reads it back.
std::string shell_quoted(std::string_view word);

/// The script, ready for sbatch.
std::string batch_script(const BatchOptions& options);

/// The text of deploy/slurm/gentrain.sbatch, built in.
std::string_view batch_template();

}  // namespace gentrain::jobs
