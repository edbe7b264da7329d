// Models of logistic regression: probabilities in closed form, arrays there and back, arrays that
// are not of one.
#include "trainers/logistic_model.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/noise.h"

namespace gentrain::trainers {
namespace {

using test::message_of;

const LogisticModel kBinary{2, 3, {0.5, 0, -2}, {0.25}};
const LogisticModel kOfThree{3, 2, {1, 0, 0, 1, -1, 0.5}, {0.5, 0, -0.5}};

TEST(LogisticModel, TwoClassesAreLogOdds) {
  const std::vector<float> x = {2, 100, 1};
  const std::vector<double> all = kBinary.probabilities(x);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_NEAR(all[1], 1 / (1 + std::exp(-(1.0 - 2.0 + 0.25))), 1e-15);
  EXPECT_NEAR(all[0] + all[1], 1, 1e-15);
  EXPECT_EQ(kBinary.predict(x), 0);
  EXPECT_EQ(kBinary.predict(std::vector<float>{2, 0, 0}), 1);
  EXPECT_EQ((LogisticModel{2, 1, {0}, {0}}.predict(std::vector<float>{1})), 0);  // as likely
  EXPECT_EQ(kBinary.nonzero(), 2);
}

TEST(LogisticModel, SeveralClassesAreSoftmax) {
  const std::vector<float> x = {1, 2};
  const std::vector<double> logits = {1.5, 2, -0.5};
  const std::vector<double> all = kOfThree.probabilities(x);
  double sum = 0;
  for (const double logit : logits) {
    sum += std::exp(logit);
  }
  for (std::size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(all[c], std::exp(logits[c]) / sum, 1e-15);
  }
  EXPECT_EQ(kOfThree.predict(x), 1);
}

TEST(LogisticModel, LargeLogitsAreCertain) {
  EXPECT_EQ(kBinary.probabilities(std::vector<float>{1e30F, 0, 0}), (std::vector<double>{0, 1}));
  EXPECT_EQ(kBinary.probabilities(std::vector<float>{-1e30F, 0, 0}), (std::vector<double>{1, 0}));
  EXPECT_EQ(kOfThree.probabilities(std::vector<float>{0, 1e30F}), (std::vector<double>{0, 1, 0}));
}

TEST(LogisticModel, ProductsOfAnyLength) {
  for (std::int64_t size = 1; size < 40; ++size) {
    const std::vector<float> x = test::floats(size, 1);
    const std::vector<float> w = test::floats(size, 2);
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      sum += static_cast<double>(w[i]) * static_cast<double>(x[i]);
    }
    EXPECT_NEAR(
        dot(std::vector<double>(w.begin(), w.end()), std::vector<double>(x.begin(), x.end())), sum,
        1e-14)
        << size;
  }
}

TEST(LogisticModel, RefusesAnotherNumberOfFeatures) {
  EXPECT_EQ(message_of<ShapeError>([] {
              static_cast<void>(kBinary.predict(std::vector<float>{1, 2}));
            }),
            "logistic regression: a sample of 2 features for a model of 3");
}

TEST(LogisticModel, ArraysThereAndBack) {
  for (const LogisticModel& model : {kBinary, kOfThree}) {
    EXPECT_EQ(logistic_model_from(to_arrays(model), "model.h5"), model);  // all are floats
  }
  LogisticModel fine = kBinary;
  fine.coefficients[0] = 1.0 / 3;
  const LogisticModel once = logistic_model_from(to_arrays(fine), "model.h5");
  EXPECT_EQ(once.coefficients[0], static_cast<double>(1.0F / 3));
  EXPECT_EQ(logistic_model_from(to_arrays(once), "model.h5"), once);
}

TEST(LogisticModel, RefusesArraysThatAreNotOfOne) {
  const auto message = [](const std::vector<io::NamedArray>& arrays) {
    return message_of<IoError>([&] { logistic_model_from(arrays, "model.h5"); });
  };
  EXPECT_EQ(message({}),
            "model.h5: regression/coefficients is missing: it holds no logistic regression");
  const std::vector<io::NamedArray> good = to_arrays(kOfThree);
  EXPECT_EQ(message({good[0]}),
            "model.h5: regression/intercepts is missing: it holds no logistic regression");
  std::vector<io::NamedArray> bad = good;
  bad[0].shape = Shape{6};
  EXPECT_EQ(message(bad),
            "model.h5: regression/coefficients has the shape [6]: 2 extents from 1 are needed");
  bad = good;
  bad[1] = {"regression/intercepts", Shape{0}, {}};
  EXPECT_EQ(message(bad),
            "model.h5: regression/intercepts has the shape [0]: 1 extents from 1 are needed");
  bad = good;
  bad[0].values[4] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message(bad),
            "model.h5: element 4 of regression/coefficients is nan: finite numbers are needed");
  bad = good;
  bad[1] = {"regression/intercepts", Shape{2}, {1, 2}};
  EXPECT_EQ(message(bad),
            "model.h5: regression/coefficients has the shape [3, 2] and regression/intercepts [2]: "
            "one row for two classes, or a row for each of three or more, and as many intercepts "
            "are needed");
  bad[0] = {"regression/coefficients", Shape{2, 3}, {1, 2, 3, 4, 5, 6}};
  EXPECT_NE(message(bad).find("one row for two classes"), std::string::npos);
}

}  // namespace
}  // namespace gentrain::trainers
