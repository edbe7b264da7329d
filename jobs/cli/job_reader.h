// The visitor that fills the structs of a job from YAML, strictly: each value with type and range,
// and no key that the description does not have.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "jobs/cli/schema.h"
#include "jobs/cli/yaml.h"

namespace gentrain::jobs {

/// What all readers of one job share.
struct ReadState {
  Issues issues;
  std::map<std::string, Position> positions;  // of every key that was given, by path
};

/// Reads one map. `path` is its own path, "" for the whole job. After describe(reader, struct),
/// finish() reports what is left over.
class Reader {
 public:
  Reader(const YamlNode& map, std::string path, ReadState& state)
      : map_(map), path_(std::move(path)), state_(state) {}

  template <class T>
  void field(std::string_view name, T& value, const Range& range, std::string_view /*doc*/,
             std::string_view default_text = {}) {
    if (const YamlNode* node = take(name)) {
      read(name, *node, range, value);
    } else if constexpr (std::is_arithmetic_v<T>) {
      if (default_text.empty() && !range.contains(static_cast<double>(value))) {
        report_missing(name);
      }
    }
  }
  template <class T>
  void field(std::string_view name, T& value, std::string_view /*doc*/,
             std::string_view /*default_text*/ = {}) {
    const YamlNode* node = take(name);
    if (node == nullptr) {
      return;
    }
    if constexpr (std::is_enum_v<T>) {
      if (const auto index = read_choice(name, *node, choice_names<T>(), kChoiceNote<T>)) {
        value = kChoices<T>[*index].value;
      }
    } else {
      read(name, *node, value);
    }
  }
  void one_of(std::string_view name, std::string& value, std::span<const std::string_view> allowed,
              std::string_view doc);
  template <class S>
  void group(std::string_view name, S& value) {
    const YamlNode* node = take(name);
    YamlNode whole;
    if (node != nullptr && is_map(name, *node, whole)) {
      const YamlNode& map = whole.entries.empty() ? *node : whole;
      Reader sub(map, full(name), state_);
      describe(sub, value);
      sub.finish();
    }
  }
  /// `base`: what keys that are left out stand at.
  template <class S>
  void group(std::string_view name, std::optional<S>& value, std::string_view /*doc*/,
             const S& base = S{}) {
    const YamlEntry* entry = map_.find(name);
    if (entry != nullptr && is_none(entry->value)) {
      take(name);
      value.reset();
    } else if (entry != nullptr) {
      S read_value = base;
      group(name, read_value);
      value = read_value;
    } else {
      take(name);
    }
  }
  void extent(std::string_view name, std::int64_t& h, std::int64_t& w, std::string_view doc,
              std::string_view default_text = {});
  void interval(std::string_view name, trainers::CheckpointOptions::Interval& value,
                std::string_view doc);
  void factors(std::string_view name, double& low, double& high, const Range& range,
               std::string_view doc);
  void padding(std::string_view name, trainers::LayerSpec& layer, std::string_view doc);
  void pattern(std::string_view name, trainers::Pattern& value, std::string_view doc);
  /// An empty list only where the default is one.
  void patterns(std::string_view name, std::vector<trainers::Pattern>& value, std::string_view doc);
  void classes(std::string_view name, std::vector<trainers::ClassPattern>& value,
               std::string_view doc);
  void texts(std::string_view name, std::vector<std::string>& value, std::string_view doc);
  void numbers(std::string_view name, std::vector<double>& value, const Range& range,
               std::string_view doc);
  void layers(std::string_view name, std::vector<trainers::LayerSpec>& value, std::string_view doc);
  /// A text alone is a list of one.
  void texts_or_one(std::string_view name, std::vector<std::string>& value, std::string_view doc);
  void dream_layers(std::string_view name, std::vector<trainers::DreamLayer>& value,
                    std::string_view doc);
  void stages(std::vector<trainers::StageOptions>& value);

  /// Reports the keys that were given but not described. `whole` stands for a map without a path.
  void finish(std::string_view whole = "the job");

 private:
  /// The value of a key, null if it was not given or is reported already.
  const YamlNode* take(std::string_view name);
  [[nodiscard]] std::string full(std::string_view name) const;
  [[nodiscard]] static bool is_none(const YamlNode& node);
  /// Whether a group's value is a map; a short form is turned into one in `whole`.
  bool is_map(std::string_view name, const YamlNode& node, YamlNode& whole);

  void report(std::string_view name, const YamlNode& node, std::string_view message);
  void report_needs(std::string_view name, const YamlNode& node, std::string_view needed);
  void report_missing(std::string_view name);

  // Each leaves the value alone and reports if the node does not fit.
  void read(std::string_view name, const YamlNode& node, const Range& range, std::int64_t& value);
  void read(std::string_view name, const YamlNode& node, const Range& range, std::uint64_t& value);
  void read(std::string_view name, const YamlNode& node, const Range& range, double& value);
  void read(std::string_view name, const YamlNode& node, const Range& range,
            std::optional<std::int64_t>& value);
  void read(std::string_view name, const YamlNode& node, bool& value);
  void read(std::string_view name, const YamlNode& node, std::string& value);
  template <class T>
  bool read_integer(std::string_view name, const YamlNode& node, const Range& range, T& value,
                    std::string_view needed);
  std::optional<std::size_t> read_choice(std::string_view name, const YamlNode& node,
                                         const std::vector<std::string_view>& names,
                                         std::string_view note);
  /// n or [h, w].
  void read_pair(std::string_view name, const YamlNode& node, const Range& range, std::int64_t& h,
                 std::int64_t& w);
  void read_layer(const std::string& path, const YamlNode& node, trainers::LayerSpec& layer);
  void read_layer_values(const std::string& path, const YamlEntry& entry,
                         trainers::LayerSpec& layer);
  bool read_stage(const YamlEntry& entry, trainers::StageOptions& stage);
  /// Reports keys of a stage at the top level of a job that has stages.
  void refuse_stage_keys();

  const YamlNode& map_;
  std::string path_;
  ReadState& state_;
  std::vector<std::string_view> known_;
};

/// Reports what does not fit together although each value is right by itself.
void check_job(const Job& job, ReadState& state);
/// The same of a job of the kind deepdream.
void check_dream(const Job& job, ReadState& state);

}  // namespace gentrain::jobs
