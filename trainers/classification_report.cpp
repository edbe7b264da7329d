// Counting a classifier's answers, and writing them down.
#include "trainers/classification_report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "core/image/png_writer.h"
#include "core/io/atomic_file.h"
#include "kernels/error.h"
#include "trainers/classifier.h"
#include "trainers/json_members.h"
#include "trainers/run_folder.h"
#include "trainers/run_lock.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

/// What is told of each sample: the predicted class, the loss, the number of classes.
constexpr std::size_t kNumbers = 3;

bool is_finite(std::span<const float> logits) {
  return std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); });
}

/// -log softmax(logits)[label], in double precision; infinite if a logit is not finite, and only
/// then.
double loss_of(std::span<const float> logits, std::int32_t label) {
  if (!is_finite(logits)) {
    return std::numeric_limits<double>::infinity();
  }
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - largest);
  }
  return std::log(sum) + largest - static_cast<double>(logits[static_cast<std::size_t>(label)]);
}

/// The class of the largest logit. If one is not finite, the likeliest class other than the label,
/// NaN last; the label only if there is no other.
std::size_t predicted_class(std::span<const float> logits, std::int32_t label) {
  if (is_finite(logits)) {
    return static_cast<std::size_t>(std::ranges::max_element(logits) - logits.begin());
  }
  const auto own = static_cast<std::size_t>(label);
  std::size_t best = own == 0 && logits.size() > 1 ? 1 : 0;
  for (std::size_t i = best + 1; i < logits.size(); ++i) {
    const bool likelier =
        logits[i] > logits[best] || (std::isnan(logits[best]) && !std::isnan(logits[i]));
    best = i != own && likelier ? i : best;
  }
  return best;
}

/// Adds a mistake where it is among the worst; of equal losses the earlier ones stay before it.
void keep_worst(std::vector<Mistake>& worst, const Mistake& mistake) {
  worst.insert(
      std::ranges::upper_bound(worst, mistake.loss, std::ranges::greater(), &Mistake::loss),
      mistake);
  if (worst.size() > kMostMistakes) {
    worst.pop_back();
  }
}

std::optional<double> share(std::int64_t part, std::int64_t all) {
  if (all == 0) {
    return std::nullopt;
  }
  return static_cast<double>(part) / static_cast<double>(all);
}

nlohmann::json number_or_null(const std::optional<double>& number) {
  return number ? nlohmann::json(*number) : nlohmann::json();
}

/// Needs no module of image functions.
void write_rows(const fs::path& path, const image::Image& image,
                const std::function<void()>& before_rename) {
  image::PngWriter writer(path, image.h, image.w);
  writer.write(image.pixels);
  writer.finish(before_rename);
}

/// A file that need not be there; `before` is called right before.
void remove_file(const fs::path& path, const std::function<void()>& before) {
  if (before) {
    before();
  }
  std::error_code error;
  fs::remove(path, error);
  if (error) {
    throw IoError(fmt::format("{} cannot be removed: {}", path.string(), error.message()));
  }
}

}  // namespace

std::int64_t ClassificationReport::labelled(std::int64_t one) const {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < classes; ++i) {
    sum += count(one, i);
  }
  return sum;
}

std::int64_t ClassificationReport::predicted(std::int64_t one) const {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < classes; ++i) {
    sum += count(i, one);
  }
  return sum;
}

std::optional<double> ClassificationReport::precision(std::int64_t one) const {
  return share(count(one, one), predicted(one));
}

std::optional<double> ClassificationReport::recall(std::int64_t one) const {
  return share(count(one, one), labelled(one));
}

ClassificationReport classification_report(comm::Communicator& communicator, StepRunner& runner,
                                           const Network& network, const EvaluationData& data) {
  ClassificationReport report;
  report.names = data.dataset.class_names();
  const std::vector<double> numbers = gather_over_chunks(
      communicator, runner, data, [&](Context& context, const Tensor& x, const Tensor& labels) {
        const Tensor logits = network.forward(context, x);
        const auto width = static_cast<std::size_t>(logits.shape()[1]);
        const std::vector<float> all = copy_to_host<float>(context.device, context.queue, logits);
        std::vector<double> told;
        std::size_t at = 0;
        for (const std::int32_t label :
             copy_to_host<std::int32_t>(context.device, context.queue, labels)) {
          const std::span<const float> row = std::span(all).subspan(at, width);
          told.push_back(static_cast<double>(predicted_class(row, label)));
          told.push_back(loss_of(row, label));
          told.push_back(static_cast<double>(width));
          at += width;
        }
        return told;
      });
  report.classes =
      numbers.empty() ? data.dataset.classes() : static_cast<std::int64_t>(numbers[kNumbers - 1]);
  report.confusion.assign(static_cast<std::size_t>(report.classes * report.classes), 0);
  for (std::size_t i = 0; i < numbers.size() / kNumbers; ++i) {
    const auto sample = static_cast<std::int64_t>(i);
    const std::int32_t label = data.dataset.label(sample);
    const auto predicted = static_cast<std::int32_t>(numbers[kNumbers * i]);
    const double loss = numbers[kNumbers * i + 1];
    ++report.confusion[static_cast<std::size_t>(label * report.classes + predicted)];
    if (predicted != label || std::isinf(loss)) {
      keep_worst(report.worst, {sample, label, predicted, loss});
    }
  }
  return report;
}

nlohmann::json to_json(const ClassificationReport& report) {
  nlohmann::json names = nlohmann::json::array();
  nlohmann::json rows = nlohmann::json::array();
  nlohmann::json classes = nlohmann::json::array();
  std::int64_t samples = 0;
  for (std::int64_t i = 0; i < report.classes; ++i) {
    names.push_back(class_name(report.names, i));
    const auto row = report.confusion.begin() + i * report.classes;
    rows.push_back(std::vector<std::int64_t>(row, row + report.classes));
    samples += report.labelled(i);
    classes.push_back({{"class", names.back()},
                       {"samples", report.labelled(i)},
                       {"predicted", report.predicted(i)},
                       {"precision", number_or_null(report.precision(i))},
                       {"recall", number_or_null(report.recall(i))}});
  }
  nlohmann::json worst = nlohmann::json::array();
  for (const Mistake& mistake : report.worst) {
    worst.push_back({{"sample", mistake.sample},
                     {"class", class_name(report.names, mistake.label)},
                     {"predicted", class_name(report.names, mistake.predicted)},
                     {"loss", mistake.loss}});
  }
  return {{"classes", std::move(names)},
          {"samples", samples},
          {"confusion", std::move(rows)},
          {"per_class", std::move(classes)},
          {"worst", std::move(worst)}};
}

void write_report(const fs::path& folder, const ClassificationReport& report,
                  const data::Dataset& dataset, const std::function<void()>& before_rename) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw IoError(fmt::format("{} cannot be made: {}", folder.string(), error.message()));
  }
  io::write_file_atomically(folder / "evaluation.json",
                            to_json(report).dump(2, ' ', false, kReplace) + "\n", before_rename);
  write_rows(folder / "confusion.png", draw_confusion(report), before_rename);
  if (const std::optional<image::Image> mistakes = draw_mistakes(report, dataset)) {
    write_rows(folder / "mistakes.png", *mistakes, before_rename);
  } else {
    remove_file(folder / "mistakes.png", before_rename);
  }
}

void write_report(const RunFolder& folder, const ClassificationReport& report,
                  const data::Dataset& dataset) {
  try {
    write_report(folder.path(), report, dataset, [&folder] { folder.check_lock(); });
  } catch (const LostLockError&) {
    throw;
  } catch (const IoError& error) {
    spdlog::warn("the report of the evaluation is not written: {}", error.what());
  }
}

std::optional<ClassificationReport> end_report(TrainingRun& run, std::int64_t steps) {
  const Network* const network = run.objective().classifier();
  if (network == nullptr || !run.options().evaluate.report || steps == 0) {
    return std::nullopt;
  }
  return classification_report(run.communicator(), run.runner(), *network, run.evaluation_data());
}

}  // namespace gentrain::trainers
