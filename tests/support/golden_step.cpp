// Golden steps: reading, comparing, and the optimizer that they were taken with.
#include "tests/support/golden_step.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/optim/optimizer.h"
#include "kernels/error.h"
#include "kernels/update.h"

namespace gentrain::test {

namespace {

double norm(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) {
    sum += value * value;
  }
  return std::sqrt(sum);
}

double distance(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += (a[i] - b[i]) * (a[i] - b[i]);
  }
  return std::sqrt(sum);
}

bool is_statistic(const ParameterSet& parameters, int p) {
  return parameters.info(p).role == ParameterRole::kStatistic;
}

}  // namespace

Tensor GoldenStep::tensor(const std::string& data_set) const {
  return tensor(data_set, shape(data_set));
}

Tensor GoldenStep::tensor(const std::string& data_set, const Shape& shape) const {
  return bench_.tensor(shape, values(data_set), dtype_);
}

const GoldenName& GoldenStep::find(std::span<const GoldenName> names,
                                   const std::string& parameter) {
  const auto found = std::ranges::find(names, parameter, &GoldenName::parameter);
  if (found == names.end()) {
    throw Error(fmt::format("no golden data set is named for {}", parameter));
  }
  return *found;
}

std::vector<double> GoldenStep::joined(const std::string& group, const GoldenName& name) const {
  std::vector<double> values;
  for (const std::string& data_set : name.data_sets) {
    const Hdf5Array part = file_.read(fmt::format("{}/{}", group, data_set));
    values.insert(values.end(), part.values.begin(), part.values.end());
  }
  return values;
}

void GoldenStep::load(ParameterSet& parameters, std::span<const GoldenName> names) const {
  parameters.allocate(bench_.device(), bench_.queue(), dtype_);
  for (int p = 0; p < parameters.size(); ++p) {
    const ParameterInfo& info = parameters.info(p);
    const Tensor values =
        bench_.tensor(info.shape, joined("before", find(names, info.name)), dtype_);
    bench_.device().to_device(bench_.queue(), values.data(), parameters[p].data(), values.bytes());
  }
  parameters.mark_changed();
}

double GoldenStep::bound(const std::string& data_set) const {
  return dtype_ == DType::kF64 ? 1e-6
                               : std::max(1e-4, 3 * file_.attribute(data_set, "fp32_rel_err"));
}

void GoldenStep::expect(const std::string& data_set, std::span<const double> actual,
                        double floor) const {
  const std::vector<double> golden = values(data_set);
  ASSERT_EQ(actual.size(), golden.size()) << data_set;
  EXPECT_LE(distance(actual, golden), bound(data_set) * norm(golden) + floor)
      << data_set << ", norm " << norm(golden);
}

void GoldenStep::expect_first(const std::string& data_set, std::span<const double> actual) const {
  std::vector<double> golden = values(data_set);
  ASSERT_LE(actual.size(), golden.size()) << data_set;
  golden.resize(actual.size());
  EXPECT_LE(distance(actual, golden), bound(data_set) * norm(golden)) << data_set;
}

void GoldenStep::expect_gradients(const GradientStore& store, const ParameterSet& parameters,
                                  std::span<const GoldenName> names) const {
  double squares = 0;
  for (int p = 0; p < parameters.size(); ++p) {
    if (!is_statistic(parameters, p)) {
      const double one = norm(joined("grad", find(names, parameters.info(p).name)));
      squares += one * one;
    }
  }
  const double floor = 1e-6 * std::sqrt(squares);
  for (int p = 0; p < parameters.size(); ++p) {
    if (is_statistic(parameters, p)) {
      continue;
    }
    const std::vector<double> gradient = bench_.values(store.gradient(p));
    std::size_t at = 0;
    for (const std::string& data_set : find(names, parameters.info(p).name).data_sets) {
      const std::size_t size = values("grad/" + data_set).size();
      ASSERT_LE(at + size, gradient.size()) << data_set;
      expect("grad/" + data_set, std::span(gradient).subspan(at, size), floor);
      at += size;
    }
    EXPECT_EQ(at, gradient.size());
  }
}

void GoldenStep::expect_after(const ParameterSet& parameters,
                              std::span<const GoldenName> names) const {
  for (int p = 0; p < parameters.size(); ++p) {
    const GoldenName& name = find(names, parameters.info(p).name);
    const std::vector<double> before = joined("before", name);
    std::vector<double> golden = joined("after", name);
    std::vector<double> actual = bench_.values(parameters[p]);
    ASSERT_EQ(actual.size(), golden.size()) << name.parameter;
    if (!is_statistic(parameters, p)) {
      leave_out_noise(name, golden, actual);
    }
    EXPECT_LE(distance(actual, golden), 0.02 * distance(golden, before) + 2e-7 * norm(golden))
        << name.parameter;
  }
}

void GoldenStep::leave_out_noise(const GoldenName& name, std::span<double> golden,
                                 std::span<double> actual) const {
  constexpr double kTimes = 10;
  std::size_t at = 0;
  for (const std::string& data_set : name.data_sets) {
    const std::vector<double> gradient = values("grad/" + data_set);
    const double noise = file_.attribute("grad/" + data_set, "fp32_rel_err") * norm(gradient) /
                         std::sqrt(static_cast<double>(gradient.size()));
    for (const double element : gradient) {
      if (std::abs(element) <= kTimes * noise) {
        actual[at] = golden[at];
      }
      ++at;
    }
  }
}

GoldenAdam::GoldenAdam(const Workbench& bench, ParameterSet& parameters, DType dtype, double lr,
                       std::string twice)
    : bench_(bench), parameters_(parameters), lr_(lr), twice_(std::move(twice)) {
  for (int p = 0; p < parameters.size(); ++p) {
    first_.push_back(bench.full(parameters.info(p).shape, 0, dtype));
    second_.push_back(bench.full(parameters.info(p).shape, 0, dtype));
  }
}

void GoldenAdam::update(const GradientStore& store) {
  const AdamStep step{.lr = lr_, .step = ++steps_};
  for (int p = 0; p < parameters_.size(); ++p) {
    const auto i = static_cast<std::size_t>(p);
    if (is_statistic(parameters_, p)) {
      const ParameterInfo& info = parameters_.info(p);
      const double decay = info.name.starts_with(twice_) ? info.decay * info.decay : info.decay;
      optim::follow(bench_.device(), bench_.queue(), store.gradient(p), parameters_[p], decay);
    } else {
      bench_.device().update().adam(bench_.queue(), step, store.gradient(p).cview(),
                                    first_[i].view(), second_[i].view(), parameters_[p].view());
    }
  }
  parameters_.mark_changed();
}

}  // namespace gentrain::test
