// Counting a classifier's answers, and writing them down.
#include "trainers/classification_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "core/image/png_writer.h"
#include "core/io/atomic_file.h"
#include "kernels/error.h"
#include "trainers/classifier.h"
#include "trainers/run_folder.h"
#include "trainers/run_lock.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace fs = std::filesystem;

namespace {

/// What is told of each sample: the predicted class, the loss, the number of classes.
constexpr std::size_t kNumbers = 3;

/// -log softmax(logits)[label], in double precision; infinite if a logit is no number.
double loss_of(std::span<const float> logits, std::int32_t label) {
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - largest);
  }
  const double loss =
      std::log(sum) + largest - static_cast<double>(logits[static_cast<std::size_t>(label)]);
  return std::isnan(loss) ? std::numeric_limits<double>::infinity() : loss;
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
                const std::function<void()>& before) {
  if (before) {
    before();
  }
  image::PngWriter writer(path, image.h, image.w);
  writer.write(image.pixels);
  writer.finish();
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
          told.push_back(
              static_cast<double>(std::max_element(row.begin(), row.end()) - row.begin()));
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
    ++report.confusion[static_cast<std::size_t>(label * report.classes + predicted)];
    if (predicted != label) {
      report.worst.push_back({sample, label, predicted, numbers[kNumbers * i + 1]});
    }
  }
  std::stable_sort(report.worst.begin(), report.worst.end(),
                   [](const Mistake& a, const Mistake& b) { return a.loss > b.loss; });
  report.worst.resize(std::min(report.worst.size(), kMostMistakes));
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
  constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
  io::write_file_atomically(folder / "evaluation.json",
                            to_json(report).dump(2, ' ', false, kReplace) + "\n", before_rename);
  write_rows(folder / "confusion.png", draw_confusion(report), before_rename);
  if (const std::optional<image::Image> mistakes = draw_mistakes(report, dataset)) {
    write_rows(folder / "mistakes.png", *mistakes, before_rename);
  } else {
    fs::remove(folder / "mistakes.png", error);
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
