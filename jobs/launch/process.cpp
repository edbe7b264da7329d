// fork, exec, wait; /proc.
#include "jobs/launch/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/process_stat.h"
#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

/// Pointers to the texts and a null, as exec takes them.
std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (std::string& text : texts) {
    all.push_back(text.data());
  }
  all.push_back(nullptr);
  return all;
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong == std::errc() && end == name.data() + name.size()) {
      found.push_back(pid);
    }
  }
  return found;
}

std::vector<std::string> environment_with(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!variables.contains(text.substr(0, text.find('=')))) {
      all.push_back(text);
    }
  }
  for (const auto& [name, value] : variables) {
    all.push_back(fmt::format("{}={}", name, value));
  }
  return all;
}

struct Pipe {
  int read = -1;
  int write = -1;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw DeviceError(fmt::format("no pipe to be had: {}", std::strerror(errno)));
  }
  return {ends[0], ends[1]};
}

/// Children of a process that ignores SIGCHLD, as it may have inherited, leave no exit code.
void heed_children() {
  struct sigaction action {};
  sigaction(SIGCHLD, nullptr, &action);
  if (action.sa_handler == SIG_IGN) {
    action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, nullptr);
  }
}

/// The child's way from fork to exec: calls alone that are safe there. Ends with errno if it fails.
[[noreturn]] void become(const char* program, char* const* words, char* const* variables,
                         pid_t parent, const std::array<int, 2>& outputs) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    _exit(1);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, STDIN_FILENO);
  dup2(outputs[0] < 0 ? null : outputs[0], STDOUT_FILENO);
  dup2(outputs[1] < 0 ? null : outputs[1], STDERR_FILENO);
  execve(program, words, variables);
  _exit(127);
}

}  // namespace

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), std::istream_iterator<std::string>()};
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (access(name.c_str(), X_OK) != 0) {
      throw DeviceError(fmt::format("{} cannot be started: {}", name, std::strerror(errno)));
    }
    return name;
  }
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string file = (folder.empty() ? "." : folder) + "/" + name;
    if (access(file.c_str(), X_OK) == 0) {
      return file;
    }
  }
  throw DeviceError(fmt::format("there is no {} on the PATH", name));
}

Child::Child(const Command& command) {
  heed_children();
  std::vector<std::string> words = command.words;
  std::vector<std::string> variables = environment_with(command.variables);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(variables);
  const bool captured = command.output == Command::Output::kCaptured;
  const bool shared = command.output == Command::Output::kShared;
  const Pipe output = captured ? make_pipe() : Pipe{-1, shared ? STDOUT_FILENO : -1};
  const Pipe errors = captured ? make_pipe() : Pipe{-1, shared ? STDERR_FILENO : -1};
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    become(command.program.c_str(), argv.data(), envp.data(), parent, {output.write, errors.write});
  }
  const int reason = errno;
  if (captured) {
    close(output.write);
    close(errors.write);
    output_ = output.read;
    errors_ = errors.read;
    fcntl(output_, F_SETFL, O_NONBLOCK);
    fcntl(errors_, F_SETFL, O_NONBLOCK);
  }
  if (pid_ < 0) {
    throw DeviceError(
        fmt::format("{} cannot be started: {}", command.program, std::strerror(reason)));
  }
  setpgid(pid_, pid_);  // both sides, so that it is so whoever runs first
}

Child::~Child() {
  if (!ended()) {
    kill_group();
    waitpid(pid_, nullptr, 0);
  }
  for (const int descriptor : {output_, errors_}) {
    if (descriptor >= 0) {
      close(descriptor);
    }
  }
}

bool Child::ended() {
  int status = 0;
  const pid_t answer = exit_code_ ? 0 : waitpid(pid_, &status, WNOHANG);
  if (answer == pid_) {
    killed_by_ = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    exit_code_ = killed_by_ != 0 ? 128 + killed_by_ : WEXITSTATUS(status);
  } else if (answer < 0 && errno == ECHILD) {  // somebody else has reaped it
    exit_code_ = 1;
  }
  return exit_code_.has_value();
}

void Child::signal(int number) const {
  if (!exit_code_) {
    kill(pid_, number);
  }
}

void Child::kill_group() const {
  kill(-pid_, SIGKILL);
}

void LineWriter::add(std::string_view line) {
  rest_.append(line).push_back('\n');
}

void LineWriter::flush() {
  std::size_t done = 0;
  pollfd ready{descriptor_, POLLOUT, 0};
  while (done < rest_.size() && poll(&ready, 1, 0) > 0) {
    // So much a pipe takes at once when it takes anything.
    const std::size_t size = std::min<std::size_t>(rest_.size() - done, PIPE_BUF);
    const ssize_t count = write(descriptor_, rest_.data() + done, size);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
      break;
    }
    done = count < 0 ? rest_.size() : done + static_cast<std::size_t>(count);
  }
  rest_.erase(0, done);
}

bool LineReader::read(int descriptor, std::vector<std::string>& lines) {
  std::array<char, 65536> piece{};
  ssize_t count = 0;
  while ((count = ::read(descriptor, piece.data(), piece.size())) > 0) {
    rest_.append(piece.data(), static_cast<std::size_t>(count));
  }
  const bool more = count < 0 && (errno == EAGAIN || errno == EINTR);
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = rest_.find('\n', begin)) != std::string::npos;) {
    lines.push_back(rest_.substr(begin, end - begin));
    begin = end + 1;
  }
  rest_.erase(0, begin);
  if (!more && !rest_.empty()) {
    lines.push_back(std::move(rest_));
    rest_.clear();
  }
  return more;
}

std::vector<pid_t> processes_with(const std::string& variable) {
  std::vector<pid_t> found;
  const std::string wanted = variable + '\0';
  for (const pid_t pid : all_processes()) {
    std::ifstream file(fmt::format("/proc/{}/environ", pid), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    const std::size_t at = text.find(wanted);
    if (pid != getpid() && at != std::string::npos && (at == 0 || text[at - 1] == '\0')) {
      found.push_back(pid);
    }
  }
  return found;
}

bool has_children(pid_t pid) {
  const std::vector<pid_t> all = all_processes();
  return std::any_of(all.begin(), all.end(), [pid](pid_t one) {
    const auto stat = comm::read_process_stat(fmt::format("{}", one));
    return stat && stat->parent == pid && stat->state != 'Z';
  });
}

std::optional<char> process_state(pid_t pid) {
  const auto stat = comm::read_process_stat(std::to_string(pid));
  return stat ? std::optional(stat->state) : std::nullopt;
}

int kill_processes_with(const std::string& variable) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  std::set<pid_t> killed;
  std::vector<pid_t> left = processes_with(variable);
  while (!left.empty() && std::chrono::steady_clock::now() < deadline) {
    for (const pid_t pid : left) {
      kill(pid, SIGKILL);
      killed.insert(pid);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    left = processes_with(variable);
  }
  return static_cast<int>(killed.size());
}

}  // namespace gentrain::jobs
