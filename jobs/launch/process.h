// Processes: started in a group of their own, watched by descriptor, found by a variable of their
// environment.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace gentrain::jobs {

/// The words of a text that white space parts.
std::vector<std::string> split_words(const std::string& text);

/// The path of a program: `name` itself if it has a slash, else where the PATH has it.
/// Throws DeviceError if it is not there or not executable.
std::string find_program(const std::string& name);

/// What a new process is started with.
struct Command {
  std::string program;                           // path
  std::vector<std::string> words;                // argv
  std::map<std::string, std::string> variables;  // set on top of this process's environment
  /// Where what it prints goes: to descriptors to be read, nowhere, where that of this process
  /// does.
  enum class Output : std::uint8_t { kCaptured, kLost, kShared };
  Output output = Output::kCaptured;
};

/// A child in a process group of its own, without standard input, which the kernel kills when this
/// process dies. Its destructor kills and reaps what still runs of it.
class Child {
 public:
  /// Starts it. An ignored SIGCHLD gets its default action, as the kernel tells no exit code else.
  /// Throws DeviceError naming program and reason if it cannot be started.
  explicit Child(const Command& command);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Descriptors of what it prints, not blocking; -1 unless it is captured.
  [[nodiscard]] int output() const { return output_; }
  [[nodiscard]] int errors() const { return errors_; }
  /// Whether it has ended; then exit_code() is there. Does not wait.
  bool ended();
  /// Its exit code, 128 + n if signal n killed it, 1 if it is not known.
  [[nodiscard]] int exit_code() const { return *exit_code_; }
  /// The signal that killed it, 0 if none did.
  [[nodiscard]] int killed_by() const { return killed_by_; }
  /// Sends a signal to it alone; nothing once it has ended.
  void signal(int number) const;
  /// Kills its whole group.
  void kill_group() const;

 private:
  pid_t pid_ = -1;
  int output_ = -1;
  int errors_ = -1;
  std::optional<int> exit_code_;
  int killed_by_ = 0;
};

/// Cuts what a descriptor gives into lines.
class LineReader {
 public:
  /// Reads what is there now and appends every whole line, without its end, to `lines`; at the end
  /// of the file what is left too. False from the end of the file on.
  bool read(int descriptor, std::vector<std::string>& lines);

 private:
  std::string rest_;
};

/// Gives lines to a descriptor without ever waiting for who reads there.
class LineWriter {
 public:
  explicit LineWriter(int descriptor) : descriptor_(descriptor) {}

  [[nodiscard]] int descriptor() const { return descriptor_; }
  /// A line to be written, without its end.
  void add(std::string_view line);
  /// Writes what the reader takes now. What cannot be written for another reason is lost.
  void flush();
  /// Forgets what has not been written.
  void drop() { rest_.clear(); }
  /// Whether all has been written.
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  int descriptor_;
  std::string rest_;
};

/// Processes of this user whose environment holds "NAME=VALUE", this one apart.
std::vector<pid_t> processes_with(const std::string& variable);

/// The state letter of proc(5), 'T' for a stopped process; nothing for one that has ended.
std::optional<char> process_state(pid_t pid);

/// Whether a process has children that have not ended.
bool has_children(pid_t pid);

/// Kills all processes with "NAME=VALUE" in their environment, waits up to two seconds for their
/// end, and returns how many there were.
int kill_processes_with(const std::string& variable);

}  // namespace gentrain::jobs
