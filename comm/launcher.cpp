// Who started this process: read from the environment, before MPI is initialised.
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "comm/communicator.h"
#include "comm/leftovers.h"
#include "kernels/error.h"

namespace gentrain::comm {

namespace {

/// The value of an environment variable if it is a whole number.
std::optional<std::int64_t> number(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  const std::string_view text(value);
  std::int64_t result = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return result;
}

/// Slurm numbers its special steps (batch script, interactive shell, extern) from here on.
constexpr std::int64_t kSpecialSteps = 0xffffff00;

/// Whether srun started this process as a task of a step of its own.
bool is_srun_task() {
  const auto step =
      number("SLURM_STEP_ID").has_value() ? number("SLURM_STEP_ID") : number("SLURM_STEPID");
  return step.has_value() && *step >= 0 && *step < kSpecialSteps &&
         number("SLURM_PROCID").has_value();
}

/// Tasks of the step, 0 if Slurm does not say.
int srun_tasks() {
  for (const char* name : {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}) {
    if (const auto tasks = number(name)) {
      return static_cast<int>(*tasks);
    }
  }
  return 0;
}

}  // namespace

Launcher detect_launcher() {
  if (const auto size = number("OMPI_COMM_WORLD_SIZE")) {
    return {true, static_cast<int>(*size), "mpirun"};
  }
  if (number("PMIX_RANK") || number("PMI_RANK")) {
    if (is_srun_task()) {
      return {true, srun_tasks(), "srun"};
    }
    return {true, static_cast<int>(number("PMI_SIZE").value_or(0)), "mpirun"};
  }
  if (is_srun_task() && srun_tasks() > 1) {
    return {false, srun_tasks(), "srun"};
  }
  return {};
}

int launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const auto rank = number(name)) {
      return static_cast<int>(*rank);
    }
  }
  return is_srun_task() ? static_cast<int>(*number("SLURM_PROCID")) : 0;
}

namespace {

/// When the program ends: what processes left that were still ending when it began.
struct LastSweep {
  LastSweep() = default;
  ~LastSweep() { remove_leftovers(); }
  LastSweep(const LastSweep&) = delete;
  LastSweep& operator=(const LastSweep&) = delete;
};

}  // namespace

std::unique_ptr<Communicator> make_communicator() {
  remove_leftovers();  // of ranks that were killed
  static const LastSweep last;
  const Launcher launcher = detect_launcher();
  if (!launcher.present) {
    if (launcher.promised_size > 1) {
      throw CommError(
          fmt::format("srun started {0} processes without PMI, so that they cannot find each other "
                      "and would be {0} runs of one process: use `srun --mpi=pmix ...`",
                      launcher.promised_size));
    }
    return make_single();
  }
  std::unique_ptr<Communicator> communicator = make_mpi();
  if (launcher.promised_size > 0 && communicator->size() != launcher.promised_size) {
    throw CommError(fmt::format(
        "{} promised {} ranks but MPI found {}: {}", launcher.name, launcher.promised_size,
        communicator->size(),
        launcher.name == "srun" ? "use `srun --mpi=pmix ...`"
                                : "use the mpirun of the OpenMPI that gentrain was built with"));
  }
  return communicator;
}

}  // namespace gentrain::comm
