// The command line: picks the verb, makes the communicator, turns exceptions into exit codes.
#include "jobs/cli/main.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <new>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "comm/process_stat.h"
#include "jobs/cli/exit_codes.h"
#include "jobs/cli/verbs.h"
#include "jobs/cli/yaml.h"
#include "kernels/error.h"
#include "trainers/stop_signal.h"

namespace gentrain::jobs {

int exit_code_of(const std::exception& error) {
  if (dynamic_cast<const JobError*>(&error) != nullptr ||
      dynamic_cast<const ShapeError*>(&error) != nullptr) {
    return kUsage;
  }
  if (dynamic_cast<const IoError*>(&error) != nullptr) {
    return kBadFile;
  }
  if (dynamic_cast<const DeviceError*>(&error) != nullptr ||
      dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return kDeviceGone;
  }
  if (dynamic_cast<const CommError*>(&error) != nullptr) {
    return kRankTrouble;
  }
  return dynamic_cast<const NumericError*>(&error) != nullptr ? kNotFinite : kFailure;
}

namespace {

/// When this process began, by the kernel's account (hundredths of a second).
std::chrono::system_clock::time_point process_start() {
  const auto now = std::chrono::system_clock::now();
  const auto stat = comm::read_process_stat("self");
  std::ifstream uptime("/proc/uptime");
  double up = 0;
  if (!stat || !(uptime >> up)) {
    return now;
  }
  const double age =
      up - static_cast<double>(stat->start) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return now - std::chrono::duration_cast<std::chrono::system_clock::duration>(
                   std::chrono::duration<double>(std::max(age, 0.0)));
}

void print_help() {
  std::cout
      << "gentrain: trains networks on MPI; any number of ranks, threads and crashes gives the "
         "same bytes\n\n"
         "usage: [mpirun -np N] gentrain JOB [options]   trains\n"
         "       gentrain VERB ... [--help]\n\nverbs:\n";
  for (const Verb& verb : verbs()) {
    std::cout << fmt::format("  {:<28} {}\n", verb.usage, verb.summary);
  }
  std::cout << "\nexit codes:\n";
  for (const ExitCodeText& code : kExitCodes) {
    std::cout << fmt::format("  {:>3}  {}\n", code.code, code.meaning);
  }
}

/// Whether the first argument looks like a verb that is none, rather than like a job file.
bool is_unknown_verb(const std::string& word) {
  std::error_code error;
  return !word.starts_with("-") && word.find_first_of("/.") == std::string::npos &&
         !std::filesystem::exists(word, error);
}

/// The verb of that name, null if there is none.
const Verb* find_verb(const std::string& name) {
  const auto& all = verbs();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Verb& verb) { return verb.name == name; });
  return found == all.end() ? nullptr : &*found;
}

int dispatch(Session& session, Arguments arguments) {
  if (const Verb* verb = find_verb(arguments.front())) {
    arguments.erase(arguments.begin());
    return verb->run(session, arguments);
  }
  std::vector<std::string_view> names;
  for (const Verb& verb : verbs()) {
    names.push_back(verb.name);
  }
  if (is_unknown_verb(arguments.front())) {
    const std::string hint = suggest(arguments.front(), names);
    throw JobError(fmt::format(
        "'{}' is neither a verb nor a job file{}{}", arguments.front(), hint,
        hint.starts_with(" (known") ? "" : fmt::format("; verbs: {}", fmt::join(names, ", "))));
  }
  return train_verb(session, arguments);
}

/// The exit code of what needs no ranks, if the arguments ask for that.
std::optional<int> answer(const Arguments& arguments) {
  if (arguments.empty() || arguments.front() == "--help" || arguments.front() == "-h") {
    print_help();
    return arguments.empty() ? kUsage : kSuccess;
  }
  if (arguments.front() == "--version") {
    std::cout << version_text();
    return kSuccess;
  }
  return std::nullopt;
}

/// Throws IoError if something of what was printed got lost.
void flush_output() {
  std::cout.flush();
  if (!std::cout || std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw IoError("what was printed is lost: standard output cannot be written to");
  }
}

std::string message_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return "there is not enough memory; `gentrain check JOB` says what a job takes";
  }
  return error.what();
}

/// One write, so that the lines of several ranks do not mix. What rank 0 fails with too it says and
/// ends the job with, before the others speak.
void print_error(const comm::Communicator* communicator, const std::exception& error) {
  if (communicator != nullptr && communicator->rank() > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  const std::string rank =
      communicator == nullptr || communicator->size() == 1
          ? ""
          : fmt::format("rank {} ({}): ", communicator->rank(), communicator->where());
  const std::string line = fmt::format("gentrain: {}{}\n", rank, message_of(error));
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

int run_main(int argc, const char* const* argv) {
  const Arguments arguments(argv + 1, argv + argc);
  const auto start = process_start();
  std::unique_ptr<comm::Communicator> communicator;
  int code = kFailure;
  try {
    std::optional<int> done = answer(arguments);
    if (!done) {
      const Verb* const verb = find_verb(arguments.front());
      const bool on_ranks = verb == nullptr || verb->on_ranks;
      if (on_ranks) {
        // Before MPI starts, which takes its time. mpirun ends its ranks two seconds after a signal
        // of its own: those are not for them.
        const bool trains = verb == nullptr || verb->run == train_verb;
        trainers::heed_stop_signals(trains && comm::detect_launcher().name != "mpirun");
      }
      communicator = on_ranks ? comm::make_communicator() : comm::make_single();
      Session session{*communicator, start};
      done = dispatch(session, arguments);
    }
    flush_output();
    return *done;
  } catch (const std::exception& error) {
    code = exit_code_of(error);
    print_error(communicator.get(), error);
  }
  if (communicator != nullptr && communicator->size() > 1) {
    communicator->abort(code);
  }
  return code;
}

}  // namespace gentrain::jobs
