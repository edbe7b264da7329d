// Logistic regression: probabilities, arrays of a model file.
#include "trainers/logistic_model.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

constexpr const char* kCoefficients = "regression/coefficients";
constexpr const char* kIntercepts = "regression/intercepts";

std::vector<float> to_floats(const std::vector<double>& values) {
  std::vector<float> floats(values.size());
  std::transform(values.begin(), values.end(), floats.begin(),
                 [](double value) { return static_cast<float>(value); });
  return floats;
}

/// The array of this name and rank, as doubles.
const io::NamedArray& array_of(std::span<const io::NamedArray> arrays, const char* name, int rank,
                               const std::string& source) {
  const io::NamedArray* array = io::find_array(arrays, name);
  if (array == nullptr) {
    throw IoError(fmt::format("{}: {} is missing: it holds no logistic regression", source, name));
  }
  if (array->shape.rank() != rank || array->shape.elements() == 0) {
    throw IoError(fmt::format("{}: {} has the shape {}: {} extents from 1 are needed", source, name,
                              array->shape.str(), rank));
  }
  for (std::size_t i = 0; i < array->values.size(); ++i) {
    if (!std::isfinite(array->values[i])) {
      throw IoError(fmt::format("{}: element {} of {} is {}: finite numbers are needed", source, i,
                                name, array->values[i]));
    }
  }
  return *array;
}

}  // namespace

double dot(std::span<const double> w, std::span<const double> x) {
  constexpr std::size_t kLanes = 8;
  double sums[kLanes] = {};
  const std::size_t whole = w.size() / kLanes * kLanes;
  for (std::size_t j = 0; j < whole; j += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += w[j + lane] * x[j + lane];
    }
  }
  for (std::size_t j = whole; j < w.size(); ++j) {
    sums[j - whole] += w[j] * x[j];
  }
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

std::int64_t LogisticModel::nonzero() const {
  return std::count_if(coefficients.begin(), coefficients.end(),
                       [](double value) { return value != 0; });
}

std::vector<double> LogisticModel::probabilities(std::span<const float> x) const {
  if (static_cast<std::int64_t>(x.size()) != features) {
    throw ShapeError(fmt::format("logistic regression: a sample of {} features for a model of {}",
                                 x.size(), features));
  }
  const std::span<const double> all(coefficients);
  const std::vector<double> wide(x.begin(), x.end());
  std::vector<double> result;
  for (std::size_t row = 0; row < intercepts.size(); ++row) {
    result.push_back(dot(all.subspan(row * x.size(), x.size()), wide) + intercepts[row]);
  }
  if (classes == 2) {
    result.insert(result.begin(), 0.0);
  }
  const double largest = *std::max_element(result.begin(), result.end());
  double sum = 0;
  for (double& value : result) {
    value = std::exp(value - largest);
    sum += value;
  }
  for (double& value : result) {
    value /= sum;
  }
  return result;
}

int LogisticModel::predict(std::span<const float> x) const {
  const std::vector<double> all = probabilities(x);
  return static_cast<int>(std::max_element(all.begin(), all.end()) - all.begin());
}

std::vector<io::NamedArray> to_arrays(const LogisticModel& model) {
  return {{kCoefficients, Shape{model.rows(), model.features}, to_floats(model.coefficients)},
          {kIntercepts, Shape{model.rows()}, to_floats(model.intercepts)}};
}

LogisticModel logistic_model_from(std::span<const io::NamedArray> arrays,
                                  const std::string& source) {
  const io::NamedArray& coefficients = array_of(arrays, kCoefficients, 2, source);
  const io::NamedArray& intercepts = array_of(arrays, kIntercepts, 1, source);
  const std::int64_t rows = coefficients.shape[0];
  if (intercepts.shape[0] != rows || rows == 2) {
    throw IoError(fmt::format(
        "{}: {} has the shape {} and {} {}: one row for two classes, or a row for each of three or "
        "more, and as many intercepts are needed",
        source, kCoefficients, coefficients.shape.str(), kIntercepts, intercepts.shape.str()));
  }
  LogisticModel model;
  model.classes = rows == 1 ? 2 : static_cast<int>(rows);
  model.features = coefficients.shape[1];
  model.coefficients.assign(coefficients.values.begin(), coefficients.values.end());
  model.intercepts.assign(intercepts.values.begin(), intercepts.values.end());
  return model;
}

}  // namespace gentrain::trainers
