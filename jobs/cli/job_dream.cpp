// Jobs of the kind deepdream: reading and writing their layers, and what does not fit together.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "jobs/cli/describe.h"
#include "jobs/cli/job_lister.h"
#include "jobs/cli/job_reader.h"

namespace gentrain::jobs {

namespace {

/// The values of a layer that is written as a map.
struct DreamLayerValues {
  trainers::DreamLayer& layer;
  std::vector<double>& channels;
};

template <class V>
void describe(V& v, DreamLayerValues& l) {
  v.field("coefficient", l.layer.coefficient, Range{}, "");
  v.numbers("channels", l.channels, between(0, kMostOutputs), "");
}

bool is_whole(double number) {
  return number == static_cast<double>(static_cast<std::int64_t>(number));
}

}  // namespace

void Reader::texts_or_one(std::string_view name, std::vector<std::string>& value,
                          std::string_view doc) {
  const YamlEntry* entry = map_.find(name);
  if (entry == nullptr || entry->value.kind != YamlNode::Kind::kScalar) {
    texts(name, value, doc);
  } else if (const YamlNode* node = take(name)) {
    read(name, *node, value.emplace_back());
  }
}

void Reader::dream_layers(std::string_view name, std::vector<trainers::DreamLayer>& value,
                          std::string_view /*doc*/) {
  const YamlNode* node = take(name);
  if (node == nullptr) {
    return;
  }
  if (node->kind != YamlNode::Kind::kMap) {
    report_needs(name, *node, "a map of layers, as {block5_conv1: 0.05}");
    return;
  }
  value.clear();
  for (const YamlEntry& entry : node->entries) {
    trainers::DreamLayer& layer = value.emplace_back();
    layer.name = entry.key;
    const std::string path = fmt::format("{}.{}", name, entry.key);
    if (entry.value.kind != YamlNode::Kind::kMap) {
      read(path, entry.value, Range{}, layer.coefficient);
      continue;
    }
    std::vector<double> channels;
    DreamLayerValues values{layer, channels};
    Reader sub(entry.value, full(path), state_);
    describe(sub, values);
    sub.finish();
    if (entry.value.find("coefficient") == nullptr) {
      report(path, entry.value, "needs a coefficient");
    }
    for (const double channel : channels) {
      if (!is_whole(channel)) {
        report(path, entry.value, fmt::format("has the channel {}, no whole number", channel));
      }
      layer.channels.push_back(static_cast<std::int64_t>(channel));
    }
  }
}

std::string dream_layers_text(const std::vector<trainers::DreamLayer>& layers) {
  std::vector<std::string> texts;
  for (const trainers::DreamLayer& layer : layers) {
    texts.push_back(layer.channels.empty()
                        ? fmt::format("{}: {}", quote(layer.name), layer.coefficient)
                        : fmt::format("{}: {{coefficient: {}, channels: [{}]}}", quote(layer.name),
                                      layer.coefficient, fmt::join(layer.channels, ", ")));
  }
  return fmt::format("{{{}}}", fmt::join(texts, ", "));
}

void check_dream(const Job& job, ReadState& state) {
  const trainers::DreamOptions& dream = job.dream;
  const auto complain = [&](const std::string& path, const std::string& message) {
    if (!state.issues.clean(path)) {
      return;
    }
    const auto found = state.positions.find(path);
    state.issues.add(found == state.positions.end() ? Position{job.file, 0, 0} : found->second,
                     path, message);
  };
  if (dream.layers.empty()) {
    complain("layers",
             "layers is empty but a dream needs a layer at least, as {block5_conv1: 0.05}");
  }
  for (const trainers::DreamLayer& layer : dream.layers) {
    const bool twice = std::ranges::any_of(layer.channels, [&](std::int64_t channel) {
      return std::ranges::count(layer.channels, channel) > 1;
    });
    if (twice) {
      complain("layers", fmt::format("layers.{} has a channel twice", layer.name));
    }
  }
  if (dream.octaves > 1 && dream.zoom > 1) {
    complain("zoom",
             fmt::format("zoom is {} but with octaves.count {} there is none: the details of the "
                         "original would no longer lie where they were",
                         dream.zoom, dream.octaves));
  }
  if (!dream.model_file.empty() && dream.preprocess == trainers::DreamPreprocess::kAuto) {
    complain("model.file", "model.file needs model.preprocess: caffe, inception, torch or none");
  }
  if (!dream.model_file.empty() && !job.weights.file.empty()) {
    complain("weights", "weights: model.file has its own weights, so there is no choice of others");
  }
}

}  // namespace gentrain::jobs
