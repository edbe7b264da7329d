// The schema: one description of each struct of a job, which reading, dumping and the reference
// visit.
//
// A visitor V has
//   field(name, value, range, doc, default_text)  numbers and optional integers
//   field(name, value, doc, default_text)         booleans, texts, choices
//   one_of(name, text, allowed, doc)              a text out of a list
//   group(name, struct, doc)                      a nested map; optional: `none` or a map
//   extent(name, h, w, doc, default_text)         n or [h, w], at least 1; 0 is none
//   interval(name, value, doc)                    5, `1 epoch`, `30 s`, end, never
//   factors(name, low, high, range, doc)          x for [1 - x, 1 + x], or [low, high]
//   pattern(name, pattern, doc), classes(name, list, doc)    texts whose places are kept
//   padding(name, layer, doc), patterns(name, list, doc), layers(name, list, doc), stages(list)
//   texts_or_one(name, list, doc), dream_layers(name, list, doc)
// The descriptions themselves are in describe.h.
// A key whose default is out of its range is required; default_text says how a default is computed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/cli/job.h"
#include "jobs/cli/yaml.h"
#include "trainers/models/layer_names.h"

namespace gentrain::jobs {

/// Which numbers are allowed.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;

  [[nodiscard]] bool contains(double x) const;
  /// "at least 1", "above 0 and below 1"; empty for all numbers.
  [[nodiscard]] std::string text() const;
};
constexpr Range at_least(double low) {
  return {.low = low};
}
constexpr Range above(double low) {
  return {.low = low, .low_open = true};
}
constexpr Range between(double low, double high) {
  return {.low = low, .high = high};
}
/// Limits that keep what is computed from a job within 64 bits.
inline constexpr double kMostThreads = 4096;
inline constexpr double kMostImages = 1e7;
inline constexpr double kMostEpochs = 1e6;
inline constexpr double kMostSteps = 1e12;
inline constexpr double kMostSeconds = 1e9;
inline constexpr double kMostOutputs = 1e7;
inline constexpr double kMostSamples = 1e6;
inline constexpr double kMostBlocks = 1000;
inline constexpr double kMostPixels = 1e5;  // windows, strides, borders

inline constexpr double kMostFacePixels = 4096;  // rows and columns of a prepared face
inline constexpr double kMostMargin = 10;

/// 0 <= x < 1
constexpr Range below_one() {
  return {.low = 0, .high = 1, .high_open = true};
}

/// A value of an enum and its name in a job.
template <class E>
struct Choice {
  E value;
  std::string_view name;
};

/// The names of an enum's values, in order.
template <class E>
inline constexpr std::array<Choice<E>, 0> kChoices{};
template <>
inline constexpr auto kChoices<JobKind> =
    std::to_array<Choice<JobKind>>({{JobKind::kTrain, "train"},
                                    {JobKind::kPrepareFaces, "prepare_faces"},
                                    {JobKind::kFeatureRegression, "feature_regression"},
                                    {JobKind::kDeepDream, "deepdream"}});
template <>
inline constexpr auto kChoices<trainers::DeviceChoice> =
    std::to_array<Choice<trainers::DeviceChoice>>({{trainers::DeviceChoice::kAuto, "auto"},
                                                   {trainers::DeviceChoice::kCpu, "cpu"},
                                                   {trainers::DeviceChoice::kCuda, "cuda"}});
template <>
inline constexpr auto kChoices<trainers::IsaChoice> =
    std::to_array<Choice<trainers::IsaChoice>>({{trainers::IsaChoice::kAuto, "auto"},
                                                {trainers::IsaChoice::kV3, "v3"},
                                                {trainers::IsaChoice::kV4, "v4"}});
template <>
inline constexpr auto kChoices<trainers::Precision> = std::to_array<Choice<trainers::Precision>>(
    {{trainers::Precision::kF32, "f32"},
     {trainers::Precision::kBf16, "bf16"},
     {trainers::Precision::kBf16Emulated, "bf16_emulated"},
     {trainers::Precision::kTf32, "tf32"}});
template <>
inline constexpr auto kChoices<comm::ExchangeMode> = std::to_array<Choice<comm::ExchangeMode>>(
    {{comm::ExchangeMode::kCanonical, "canonical"}, {comm::ExchangeMode::kLibrary, "library"}});
template <>
inline constexpr auto kChoices<trainers::Metric> =
    std::to_array<Choice<trainers::Metric>>({{trainers::Metric::kNone, "none"},
                                             {trainers::Metric::kTop1, "top1"},
                                             {trainers::Metric::kLoss, "loss"}});
template <>
inline constexpr auto kChoices<trainers::MetricMode> =
    std::to_array<Choice<trainers::MetricMode>>({{trainers::MetricMode::kAuto, "auto"},
                                                 {trainers::MetricMode::kMin, "min"},
                                                 {trainers::MetricMode::kMax, "max"}});
template <>
inline constexpr auto kChoices<trainers::DataOptions::Source> =
    std::to_array<Choice<trainers::DataOptions::Source>>(
        {{trainers::DataOptions::Source::kAuto, "auto"},
         {trainers::DataOptions::Source::kMnist, "mnist"},
         {trainers::DataOptions::Source::kDigits, "digits"},
         {trainers::DataOptions::Source::kFaces, "faces"},
         {trainers::DataOptions::Source::kLfw, "lfw"},
         {trainers::DataOptions::Source::kHdf5, "hdf5"},
         {trainers::DataOptions::Source::kFolder, "folder"}});
template <>
inline constexpr auto kChoices<trainers::DataOptions::OnBadFile> =
    std::to_array<Choice<trainers::DataOptions::OnBadFile>>(
        {{trainers::DataOptions::OnBadFile::kStop, "stop"},
         {trainers::DataOptions::OnBadFile::kSkip, "skip"}});
template <>
inline constexpr auto kChoices<image::Fit> = std::to_array<Choice<image::Fit>>(
    {{image::Fit::kCrop, "crop"}, {image::Fit::kStretch, "stretch"}});
template <>
inline constexpr auto kChoices<OptimizerOptions::Name> =
    std::to_array<Choice<OptimizerOptions::Name>>({{OptimizerOptions::Name::kSgd, "sgd"},
                                                   {OptimizerOptions::Name::kAdam, "adam"},
                                                   {OptimizerOptions::Name::kAdamW, "adamw"},
                                                   {OptimizerOptions::Name::kRmsprop, "rmsprop"}});
template <>
inline constexpr auto kChoices<ScheduleOptions::Name> =
    std::to_array<Choice<ScheduleOptions::Name>>({{ScheduleOptions::Name::kConstant, "constant"},
                                                  {ScheduleOptions::Name::kInverseTime,
                                                   "inverse_time"},
                                                  {ScheduleOptions::Name::kStep, "step"},
                                                  {ScheduleOptions::Name::kCosine, "cosine"}});
template <>
inline constexpr auto kChoices<Initializer::Kind> =
    std::to_array<Choice<Initializer::Kind>>({{Initializer::Kind::kUniformFanIn, "uniform_fan_in"},
                                              {Initializer::Kind::kXavierUniform, "xavier"},
                                              {Initializer::Kind::kKaimingNormal, "kaiming"},
                                              {Initializer::Kind::kNormal, "normal"}});
template <>
inline constexpr auto kChoices<trainers::SrganOptions::Variant> =
    std::to_array<Choice<trainers::SrganOptions::Variant>>(
        {{trainers::SrganOptions::Variant::kBook, "book"},
         {trainers::SrganOptions::Variant::kPaper, "paper"}});
template <>
inline constexpr auto kChoices<trainers::ContentOptions::Network> =
    std::to_array<Choice<trainers::ContentOptions::Network>>(
        {{trainers::ContentOptions::Network::kVgg19, "vgg19"},
         {trainers::ContentOptions::Network::kVgg16, "vgg16"},
         {trainers::ContentOptions::Network::kPixels, "pixels"}});
template <>
inline constexpr auto kChoices<trainers::ContentOptions::Preprocess> =
    std::to_array<Choice<trainers::ContentOptions::Preprocess>>(
        {{trainers::ContentOptions::Preprocess::kCaffe, "caffe"},
         {trainers::ContentOptions::Preprocess::kNone, "none"}});
template <>
inline constexpr auto kChoices<trainers::ContentOptions::Scale> =
    std::to_array<Choice<trainers::ContentOptions::Scale>>(
        {{trainers::ContentOptions::Scale::kMeanSquare, "mean_square"},
         {trainers::ContentOptions::Scale::kNone, "none"}});
template <>
inline constexpr auto kChoices<trainers::AdversarialOptions::Loss> =
    std::to_array<Choice<trainers::AdversarialOptions::Loss>>(
        {{trainers::AdversarialOptions::Loss::kLeastSquares, "least_squares"},
         {trainers::AdversarialOptions::Loss::kCrossEntropy, "cross_entropy"}});
template <>
inline constexpr auto kChoices<trainers::AdversarialOptions::Updates> =
    std::to_array<Choice<trainers::AdversarialOptions::Updates>>(
        {{trainers::AdversarialOptions::Updates::kTogether, "together"},
         {trainers::AdversarialOptions::Updates::kAlternating, "alternating"}});
template <>
inline constexpr auto kChoices<trainers::LayerKind> = [] {
  std::array<Choice<trainers::LayerKind>, trainers::kLayerNames.size()> choices{};
  for (std::size_t i = 0; i < choices.size(); ++i) {
    choices[i] = {trainers::kLayerNames[i].first, trainers::kLayerNames[i].second};
  }
  return choices;
}();

/// What an error about a value that is not among them adds.
template <class E>
inline constexpr std::string_view kChoiceNote{};

/// The names of an enum's values.
template <class E>
std::vector<std::string_view> choice_names() {
  std::vector<std::string_view> names;
  names.reserve(std::size(kChoices<E>));
  for (const Choice<E>& choice : kChoices<E>) {
    names.push_back(choice.name);
  }
  return names;
}

/// The name of a value.
template <class E>
std::string_view choice_name(E value) {
  for (const Choice<E>& choice : kChoices<E>) {
    if (choice.value == value) {
      return choice.name;
    }
  }
  return "?";
}

/// Groups that may be written as the value of one of their keys alone: `optimizer: adam`.
inline constexpr auto kShortForms = std::to_array<ShortForm>({{"model", "name"},
                                                              {"init", "name"},
                                                              {"init_from", "name"},
                                                              {"optimizer", "name"},
                                                              {"schedule", "name"},
                                                              {"weights", "file"},
                                                              {"freeze", "parameters", true}});

/// The value that a layer may be written with alone, `{linear: 100}`; empty if there is none.
constexpr std::string_view main_value(trainers::LayerKind kind) {
  switch (kind) {
    case trainers::LayerKind::kMaxPool:
    case trainers::LayerKind::kAveragePool:
      return "size";
    case trainers::LayerKind::kLinear:
      return "out";
    case trainers::LayerKind::kDropout:
      return "rate";
    default:
      return "";
  }
}

/// Whether a layer has values at all.
constexpr bool has_values(trainers::LayerKind kind) {
  return kind == trainers::LayerKind::kConv || !main_value(kind).empty();
}

}  // namespace gentrain::jobs
