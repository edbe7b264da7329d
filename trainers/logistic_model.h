// Logistic regression: the fitted model, its predictions and its form in files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/io/array_file.h"

namespace gentrain::trainers {

/// Of two classes the model has one row of coefficients, the log odds of class 1; of more classes
/// one row each, the logits.
struct LogisticModel {
  int classes = 0;                   // >= 2
  std::int64_t features = 0;         // d >= 1
  std::vector<double> coefficients;  // [rows(), d], for features as they are
  std::vector<double> intercepts;    // [rows()]

  [[nodiscard]] int rows() const { return classes == 2 ? 1 : classes; }
  /// Coefficients that are not zero.
  [[nodiscard]] std::int64_t nonzero() const;
  /// Of each class, [classes], for the features [d] of a sample. Throws ShapeError for another
  /// number of features.
  [[nodiscard]] std::vector<double> probabilities(std::span<const float> x) const;
  /// The class of the largest probability, of equal ones the first. Throws as probabilities().
  [[nodiscard]] int predict(std::span<const float> x) const;

  friend bool operator==(const LogisticModel&, const LogisticModel&) = default;
};

/// Arrays "regression/coefficients" [rows, d] and "regression/intercepts" [rows], rounded to f32:
/// whoever wants the predictions of the file takes the model through both functions.
std::vector<io::NamedArray> to_arrays(const LogisticModel& model);
/// Of such arrays, found among others by name. Throws IoError naming `source` and the array if it
/// is missing, has another shape or holds a number that is not finite.
LogisticModel logistic_model_from(std::span<const io::NamedArray> arrays,
                                  const std::string& source);

/// w . x of equal lengths; the order of the sum is fixed, the same on any x86-64.
double dot(std::span<const double> w, std::span<const double> x);

}  // namespace gentrain::trainers
