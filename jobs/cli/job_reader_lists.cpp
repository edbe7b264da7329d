// Reading what a job has several of: layers and stages.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "jobs/cli/describe.h"
#include "jobs/cli/job_reader.h"

namespace gentrain::jobs {
namespace {

bool is_stage_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

/// {key: value} for a value that was written alone.
YamlNode map_of(std::string_view key, const YamlNode& value) {
  YamlNode map;
  map.kind = YamlNode::Kind::kMap;
  map.position = value.position;
  map.entries.push_back({std::string(key), value.position, value});
  return map;
}

}  // namespace

void Reader::layers(std::string_view name, std::vector<trainers::LayerSpec>& value,
                    std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  if (node->kind != YamlNode::Kind::kList || node->items.empty()) {
    report_needs(name, *node, "a list of layers");
    return;
  }
  value.clear();
  for (const YamlNode& item : node->items) {
    trainers::LayerSpec layer;
    layer.where = item.position.text();
    read_layer(fmt::format("{}.{}", full(name), value.size() + 1), item, layer);
    value.push_back(layer);
  }
}

void Reader::read_layer(const std::string& path, const YamlNode& node, trainers::LayerSpec& layer) {
  const auto fail = [&](const std::string& message) {
    state_.issues.add(node.position, path, fmt::format("{} {}", path, message));
  };
  if (node.kind == YamlNode::Kind::kBad) {
    return;
  }
  const bool alone = node.kind == YamlNode::Kind::kScalar;
  if (!alone && (node.kind != YamlNode::Kind::kMap || node.entries.size() != 1)) {
    fail(fmt::format("needs one layer, as tanh or {{conv: {{out: 6, kernel: 5}}}}, got {}",
                     node.kind == YamlNode::Kind::kMap
                         ? fmt::format("a map of {} keys", node.entries.size())
                         : describe_value(node)));
    return;
  }
  const std::string& word = alone ? node.text : node.entries[0].key;
  const auto names = choice_names<trainers::LayerKind>();
  const auto found = std::ranges::find(names, word);
  if (found == names.end()) {
    fail(fmt::format("has the unknown layer '{}'{}", word, suggest(word, names)));
    return;
  }
  layer.kind = kChoices<trainers::LayerKind>[static_cast<std::size_t>(found - names.begin())].value;
  if (alone && has_values(layer.kind)) {
    fail(fmt::format("needs values for {0}, as {{{0}: {{...}}}}", word));
  } else if (!alone && !has_values(layer.kind)) {
    fail(fmt::format("gives values to {0}, which takes none: write {0} alone", word));
  } else if (!alone) {
    read_layer_values(path, node.entries[0], layer);
  }
}

void Reader::read_layer_values(const std::string& path, const YamlEntry& entry,
                               trainers::LayerSpec& layer) {
  const std::string_view main = main_value(layer.kind);
  const bool pool = main == "size";
  const bool main_alone = !main.empty() && (entry.value.kind == YamlNode::Kind::kScalar ||
                                            (pool && entry.value.kind == YamlNode::Kind::kList));
  const YamlNode map = main_alone ? map_of(main, entry.value) : entry.value;
  if (map.kind == YamlNode::Kind::kBad) {
    return;
  }
  const std::string full_path = fmt::format("{}.{}", path, entry.key);
  if (map.kind != YamlNode::Kind::kMap) {
    state_.issues.add(
        map.position, full_path,
        fmt::format("{} needs a map of values, got {}", full_path, describe_value(entry.value)));
    return;
  }
  if (pool) {
    layer.stride_h = layer.stride_w = 0;
  }
  Reader sub(map, full_path, state_);
  describe(sub, layer);
  sub.finish();
  if (pool && layer.stride_h == 0) {
    layer.stride_h = layer.kernel_h;
    layer.stride_w = layer.kernel_w;
  }
}

void Reader::stages(std::vector<trainers::StageOptions>& value) {
  const YamlNode* node = take("stages");
  if (map_.find("stages") == nullptr) {
    value.assign(1, {});
    describe(*this, value[0]);
    return;
  }
  refuse_stage_keys();
  if (node == nullptr) {
    return;
  }
  if (node->kind != YamlNode::Kind::kMap || node->entries.empty()) {
    report_needs("stages", *node, "a map of stages");
    return;
  }
  for (const YamlEntry& entry : node->entries) {
    if (!read_stage(entry, value.emplace_back())) {
      value.pop_back();
    }
  }
}

void Reader::refuse_stage_keys() {
  const YamlNode nothing;
  Reader probe(nothing, "", state_);
  trainers::StageOptions unused;
  describe(probe, unused);
  for (const std::string_view key : probe.known_) {
    known_.push_back(key);
    if (const YamlEntry* entry = map_.find(key)) {
      state_.issues.add(
          entry->position, std::string(key),
          fmt::format("this job has stages, so {0} is set in each, as stages.NAME.{0}", key));
    }
  }
}

bool Reader::read_stage(const YamlEntry& entry, trainers::StageOptions& stage) {
  stage.name = entry.key;
  const std::string path = fmt::format("stages.{}", entry.key);
  state_.positions[path] = entry.position;
  if (!is_stage_name(entry.key)) {
    state_.issues.add(
        entry.position, path,
        fmt::format("a stage's name has letters, digits, _ and - only, got '{}'", entry.key));
  }
  if (entry.value.kind == YamlNode::Kind::kMap) {
    Reader sub(entry.value, path, state_);
    describe(sub, stage);
    sub.finish();
    return true;
  }
  if (entry.value.kind != YamlNode::Kind::kBad) {
    state_.issues.add(
        entry.value.position, path,
        fmt::format("{} needs a map of keys, got {}", path, describe_value(entry.value)));
  }
  return false;
}

void Reader::classes(std::string_view name, std::vector<trainers::ClassPattern>& value,
                     std::string_view doc) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  value.clear();
  if (is_none(*node)) {
    return;
  }
  if (node->kind != YamlNode::Kind::kMap) {
    report_needs(name, *node, "none or a map of patterns, one for each class");
    return;
  }
  Reader patterns(*node, full(name), state_);
  for (const YamlEntry& entry : node->entries) {
    trainers::ClassPattern& one = value.emplace_back();
    one.name = entry.key;
    patterns.pattern(entry.key, one.pattern, doc);
  }
  if (value.size() < 2) {
    report(name, *node,
           value.empty()
               ? "has no classes: two or more are told apart"
               : fmt::format("has the one class '{}': two or more are told apart", value[0].name));
  }
}

void Reader::texts(std::string_view name, std::vector<std::string>& value,
                   std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  if (node->kind != YamlNode::Kind::kList) {
    report_needs(name, *node, "a list of texts");
    return;
  }
  value.clear();
  for (const YamlNode& item : node->items) {
    read(name, item, value.emplace_back());
  }
}

void Reader::numbers(std::string_view name, std::vector<double>& value, const Range& range,
                     std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  if (node->kind != YamlNode::Kind::kList) {
    report_needs(name, *node, "a list of numbers");
    return;
  }
  value.clear();
  for (const YamlNode& item : node->items) {
    read(name, item, range, value.emplace_back());
  }
}

void Reader::factors(std::string_view name, double& low, double& high, const Range& range,
                     std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  if (node->kind == YamlNode::Kind::kScalar) {
    double either_way = 0;
    read(name, *node, below_one(), either_way);
    low = 1 - either_way;
    high = 1 + either_way;
  } else if (node->kind == YamlNode::Kind::kList && node->items.size() == 2) {
    read(name, node->items[0], range, low);
    read(name, node->items[1], range, high);
    if (low > high) {
      report(name, *node, fmt::format("is [{}, {}] but the lower factor comes first", low, high));
    }
  } else {
    report_needs(name, *node, "a number or [low, high]");
  }
}

}  // namespace gentrain::jobs
