// What an evaluation tells of a classifier beside its accuracy: the confusion matrix, precision and
// recall of each class, the worst mistakes; as numbers, and as files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/image/image.h"
#include "trainers/evaluate.h"

namespace gentrain::trainers {

class RunFolder;
class TrainingRun;

/// A sample whose largest logit is not its label's, or that has logits that are not finite. Of the
/// latter `predicted` is the likeliest class other than the label, if there is another, and the
/// loss is infinite.
struct Mistake {
  std::int64_t sample = 0;
  std::int32_t label = 0;
  std::int32_t predicted = 0;
  double loss = 0;  // nats
  friend bool operator==(const Mistake&, const Mistake&) = default;
};

/// Most mistakes that are kept and shown.
inline constexpr std::size_t kMostMistakes = 16;

struct ClassificationReport {
  std::int64_t classes = 0;
  std::vector<std::string> names;       // of the classes; none where they have only numbers
  std::vector<std::int64_t> confusion;  // [label, predicted]: samples
  std::vector<Mistake> worst;           // by falling loss, then by sample; kMostMistakes at most

  [[nodiscard]] std::int64_t count(std::int64_t label, std::int64_t predicted) const {
    return confusion[static_cast<std::size_t>(label * classes + predicted)];
  }
  /// Samples with this label, or predicted as this class.
  [[nodiscard]] std::int64_t labelled(std::int64_t one) const;
  [[nodiscard]] std::int64_t predicted(std::int64_t one) const;
  /// Share of those predicted as the class that are of it; none if there are none.
  [[nodiscard]] std::optional<double> precision(std::int64_t one) const;
  /// Share of those of the class that are predicted so; none if there are none.
  [[nodiscard]] std::optional<double> recall(std::int64_t one) const;
  friend bool operator==(const ClassificationReport&, const ClassificationReport&) = default;
};

/// Runs a classifier over the data set, every sample once, in chunks dealt out over ranks and
/// workers; the same on every rank, for any number of ranks and workers. Labels must be classes of
/// the network. Collective.
ClassificationReport classification_report(comm::Communicator& communicator, StepRunner& runner,
                                           const Network& network, const EvaluationData& data);

/// {"classes": [names], "samples", "confusion": [[...]] rows by label, "per_class": [{"class",
/// "samples", "predicted", "precision", "recall"}], "worst": [{"sample", "class", "predicted",
/// "loss"}]}; precision and recall are null where there are none.
nlohmann::json to_json(const ClassificationReport& report);

/// The confusion matrix: a row for each label with its number and name, a column for each predicted
/// class; the darker a cell, the larger its share of the row. Cells have their counts, up to 40
/// classes. RGB.
image::Image draw_confusion(const ClassificationReport& report);

/// The worst mistakes in rows of four, each over a line "label>predicted" and the loss where there
/// is room. None without mistakes, or if samples are neither RGB nor grey images. RGB.
std::optional<image::Image> draw_mistakes(const ClassificationReport& report,
                                          const data::Dataset& dataset);

/// Writes evaluation.json, confusion.png and, if there are mistakes to show, mistakes.png into a
/// folder, which is made if need be; a mistakes.png of before is removed. `before_rename` as of
/// io::write_file_atomically; it is called before the removal too. Throws IoError naming the file.
void write_report(const std::filesystem::path& folder, const ClassificationReport& report,
                  const data::Dataset& dataset, const std::function<void()>& before_rename = {});
/// The same into a run's folder; where that fails, as on a full disk, a warning is logged: the run
/// matters more. Throws LostLockError.
void write_report(const RunFolder& folder, const ClassificationReport& report,
                  const data::Dataset& dataset);

/// The report of a run's test set; none of a run that is no classifier's, took no step, or is to
/// have none. Collective.
std::optional<ClassificationReport> end_report(TrainingRun& run, std::int64_t steps);

}  // namespace gentrain::trainers
