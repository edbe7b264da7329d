// YAML read strictly: a tree of our own that keeps every position, so that errors can name them,
// with duplicate keys and tabs refused and ${VAR:-default} expanded. yaml-cpp stays behind this
// header.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gentrain::jobs {

/// Where something was written: "file:line:column", or `source` alone if line is 0.
struct Position {
  std::string source;  // a file's name, or "--set a.b=c"
  int line = 0;        // from 1
  int column = 0;      // from 1

  [[nodiscard]] std::string text() const;
};

/// All that is wrong with a job, collected so that it can be reported at once.
class Issues {
 public:
  /// `path` is the key that the issue is about, as "batch.global"; empty for the whole job.
  void add(Position position, std::string path, std::string message);
  [[nodiscard]] bool empty() const { return issues_.empty(); }
  /// Whether there is no issue about `path` or a key below it.
  [[nodiscard]] bool clean(std::string_view path) const;
  /// Throws JobError with one line per issue, in order of the file, if there are any.
  void throw_if_any() const;

 private:
  struct Issue {
    Position position;
    std::string path;
    std::string message;
  };
  std::vector<Issue> issues_;
};

struct YamlEntry;

/// A value. kBad was reported already and is passed over in silence.
struct YamlNode {
  enum class Kind : unsigned char { kNothing, kScalar, kList, kMap, kBad };
  Kind kind = Kind::kNothing;
  std::string text;     // kScalar, ${...} expanded
  bool quoted = false;  // kScalar: written in quotes, so a text and no number
  Position position;
  std::vector<YamlNode> items;     // kList
  std::vector<YamlEntry> entries;  // kMap, in order of the file, no key twice

  [[nodiscard]] const YamlEntry* find(std::string_view key) const;
  [[nodiscard]] YamlEntry* find(std::string_view key);
};

struct YamlEntry {
  std::string key;
  Position position;  // of the key
  YamlNode value;
};

/// What a value is, for messages: "nothing", "a list", "'12'", "the text '12'".
std::string describe_value(const YamlNode& node);

/// Reads a text with one YAML document. Reports tabs in leading white space, syntax errors,
/// duplicate keys and ${VAR} that are not set. `source` names it in positions.
YamlNode parse_yaml(std::string_view text, const std::string& source, Issues& issues);

/// A map that may be written as the value of one of its keys alone: `init: normal`.
struct ShortForm {
  std::string_view map;
  std::string_view key;
  bool list = false;  // the value is a list, else a scalar
};
/// The map that a value stands for whose key is `name`: {name: normal}. None where no short form
/// takes it.
std::optional<YamlNode> long_form(std::string_view name, const YamlNode& value,
                                  std::span<const ShortForm> forms);

/// Applies an override "a.b=value" to a tree: the value is read as YAML, missing maps on the way
/// are made, and short forms on the way become maps. Positions are "--set a.b=value"; an override
/// that is wrong changes nothing.
void apply_override(YamlNode& root, std::string_view assignment, std::span<const ShortForm> forms,
                    Issues& issues);

/// " (did you mean 'batch'?)" for the nearest candidate if one is near, else " (known: a, b, c)".
std::string suggest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace gentrain::jobs
