// Reading YAML: yaml-cpp parses, what it lets pass is checked here while its tree is copied into
// ours.
#include "jobs/cli/yaml.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "kernels/error.h"

namespace gentrain::jobs {
namespace {

constexpr int kMaxDepth = 16;
constexpr int kMaxNodes = 100000;

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_name(std::string_view name) {
  return !name.empty() && is_name_start(name.front()) && std::ranges::all_of(name, [](char c) {
    return is_name_start(c) || (c >= '0' && c <= '9');
  });
}

std::string join(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

/// Copies yaml-cpp's tree into ours.
class Copier {
 public:
  Copier(std::string source, bool in_file, Issues& issues)
      : source_(std::move(source)), in_file_(in_file), issues_(issues) {}

  [[nodiscard]] Position position(const YAML::Mark& mark) const {
    if (!in_file_ || mark.is_null()) {
      return {source_, 0, 0};
    }
    return {source_, mark.line + 1, mark.column + 1};
  }

  YamlNode copy(const YAML::Node& from, const std::string& path, int depth) {
    YamlNode node;
    node.position = position(from.Mark());
    if (depth > kMaxDepth || ++nodes_ > kMaxNodes) {
      if (!too_deep_) {
        issues_.add(node.position, path, "the job is nested too deeply or refers to itself");
      }
      too_deep_ = true;
      node.kind = YamlNode::Kind::kBad;
      return node;
    }
    if (from.IsScalar()) {
      copy_scalar(from, path, node);
    } else if (from.IsSequence()) {
      node.kind = YamlNode::Kind::kList;
      for (const YAML::Node& item : from) {
        node.items.push_back(
            copy(item, join(path, std::to_string(node.items.size() + 1)), depth + 1));
      }
    } else if (from.IsMap()) {
      copy_map(from, path, depth, node);
    }
    return node;
  }

  [[nodiscard]] bool too_deep() const { return too_deep_; }

 private:
  void copy_map(const YAML::Node& from, const std::string& path, int depth, YamlNode& node) {
    node.kind = YamlNode::Kind::kMap;
    for (const auto& pair : from) {
      const Position at = position(pair.first.Mark());
      if (!pair.first.IsScalar()) {
        issues_.add(at, path, "a key must be a name");
        continue;
      }
      const std::string key = pair.first.Scalar();
      if (const YamlEntry* first = node.find(key)) {
        const std::string where = first->position.line > 0
                                      ? fmt::format(" (first in line {})", first->position.line)
                                      : "";
        issues_.add(at, join(path, key), fmt::format("duplicate key '{}'{}", key, where));
        continue;
      }
      YamlNode value = copy(pair.second, join(path, key), depth + 1);
      if (value.kind == YamlNode::Kind::kNothing) {
        value.position = at;
      }
      node.entries.push_back({key, at, std::move(value)});
    }
  }

  void copy_scalar(const YAML::Node& from, const std::string& path, YamlNode& node) {
    node.kind = YamlNode::Kind::kScalar;
    node.quoted = from.Tag() == "!";
    if (from.Tag() != "!" && from.Tag() != "?" && !from.Tag().empty()) {
      fail(node, path, fmt::format("the tag {} is not known", from.Tag()));
      return;
    }
    expand(from.Scalar(), path, node);
  }

  /// Replaces ${VAR} and ${VAR:-default}; $${ stands for ${. A value with a replacement counts as
  /// written without quotes, so that "${EPOCHS:-20}" can be a number.
  void expand(const std::string& text, const std::string& path, YamlNode& node) {
    std::size_t from = 0;
    while (true) {
      const std::size_t start = text.find("${", from);
      if (start == std::string::npos) {
        break;
      }
      if (start > from && text[start - 1] == '$') {
        node.text += text.substr(from, start - 1 - from) + "${";
        from = start + 2;
        continue;
      }
      const std::size_t end = text.find('}', start);
      if (end == std::string::npos) {
        fail(node, path, fmt::format("'{}' has a ${{ without its }}", text));
        return;
      }
      node.text += text.substr(from, start - from);
      if (!append_variable(text.substr(start + 2, end - start - 2), path, node)) {
        return;
      }
      node.quoted = false;
      from = end + 1;
    }
    node.text += text.substr(from);
  }

  bool append_variable(const std::string& inside, const std::string& path, YamlNode& node) {
    const std::size_t dash = inside.find(":-");
    const std::string name = inside.substr(0, dash);
    if (!is_name(name)) {
      fail(node, path, fmt::format("${{{}}} does not name an environment variable", inside));
      return false;
    }
    const char* value = std::getenv(name.c_str());
    const bool has_default = dash != std::string::npos;
    if (value != nullptr && (*value != '\0' || !has_default)) {
      node.text += value;
    } else if (has_default) {
      node.text += inside.substr(dash + 2);
    } else {
      fail(node, path,
           fmt::format("the environment variable {} is not set; set it, or write ${{{}:-default}}",
                       name, name));
      return false;
    }
    return true;
  }

  void fail(YamlNode& node, const std::string& path, const std::string& message) {
    issues_.add(node.position, path, join_message(path, message));
    node.kind = YamlNode::Kind::kBad;
  }

  static std::string join_message(const std::string& path, const std::string& message) {
    return path.empty() ? message : fmt::format("{}: {}", path, message);
  }

  std::string source_;
  bool in_file_;
  Issues& issues_;
  int nodes_ = 0;
  bool too_deep_ = false;
};

/// Reports every line whose leading white space has a tab; spaces take their place, so that the
/// rest can be read.
std::string replace_tabs(std::string_view original, const std::string& source, Issues& issues) {
  std::string text(original);
  int line = 1;
  for (std::size_t start = 0; start < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const auto content = std::string_view(text).substr(start, end - start);
    const std::size_t space = std::min(content.find_first_not_of(" \t\r"), content.size());
    const std::size_t tab = content.substr(0, space).find('\t');
    if (tab != std::string_view::npos && space < content.size()) {
      issues.add({source, line, static_cast<int>(tab) + 1}, "",
                 "tab in leading white space (indent with spaces)");
      const auto first = text.begin() + static_cast<std::ptrdiff_t>(start);
      std::replace(first, first + static_cast<std::ptrdiff_t>(space), '\t', ' ');
    }
    start = end + 1;
  }
  return text;
}

YamlNode parse(std::string_view text, const std::string& path, Copier& copier, Issues& issues) {
  YamlNode bad;
  bad.kind = YamlNode::Kind::kBad;
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) {
      issues.add(
          copier.position(documents[1].Mark()), path,
          fmt::format("holds {} YAML documents, but one job is one document", documents.size()));
      return bad;
    }
    YamlNode root = documents.empty() ? YamlNode{} : copier.copy(documents[0], path, 0);
    return copier.too_deep() ? bad : root;
  } catch (const YAML::Exception& error) {
    issues.add(copier.position(error.mark), path, fmt::format("YAML syntax: {}", error.msg));
    return bad;
  }
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

void set_value(YamlNode& map, const std::string& key, YamlNode value, const Position& position) {
  if (YamlEntry* entry = map.find(key)) {
    entry->position = position;
    entry->value = std::move(value);
  } else {
    map.entries.push_back({key, position, std::move(value)});
  }
}

/// Steps into `key` of a map for an override; null if it holds something else than a map.
YamlNode* step_into(YamlNode& map, const std::string& key, const Position& position,
                    std::span<const ShortForm> forms) {
  if (map.find(key) == nullptr) {
    map.entries.push_back({key, position, YamlNode{}});
    map.entries.back().value.position = position;
  }
  YamlNode& value = map.find(key)->value;
  if (value.kind == YamlNode::Kind::kNothing) {
    value.kind = YamlNode::Kind::kMap;
  } else if (std::optional<YamlNode> map_of_it = long_form(key, value, forms)) {
    value = *std::move(map_of_it);
  }
  return value.kind == YamlNode::Kind::kMap ? &value : nullptr;
}

}  // namespace

std::string Position::text() const {
  return line > 0 ? fmt::format("{}:{}:{}", source, line, column) : source;
}

void Issues::add(Position position, std::string path, std::string message) {
  issues_.push_back({std::move(position), std::move(path), std::move(message)});
}

bool Issues::clean(std::string_view path) const {
  return std::ranges::none_of(issues_, [path](const Issue& issue) {
    return issue.path == path || (issue.path.size() > path.size() && issue.path.starts_with(path) &&
                                  issue.path[path.size()] == '.');
  });
}

void Issues::throw_if_any() const {
  if (issues_.empty()) {
    return;
  }
  std::vector<Issue> sorted = issues_;
  std::ranges::stable_sort(sorted, {}, [](const Issue& issue) {
    // What has no line comes behind the file's lines.
    return std::pair(issue.position.line > 0 ? issue.position.line : 1 << 30,
                     issue.position.column);
  });
  std::vector<std::string> lines;
  lines.reserve(sorted.size());
  for (const Issue& issue : sorted) {
    lines.push_back(fmt::format("{}: {}", issue.position.text(), issue.message));
  }
  throw JobError(fmt::format("{}", fmt::join(lines, "\n")));
}

const YamlEntry* YamlNode::find(std::string_view key) const {
  const auto found = std::ranges::find(entries, key, &YamlEntry::key);
  return found == entries.end() ? nullptr : &*found;
}

YamlEntry* YamlNode::find(std::string_view key) {
  const auto found = std::ranges::find(entries, key, &YamlEntry::key);
  return found == entries.end() ? nullptr : &*found;
}

std::string describe_value(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kScalar:
      return fmt::format("{}'{}'", node.quoted ? "the text " : "", node.text);
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
    default:
      return "nothing";
  }
}

YamlNode parse_yaml(std::string_view text, const std::string& source, Issues& issues) {
  const std::string indented = replace_tabs(text, source, issues);
  Copier copier(source, true, issues);
  return parse(indented, "", copier, issues);
}

std::optional<YamlNode> long_form(std::string_view name, const YamlNode& value,
                                  std::span<const ShortForm> forms) {
  for (const ShortForm& form : forms) {
    if (form.map == name &&
        value.kind == (form.list ? YamlNode::Kind::kList : YamlNode::Kind::kScalar)) {
      YamlNode map;
      map.kind = YamlNode::Kind::kMap;
      map.position = value.position;
      map.entries.push_back({std::string(form.key), value.position, value});
      return map;
    }
  }
  return std::nullopt;
}

void apply_override(YamlNode& root, std::string_view assignment, std::span<const ShortForm> forms,
                    Issues& issues) {
  const Position position{fmt::format("--set {}", assignment), 0, 0};
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    issues.add(position, "", "needs the form KEY=VALUE, as --set optimizer.lr=0.1");
    return;
  }
  const std::string path(assignment.substr(0, equals));
  Copier copier(position.source, false, issues);
  YamlNode value = parse(assignment.substr(equals + 1), path, copier, issues);
  if (value.kind == YamlNode::Kind::kBad) {
    return;
  }
  value.position = position;
  YamlNode* map = &root;
  std::size_t start = 0;
  for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', start)) {
    map = step_into(*map, path.substr(start, dot - start), position, forms);
    if (map == nullptr) {
      issues.add(position, path,
                 fmt::format("{} has no keys, it can only be set as a whole", path.substr(0, dot)));
      return;
    }
    start = dot + 1;
  }
  set_value(*map, path.substr(start), std::move(value), position);
}

std::string suggest(std::string_view word, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  std::size_t best_distance = word.size();
  for (const std::string_view candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && distance <= std::max<std::size_t>(2, word.size() / 3)) {
      best = candidate;
      best_distance = distance;
    }
  }
  if (best.empty()) {
    return fmt::format(" (known: {})", fmt::join(candidates, ", "));
  }
  return fmt::format(" (did you mean '{}'?)", best);
}

}  // namespace gentrain::jobs
