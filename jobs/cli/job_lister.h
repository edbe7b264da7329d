// The visitor that lists the keys of a job with their values: what dumping, the identity and the
// reference are made of.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "jobs/cli/describe.h"
#include "jobs/cli/schema.h"

namespace gentrain::jobs {

using Path = std::vector<std::string>;

/// One key with its value and what the reference says about it.
struct Entry {
  Path path;
  std::string value;               // as YAML
  std::vector<std::string> items;  // of a list that takes a line per item
  std::string default_text;        // how the default is computed, mostly empty
  std::string type;
  std::string range;
  std::string doc;
  bool required = false;
};

/// A text as YAML: in quotes unless it cannot be taken for anything else.
std::string quote(std::string_view text);
/// n or [h, w].
std::string pair_text(std::int64_t h, std::int64_t w);
/// Factors as YAML: "0" for none, else "[low, high]".
std::string factors_text(double low, double high);
/// An interval as YAML: "5", "1 epoch", "30 s", "end".
std::string interval_text(const trainers::CheckpointOptions::Interval& interval);
/// Layers of a dream as YAML: "{mixed4: 2, mixed5: {coefficient: 1, channels: [3]}}".
std::string dream_layers_text(const std::vector<trainers::DreamLayer>& layers);
/// A layer as YAML: "tanh", "{conv: {out: 6, ...}}".
std::string layer_text(trainers::LayerSpec layer);

/// The visitor that lists keys.
class Lister {
 public:
  enum class Mode : unsigned char {
    kFile,       // as a file has them: a lone stage `train` at the top level
    kNamed,      // every stage under stages.NAME
    kReference,  // all that a file could have
  };

  explicit Lister(Mode mode) : mode_(mode) {}
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

  template <class T>
  void field(std::string_view name, T& value, const Range& range, std::string_view doc,
             std::string_view default_text = {}) {
    Entry& entry = add(name, doc, default_text);
    entry.range = range.text();
    if constexpr (std::is_same_v<T, double>) {
      entry.type = "number";
      entry.value = fmt::format("{}", value);
      entry.required = !range.contains(value);
    } else if constexpr (std::is_integral_v<T>) {
      entry.type = "integer";
      entry.value = fmt::format("{}", value);
      entry.required = !range.contains(static_cast<double>(value));
    } else {
      entry.type = "integer or none";
      entry.value = value ? fmt::format("{}", *value) : "none";
    }
  }
  template <class T>
  void field(std::string_view name, T& value, std::string_view doc,
             std::string_view default_text = {}) {
    Entry& entry = add(name, doc, default_text);
    if constexpr (std::is_enum_v<T>) {
      entry.type = fmt::format("{}", fmt::join(choice_names<T>(), ", "));
      entry.value = choice_name(value);
    } else if constexpr (std::is_same_v<T, bool>) {
      entry.type = "true, false";
      entry.value = value ? "true" : "false";
    } else {
      entry.type = "text";
      entry.value = quote(value);
    }
  }
  void one_of(std::string_view name, std::string& value, std::span<const std::string_view> allowed,
              std::string_view doc) {
    if (value.empty() && mode_ != Mode::kReference) {
      return;  // the alternative is set
    }
    Entry& entry = add(name, doc);
    entry.type = fmt::format("{}", fmt::join(allowed, ", "));
    entry.value = value;
  }
  template <class S>
  void group(std::string_view name, S& value) {
    path_.emplace_back(name);
    describe(*this, value);
    path_.pop_back();
  }
  template <class S>
  void group(std::string_view name, std::optional<S>& value, std::string_view doc,
             const S& base = S{}) {
    if (!value) {
      Entry& entry = add(name, doc);
      entry.type = "none or a map";
      entry.value = "none";
    }
    S shown = value.value_or(base);
    if (value || mode_ == Mode::kReference) {
      group(name, shown);
    }
  }
  void extent(std::string_view name, std::int64_t& h, std::int64_t& w, std::string_view doc,
              std::string_view default_text = {}) {
    Entry& entry = add(name, doc, default_text);
    entry.type = "integer or [h, w]";
    entry.range = between(1, kMostPixels).text();
    entry.value = h < 1 ? "none" : pair_text(h, w);
    entry.required = h < 1 && default_text.empty();
  }
  void interval(std::string_view name, trainers::CheckpointOptions::Interval& value,
                std::string_view doc) {
    Entry& entry = add(name, doc);
    entry.type = "steps, `N epochs`, `N s`, end or never";
    entry.value = interval_text(value);
  }
  void factors(std::string_view name, double& low, double& high, const Range& range,
               std::string_view doc) {
    Entry& entry = add(name, doc);
    entry.type = "number or [low, high]";
    entry.range = below_one().text() + ", or both " + range.text();
    entry.value = factors_text(low, high);
  }
  void padding(std::string_view name, trainers::LayerSpec& layer, std::string_view doc) {
    Entry& entry = add(name, doc);
    entry.type = "integer, [h, w] or same";
    entry.range = between(0, kMostPixels).text();
    entry.value = layer.same ? "same" : pair_text(layer.pad_h, layer.pad_w);
  }
  void pattern(std::string_view name, trainers::Pattern& value, std::string_view doc) {
    field(name, value.text, doc);
  }
  void patterns(std::string_view name, std::vector<trainers::Pattern>& value,
                std::string_view doc) {
    std::vector<std::string> plain;
    plain.reserve(value.size());
    for (const trainers::Pattern& pattern : value) {
      plain.push_back(pattern.text);
    }
    texts(name, plain, doc);
  }
  void classes(std::string_view name, std::vector<trainers::ClassPattern>& value,
               std::string_view doc) {
    std::vector<std::string> pairs;
    pairs.reserve(value.size());
    for (const trainers::ClassPattern& one : value) {
      pairs.push_back(fmt::format("{}: {}", quote(one.name), quote(one.pattern.text)));
    }
    Entry& entry = add(name, doc);
    entry.type = "none or a map of patterns";
    entry.value = pairs.empty() ? "none" : fmt::format("{{{}}}", fmt::join(pairs, ", "));
  }
  void texts(std::string_view name, std::vector<std::string>& value, std::string_view doc) {
    std::vector<std::string> quoted;
    quoted.reserve(value.size());
    for (const std::string& text : value) {
      quoted.push_back(quote(text));
    }
    Entry& entry = add(name, doc);
    entry.type = "list of texts";
    entry.value = fmt::format("[{}]", fmt::join(quoted, ", "));
  }
  void texts_or_one(std::string_view name, std::vector<std::string>& value, std::string_view doc) {
    texts(name, value, doc);
    entries_.back().type = "text or list of texts";
  }
  void dream_layers(std::string_view name, std::vector<trainers::DreamLayer>& value,
                    std::string_view doc) {
    Entry& entry = add(name, doc);
    entry.type = "map of layers";
    entry.value = dream_layers_text(value);
  }
  void numbers(std::string_view name, std::vector<double>& value, const Range& range,
               std::string_view doc) {
    Entry& entry = add(name, doc);
    entry.type = "list of numbers";
    entry.range = range.text();
    entry.value = fmt::format("[{}]", fmt::join(value, ", "));
  }
  void layers(std::string_view name, std::vector<trainers::LayerSpec>& value,
              std::string_view doc) {
    if (value.empty() && mode_ != Mode::kReference) {
      return;
    }
    Entry& entry = add(name, doc);
    entry.type = "list of layers";
    for (const trainers::LayerSpec& layer : value) {
      entry.items.push_back(layer_text(layer));
    }
  }
  void stages(std::vector<trainers::StageOptions>& value) {
    if (mode_ == Mode::kReference) {
      trainers::StageOptions stage;
      describe(*this, stage);
      Entry& entry =
          add("stages",
              "Stages in order, each with its own `stop`, `optimizer`, `schedule`, "
              "`clip_norm`, `trainable` and `freeze` in place of those above. Without it these are "
              "one stage named `train`");
      entry.type = "map of stages";
      return;
    }
    const bool alone = value.size() == 1 && value[0].name == trainers::StageOptions{}.name;
    if (alone && mode_ == Mode::kFile) {
      describe(*this, value[0]);
      return;
    }
    path_.emplace_back("stages");
    for (trainers::StageOptions& stage : value) {
      group(stage.name, stage);
    }
    path_.pop_back();
  }

 private:
  Entry& add(std::string_view name, std::string_view doc, std::string_view default_text = {}) {
    Entry& entry = entries_.emplace_back();
    entry.path = path_;
    entry.path.emplace_back(name);
    entry.doc = doc;
    entry.default_text = default_text;
    return entry;
  }

  Mode mode_;
  Path path_;
  std::vector<Entry> entries_;
};

}  // namespace gentrain::jobs
