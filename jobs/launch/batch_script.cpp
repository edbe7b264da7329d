// Lines of the built-in script, replaced and added.
#include "jobs/launch/batch_script.h"

#include <algorithm>

#include <fmt/format.h>

namespace gentrain::jobs {
namespace {

constexpr std::string_view kDirective = "#SBATCH --";

std::string directive(const SbatchOption& option) {
  const std::string value = option.second ? "=" + shell_quoted(*option.second) : "";
  return fmt::format("{}{}{}\n", kDirective, option.first, value);
}

/// The name of a line's option: "nodes" of "#SBATCH --nodes=1"; empty for another line.
std::string_view option_of(std::string_view line) {
  if (!line.starts_with(kDirective)) {
    return {};
  }
  line.remove_prefix(kDirective.size());
  return line.substr(0, line.find_first_of("= \n"));
}

/// What follows the options of sbatch: environment, program, the arguments that sbatch would give.
std::string beginning(const BatchOptions& options) {
  std::string text;
  for (const std::string& variable : options.variables) {
    const std::size_t name_end = variable.find('=');
    text += fmt::format("export {}={}\n", variable.substr(0, name_end),
                        shell_quoted(std::string_view(variable).substr(name_end + 1)));
  }
  text += fmt::format("GENTRAIN={}\nset --", shell_quoted(options.program));
  for (const std::string& argument : options.arguments) {
    text += " " + shell_quoted(argument);
  }
  return text + "\n";
}

}  // namespace

std::string shell_quoted(std::string_view word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(word);
  }
  std::string text = "'";
  for (const char letter : word) {
    text += letter == '\'' ? "'\\''" : std::string(1, letter);
  }
  return text + "'";
}

std::string batch_script(const BatchOptions& options) {
  std::string text;
  const std::string_view lines = batch_template();
  bool open = true;  // the options of sbatch are not over
  for (std::size_t begin = 0; begin < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size() - 1) + 1;
    const std::string_view line = lines.substr(begin, end - begin);
    const std::string_view name = option_of(line);
    if (open && name.empty() && begin > 0) {
      for (const auto& option : options.sbatch) {
        text += directive(option);
      }
      text += beginning(options);
      open = false;
    }
    const bool replaced = std::any_of(options.sbatch.begin(), options.sbatch.end(),
                                      [&](const auto& option) { return option.first == name; });
    if (!replaced) {
      text += line;
    }
    begin = end;
  }
  return text;
}

}  // namespace gentrain::jobs
