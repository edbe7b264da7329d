// Reading values: types, ranges, choices, and the forms that YAML offers for one thing.
#include "jobs/cli/job_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "jobs/cli/describe.h"

namespace gentrain::jobs {
namespace {

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string_view without_sign(std::string_view text) {
  return text.starts_with('-') || text.starts_with('+') ? text.substr(1) : text;
}

/// Decimal digits with an optional sign; no leading zeros, which YAML 1.1 takes for octal.
bool is_integer(std::string_view text) {
  const std::string_view digits = without_sign(text);
  return is_digits(digits) && (digits.size() == 1 || digits.front() != '0');
}

/// 1, 0.5, .5, 1e-3.
bool is_number(std::string_view text) {
  std::string_view rest = without_sign(text);
  const std::size_t exponent = rest.find_first_of("eE");
  if (exponent != std::string_view::npos) {
    if (!is_digits(without_sign(rest.substr(exponent + 1)))) {
      return false;
    }
    rest = rest.substr(0, exponent);
  }
  const std::size_t dot = rest.find('.');
  if (dot == std::string_view::npos) {
    return is_digits(rest);
  }
  const std::string_view before = rest.substr(0, dot);
  const std::string_view after = rest.substr(dot + 1);
  return (is_digits(before) && (after.empty() || is_digits(after))) ||
         (before.empty() && is_digits(after));
}

std::string_view without_plus(std::string_view text) {
  return text.starts_with('+') ? text.substr(1) : text;
}

}  // namespace

bool Range::contains(double x) const {
  return (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high);
}

std::string Range::text() const {
  std::string text;
  if (std::isfinite(low)) {
    text = fmt::format("{} {}", low_open ? "above" : "at least", low);
  }
  if (std::isfinite(high)) {
    text +=
        fmt::format("{}{} {}", text.empty() ? "" : " and ", high_open ? "below" : "at most", high);
  }
  return text;
}

const YamlNode* Reader::take(std::string_view name) {
  known_.push_back(name);
  const YamlEntry* entry = map_.find(name);
  if (entry == nullptr) {
    return nullptr;
  }
  state_.positions[full(name)] = entry->position;
  return entry->value.kind == YamlNode::Kind::kBad ? nullptr : &entry->value;
}

std::string Reader::full(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

bool Reader::is_none(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar && !node.quoted && node.text == "none";
}

bool Reader::is_map(std::string_view name, const YamlNode& node, YamlNode& whole) {
  if (node.kind == YamlNode::Kind::kMap) {
    return true;
  }
  if (std::optional<YamlNode> map = long_form(name, node, kShortForms)) {
    whole = *std::move(map);
    return true;
  }
  const auto form = std::ranges::find(kShortForms, name, &ShortForm::map);
  report_needs(
      name, node,
      form == kShortForms.end()
          ? "a map of keys"
          : fmt::format("{} or a map of keys", form->list ? "a list of patterns" : "a name"));
  return false;
}

void Reader::report(std::string_view name, const YamlNode& node, std::string_view message) {
  state_.issues.add(node.position, full(name), fmt::format("{} {}", full(name), message));
}

void Reader::report_needs(std::string_view name, const YamlNode& node, std::string_view needed) {
  if (node.kind != YamlNode::Kind::kBad) {
    report(name, node, fmt::format("needs {}, got {}", needed, describe_value(node)));
  }
}

void Reader::report_missing(std::string_view name) {
  if (map_.find(name) == nullptr) {
    state_.issues.add(map_.position, full(name), fmt::format("{} is missing", full(name)));
  }
}

void Reader::finish(std::string_view whole) {
  for (const YamlEntry& entry : map_.entries) {
    if (std::ranges::find(known_, entry.key) == known_.end()) {
      state_.issues.add(entry.position, full(entry.key),
                        fmt::format("unknown key '{}' in {}{}", entry.key,
                                    path_.empty() ? whole : path_, suggest(entry.key, known_)));
    }
  }
}

template <class T>
bool Reader::read_integer(std::string_view name, const YamlNode& node, const Range& range, T& value,
                          std::string_view needed) {
  if (node.kind != YamlNode::Kind::kScalar || node.quoted || !is_integer(node.text)) {
    report_needs(name, node, needed);
    return false;
  }
  const std::string_view text = without_plus(node.text);
  T number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool below = std::is_unsigned_v<T> && text.starts_with('-');
  if (result.ec == std::errc::result_out_of_range) {
    report(name, node, fmt::format("is {}, which is too large", text));
  } else if (below || !range.contains(static_cast<double>(number))) {
    report(name, node, fmt::format("is {} but must be {}", text, range.text()));
  } else {
    value = number;
    return true;
  }
  return false;
}

void Reader::read(std::string_view name, const YamlNode& node, const Range& range,
                  std::int64_t& value) {
  read_integer(name, node, range, value, "an integer");
}

void Reader::read(std::string_view name, const YamlNode& node, const Range& range,
                  std::uint64_t& value) {
  read_integer(name, node, range, value, "an integer");
}

void Reader::read(std::string_view name, const YamlNode& node, const Range& range,
                  std::optional<std::int64_t>& value) {
  std::int64_t number = 0;
  if (is_none(node)) {
    value.reset();
  } else if (read_integer(name, node, range, number, "an integer or none")) {
    value = number;
  }
}

void Reader::read(std::string_view name, const YamlNode& node, const Range& range, double& value) {
  if (node.kind != YamlNode::Kind::kScalar || node.quoted || !is_number(node.text)) {
    report_needs(name, node, "a finite number");
    return;
  }
  const std::string_view text = without_plus(node.text);
  double number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec == std::errc::result_out_of_range) {
    report(name, node, fmt::format("is {}, which is too large or too small", text));
  } else if (!range.contains(number)) {
    report(name, node, fmt::format("is {} but must be {}", text, range.text()));
  } else {
    value = number;
  }
}

void Reader::read(std::string_view name, const YamlNode& node, bool& value) {
  if (node.kind == YamlNode::Kind::kScalar && !node.quoted &&
      (node.text == "true" || node.text == "false")) {
    value = node.text == "true";
  } else {
    report_needs(name, node, "true or false");
  }
}

void Reader::read(std::string_view name, const YamlNode& node, std::string& value) {
  if (node.kind == YamlNode::Kind::kScalar) {
    value = node.text;
  } else {
    report_needs(name, node, "a text");
  }
}

std::optional<std::size_t> Reader::read_choice(std::string_view name, const YamlNode& node,
                                               const std::vector<std::string_view>& names,
                                               std::string_view note) {
  const std::string list = fmt::format("{}", fmt::join(names, ", "));
  if (node.kind != YamlNode::Kind::kScalar) {
    report_needs(name, node, fmt::format("one of {}", list));
    return std::nullopt;
  }
  const auto found = std::ranges::find(names, node.text);
  if (found == names.end()) {
    const std::string hint = suggest(node.text, names);
    report(name, node,
           fmt::format("is '{}' but must be one of {}{}{}", node.text, list, note,
                       hint.starts_with(" (did") ? hint : ""));
    return std::nullopt;
  }
  return static_cast<std::size_t>(found - names.begin());
}

void Reader::one_of(std::string_view name, std::string& value,
                    std::span<const std::string_view> allowed, std::string_view /*doc*/) {
  const std::vector<std::string_view> names(allowed.begin(), allowed.end());
  if (const YamlNode* node = take(name)) {
    if (const auto index = read_choice(name, *node, names, {})) {
      value = names[*index];
    }
  }
}

void Reader::read_pair(std::string_view name, const YamlNode& node, const Range& range,
                       std::int64_t& h, std::int64_t& w) {
  if (node.kind == YamlNode::Kind::kList && node.items.size() == 2) {
    read(name, node.items[0], range, h);
    read(name, node.items[1], range, w);
  } else if (node.kind == YamlNode::Kind::kScalar) {
    read_integer(name, node, range, h, "an integer or [h, w]");
    w = h;
  } else {
    report_needs(name, node, "an integer or [h, w]");
  }
}

void Reader::extent(std::string_view name, std::int64_t& h, std::int64_t& w,
                    std::string_view /*doc*/, std::string_view default_text) {
  const YamlNode* const node = take(name);
  if (node != nullptr && default_text == "none" && is_none(*node)) {
    h = 0;
    w = 0;
  } else if (node != nullptr) {
    read_pair(name, *node, between(1, kMostPixels), h, w);
  } else if (default_text.empty() && h < 1) {
    report_missing(name);
  }
}

void Reader::interval(std::string_view name, trainers::CheckpointOptions::Interval& value,
                      std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  constexpr std::string_view kNeeded = "a number of steps, `1 epoch`, `30 s`, end or never";
  if (node->kind != YamlNode::Kind::kScalar) {
    report_needs(name, *node, kNeeded);
    return;
  }
  using Unit = trainers::CheckpointOptions::Unit;
  if (node->text == "end" || node->text == "never") {
    value = {node->text == "end" ? Unit::kEnd : Unit::kNever, 1};
    return;
  }
  const std::size_t space = node->text.find(' ');
  YamlNode count = *node;
  count.text = node->text.substr(0, space);
  const std::string unit = space == std::string::npos ? "steps" : node->text.substr(space + 1);
  constexpr auto kUnits =
      std::to_array<std::pair<std::string_view, Unit>>({{"step", Unit::kSteps},
                                                        {"steps", Unit::kSteps},
                                                        {"epoch", Unit::kEpochs},
                                                        {"epochs", Unit::kEpochs},
                                                        {"s", Unit::kSeconds}});
  const auto found =
      std::ranges::find_if(kUnits, [&](const auto& one) { return one.first == unit; });
  if (found == kUnits.end() || !is_integer(count.text)) {
    report_needs(name, *node, kNeeded);
  } else if (read_integer(name, count, between(1, unit == "s" ? kMostSeconds : kMostSteps),
                          value.count, kNeeded)) {
    value.unit = found->second;
  }
}

void Reader::padding(std::string_view name, trainers::LayerSpec& layer, std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  layer.same = node->kind == YamlNode::Kind::kScalar && node->text == "same";
  if (layer.same) {
    return;
  }
  if (node->kind == YamlNode::Kind::kScalar && !is_integer(node->text)) {
    report_needs(name, *node, "an integer, [h, w] or same");
    return;
  }
  read_pair(name, *node, between(0, kMostPixels), layer.pad_h, layer.pad_w);
}

void Reader::pattern(std::string_view name, trainers::Pattern& value, std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node != nullptr) {
    value.where = node->position.text();
    read(name, *node, value.text);
  }
}

void Reader::patterns(std::string_view name, std::vector<trainers::Pattern>& value,
                      std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  if (node->kind != YamlNode::Kind::kList || (node->items.empty() && !value.empty())) {
    report_needs(name, *node, "a list of patterns, as [\"conv1/*\"]");
    return;
  }
  value.clear();
  for (const YamlNode& item : node->items) {
    if (item.kind == YamlNode::Kind::kScalar && !item.text.empty()) {
      value.push_back({item.text, item.position.text()});
    } else if (item.kind != YamlNode::Kind::kBad) {
      report_needs(name, item, "patterns");
    }
  }
}

}  // namespace gentrain::jobs
