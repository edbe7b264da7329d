// One command by the remote shell that mpirun uses, on all hosts at once.
#include "jobs/launch/hosts.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include <fmt/format.h>

#include "jobs/launch/batch_script.h"
#include "jobs/launch/process.h"
#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

using Clock = std::chrono::steady_clock;

/// Removes session files and, as comm/leftovers.h does on this host, the shared memory of ranks
/// whose process is gone: /dev/shm/gentrain.USER.PIDNAMESPACE.PID.START.
std::string clean_command(const std::string& folder) {
  return fmt::format(
      "u=/dev/shm/gentrain.`id -u`.`stat -Lc %i /proc/self/ns/pid`; for d in $u.*.*; do "
      "p=${{d#$u.}}; [ ! -d $d ] || [ -d /proc/${{p%.*}} ] || rm -rf $d; done; rm -rf {}",
      shell_quoted(folder));
}

std::unique_ptr<Child> ask(const std::string& remote_shell, const std::string& host,
                           const std::string& command) {
  std::vector<std::string> words = split_words(remote_shell);
  const std::string program = find_program(words.front());
  if (std::filesystem::path(program).filename() == "ssh") {
    words.insert(words.end(), {"-o", "BatchMode=yes", "-o", "ConnectTimeout=5"});
  }
  words.insert(words.end(), {host, command});
  return std::make_unique<Child>(Command{
      .program = program, .words = words, .variables = {}, .output = Command::Output::kLost});
}

}  // namespace

HostPool::HostPool(std::vector<HostSlots> hosts, int ranks, std::string remote_shell)
    : ranks_(ranks), remote_shell_(std::move(remote_shell)) {
  for (HostSlots& host : hosts) {
    hosts_.push_back({.slots = std::move(host)});
  }
}

std::vector<std::string> HostPool::clean_and_probe(const std::string& folder, double seconds) {
  const std::string command = clean_command(folder);
  std::vector<std::unique_ptr<Child>> questions;
  for (const Host& host : hosts_) {
    const bool here = is_this_host(host.slots.name);
    questions.push_back(here ? nullptr : ask(remote_shell_, host.slots.name, command));
  }
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(seconds));
  const auto answered = [](const std::unique_ptr<Child>& question) {
    return question == nullptr || question->ended();
  };
  while (!std::all_of(questions.begin(), questions.end(), answered) && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::vector<std::string> changes;
  for (std::size_t i = 0; i < hosts_.size(); ++i) {
    const bool answers =
        questions[i] == nullptr || (questions[i]->ended() && questions[i]->exit_code() == 0);
    const bool present = answers && !(distrust_ && hosts_[i].suspect);
    if (present != hosts_[i].present) {
      const char* const change = present   ? "answers again and is taken back"
                                 : answers ? "answers, but mpirun cannot use it: it is left out"
                                           : "does not answer and is left out";
      changes.push_back(fmt::format("host {} {}", hosts_[i].slots.name, change));
      hosts_[i].present = present;
    }
  }
  return changes;
}

void HostPool::note_attempt(const std::string& lost, bool began) {
  for (Host& host : hosts_) {
    host.suspect = (host.suspect && !began) || (!lost.empty() && same_host(host.slots.name, lost));
  }
  distrust_ = !began;
}

std::vector<HostSlots> HostPool::present() const {
  std::vector<HostSlots> all;
  for (const Host& host : hosts_) {
    if (host.present) {
      all.push_back(host.slots);
    }
  }
  return all;
}

int HostPool::ranks() const {
  int slots = 0;
  int present = 0;
  for (const Host& host : hosts_) {
    slots += host.slots.slots;
    present += host.present ? host.slots.slots : 0;
  }
  if (present == slots) {
    return ranks_;
  }
  return ranks_ <= slots ? std::min(ranks_, present)
                         : static_cast<int>(std::int64_t{ranks_} * present / slots);
}

}  // namespace gentrain::jobs
