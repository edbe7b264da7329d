// Fine-tuning steps of InceptionV3 against PyTorch: logits, loss, every gradient and the statistics
// of the batch, of networks of hashed numbers and of the files of a PyTorch script.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <tuple>

#include "core/autograd.h"
#include "core/ops/ops.h"
#include "kernels/error.h"
#include "tests/support/golden_step.h"
#include "tests/support/gradients.h"
#include "tests/trainers/golden_numbers.h"

namespace gentrain::trainers {
namespace {

using test::GoldenName;
using test::GoldenStep;
using test::GradientStore;
using test::Workbench;

constexpr std::int64_t kClasses = 4;

bool is_statistic(const ParameterSet& parameters, int p) {
  return parameters.info(p).role == ParameterRole::kStatistic;
}

/// InceptionV3 with a head, and one forward and backward pass of it.
class FinetuneStep {
 public:
  FinetuneStep(const Shape& image, std::int64_t divisor, bool batch_statistics)
      : network_(thin_inception(image, divisor, kClasses), {},
                 {.batch_statistics = batch_statistics}, kClasses, parameters_) {}

  [[nodiscard]] ParameterSet& parameters() { return parameters_; }
  [[nodiscard]] const GraphNetwork& network() const { return network_; }

  struct Result {
    std::vector<double> features;  // [n, channels of mixed10], pooled
    std::vector<double> logits;    // [n, classes]
    double loss = 0;
  };
  /// Gradients of what the store wants.
  Result run(const Workbench& bench, const Tensor& images, const Tensor& labels,
             GradientStore& store) const {
    Tape tape(bench.device(), bench.queue());
    ParameterGradients* const sets[] = {&store};
    tape.begin(sets);
    Context context{bench.device(), bench.queue(), &tape, true, RngKey(1)};
    const graph::Graph& graph = network_.executor().graph();
    const std::vector<int> nodes = {graph.index_of("global_average_pooling"),
                                    graph.index_of("head_logits")};
    const std::vector<Tensor> made = network_.compute(context, images, nodes);
    const ops::CrossEntropy loss = ops::softmax_cross_entropy(
        context, made[1], labels, 1 / static_cast<double>(images.shape()[0]));
    tape.backward(loss.loss);
    return {bench.values(made[0]), bench.values(made[1]), bench.value(loss.loss)};
  }

 private:
  ParameterSet parameters_;
  GraphNetwork network_;
};

/// Where a golden step is taken.
struct Place {
  const char* name;
  Device& (*device)();
  DType dtype;
  std::int64_t divisor;
};

class GoldenFinetune : public ::testing::TestWithParam<std::tuple<Place, bool>> {
 protected:
  static nlohmann::json find_golden() {
    const nlohmann::json golden = golden_pretrained();
    for (const nlohmann::json& step : golden.at("steps")) {
      if (step.at("divisor") == std::get<0>(GetParam()).divisor &&
          step.at("batch_statistics") == std::get<1>(GetParam())) {
        return step;
      }
    }
    throw Error("no golden step");
  }

  /// What is frozen through the golden step's block, and statistics that stay.
  [[nodiscard]] std::set<int> frozen(FinetuneStep& step, bool batch_statistics) const {
    const ParameterSet& parameters = step.parameters();
    std::set<int> indices;
    for (const std::string& name : step.network().executor().parameters_through(
             golden_.at("frozen_through").get<std::string>())) {
      indices.insert(parameters.find(name));
    }
    for (int p = 0; p < parameters.size(); ++p) {
      if (is_statistic(parameters, p) && !batch_statistics) {
        indices.insert(p);
      }
    }
    return indices;
  }

  struct Outcome {
    FinetuneStep::Result result;
    std::map<std::string, std::vector<double>> gradients;
  };
  /// The step that the golden one is, or that with the other kind of batch norm.
  [[nodiscard]] Outcome outcome(bool batch_statistics) const {
    const Tensor images = hashed_images(bench_, golden_, place_.dtype);
    std::vector<double> classes;
    for (std::int64_t i = 0; i < images.shape()[0]; ++i) {
      classes.push_back(static_cast<double>(i % kClasses));
    }
    const Tensor labels = bench_.tensor({images.shape()[0]}, classes, DType::kI32);
    FinetuneStep step(image_of(images), place_.divisor, batch_statistics);
    load_hashed(step.parameters(), bench_, golden_, place_.dtype);
    GradientStore store(bench_, step.parameters(), frozen(step, batch_statistics));
    Outcome made{step.run(bench_, images, labels, store), {}};
    for (int p = 0; p < step.parameters().size(); ++p) {
      if (store.wants(p)) {
        made.gradients[step.parameters().info(p).name] = bench_.values(store.gradient(p));
      }
    }
    return made;
  }

  Place place_ = std::get<0>(GetParam());
  bool batch_statistics_ = std::get<1>(GetParam());
  Workbench bench_{place_.device()};
  nlohmann::json golden_ = find_golden();
  // What is stored has twelve digits; f32 may be off ten times as far as it moves PyTorch.
  double bound_ =
      place_.dtype == DType::kF64 ? 1e-8 : std::max(1e-4, 10 * golden_.at("f32").get<double>());
};

TEST_P(GoldenFinetune, GradientsAreThoseOfPyTorch) {
  const Outcome made = outcome(batch_statistics_);
  EXPECT_TRUE(has_numbers(made.result.logits, golden_.at("logits"), bound_));
  EXPECT_NEAR(made.result.loss, golden_.at("loss").get<double>(), bound_ * made.result.loss);
  const nlohmann::json& gradients = golden_.at("gradients");
  for (const auto& [name, values] : made.gradients) {
    ASSERT_TRUE(gradients.contains(name)) << name;
    EXPECT_TRUE(has_numbers(values, gradients.at(name), bound_)) << name;
  }
  EXPECT_EQ(made.gradients.size(), gradients.size());
  constexpr std::size_t kTrained = 18 * 2 + 4;  // of convolutions with their betas, and the head
  EXPECT_EQ(gradients.size(), batch_statistics_ ? kTrained + 18 * 2 : kTrained);
}

/// The negative twin.
TEST_P(GoldenFinetune, TheOtherKindOfBatchNormIsSeen) {
  const Outcome made = outcome(!batch_statistics_);
  EXPECT_FALSE(has_numbers(made.result.logits, golden_.at("logits"), bound_));
  for (const char* name :
       {"conv2d_77/weight", "batch_normalization_94/beta", "head_logits/weight"}) {
    EXPECT_FALSE(has_numbers(made.gradients.at(name), golden_.at("gradients").at(name), bound_))
        << name;
  }
}

constexpr auto kName = [](const auto& info) {
  return fmt::format("{}_{}", std::get<0>(info.param).name,
                     std::get<1>(info.param) ? "batch" : "frozen");
};
INSTANTIATE_TEST_SUITE_P(
    All, GoldenFinetune,
    ::testing::Combine(::testing::Values(Place{"cpu_f32_eighth", test::cpu_device, DType::kF32, 8},
                                         Place{"reference_f64_eighth", test::reference_device,
                                               DType::kF64, 8}),
                       ::testing::Bool()),
    kName);
// With statistics of the batch, of a few pixels, the step of full width is so badly conditioned in
// f32 that Winograd's rounding (1e-6) moves gradients by a hundredth.
INSTANTIATE_TEST_SUITE_P(FullWidth, GoldenFinetune,
                         ::testing::Values(std::tuple{
                             Place{"cpu_f32", test::cpu_device, DType::kF32, 1}, false}),
                         kName);

/// Units of torchvision's InceptionV3, of which each is a convolution and a batch norm, in the
/// order of Keras's numbers.
std::vector<std::string> torchvision_units() {
  std::vector<std::string> units = {"Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3",
                                    "Conv2d_3b_1x1", "Conv2d_4a_3x3"};
  const auto add = [&](const char* blocks, const std::string& branches) {
    std::istringstream block_names(blocks);
    for (std::string block; block_names >> block;) {
      std::istringstream names(branches);
      for (std::string name; names >> name;) {
        units.push_back(fmt::format("Mixed_{}.branch{}", block, name));
      }
    }
  };
  add("5b 5c 5d", "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool");
  add("6a", "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3");
  add("6b 6c 6d 6e", "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool");
  add("7a", "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4");
  add("7b 7c", "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool");
  return units;
}

/// A file of a training step of InceptionV3, of any widths and frozen through any block: what has
/// gradients in the file is trained.
class StepFile {
 public:
  StepFile(const std::string& file, Device& device, DType dtype)
      : bench_(device), dtype_(dtype), golden_(file, bench_, dtype) {
    const std::vector<std::string> units = torchvision_units();
    for (std::size_t i = 0; i < units.size(); ++i) {
      const std::string low = "low." + units[i];
      const std::string unit = has("before/" + low + ".conv.weight") ? low : "high." + units[i];
      const std::string norm = fmt::format("batch_normalization_{}", i + 1);
      names_.push_back({fmt::format("conv2d_{}/weight", i + 1), {unit + ".conv.weight"}});
      names_.push_back({norm + "/beta", {unit + ".bn.bias"}});
      names_.push_back({norm + "/running_mean", {unit + ".bn.running_mean"}});
      names_.push_back({norm + "/running_var", {unit + ".bn.running_var"}});
    }
    for (const char* part : {"weight", "bias"}) {
      names_.push_back({fmt::format("head_dense/{}", part), {fmt::format("fc1.{}", part)}});
      names_.push_back({fmt::format("head_logits/{}", part), {fmt::format("fc2.{}", part)}});
    }
  }

  /// Channels of the first convolution: 32 in the published network.
  [[nodiscard]] std::int64_t width() const {
    return golden_.shape("before/" + names_[0].data_sets[0])[0];
  }

  void expect_step() {
    const Tensor images = golden_.tensor("input/x");
    const Tensor labels =
        bench_.tensor(golden_.shape("input/y"), golden_.values("input/y"), DType::kI32);
    FinetuneStep step(image_of(images), 32 / width(), batch_statistics());
    golden_.load(step.parameters(), names_);
    GradientStore store(bench_, step.parameters(), frozen(step.parameters()));
    const FinetuneStep::Result result = step.run(bench_, images, labels, store);
    golden_.expect("output/features", result.features);
    golden_.expect("output/logits", result.logits);
    golden_.expect("loss/loss", std::vector<double>{result.loss});
    expect_gradients(step.parameters(), store);
    if (batch_statistics()) {
      expect_statistics(step.parameters(), store);
    }
  }

 private:
  [[nodiscard]] bool has(const std::string& data_set) const {
    try {
      return golden_.shape(data_set).rank() >= 0;
    } catch (const IoError&) {
      return false;
    }
  }
  [[nodiscard]] const std::string& data_set(const std::string& parameter) const {
    return std::ranges::find(names_, parameter, &GoldenName::parameter)->data_sets[0];
  }
  /// Whether the step changed the statistics of the last batch norm.
  [[nodiscard]] bool batch_statistics() const {
    const std::string& last = data_set("batch_normalization_94/running_mean");
    return golden_.values("before/" + last) != golden_.values("after/" + last);
  }
  /// A batch norm's statistics are trained where its beta is, unless they stay.
  [[nodiscard]] std::set<int> frozen(const ParameterSet& parameters) const {
    std::set<int> indices;
    for (int p = 0; p < parameters.size(); ++p) {
      std::string name = data_set(parameters.info(p).name);
      if (is_statistic(parameters, p)) {
        name = name.substr(0, name.rfind('.')) + ".bias";
      }
      if (!has("grad/" + name) || (is_statistic(parameters, p) && !batch_statistics())) {
        indices.insert(p);
      }
    }
    return indices;
  }
  void expect_gradients(const ParameterSet& parameters, const GradientStore& store) const {
    double squares = 0;
    for (int p = 0; p < parameters.size(); ++p) {
      if (store.wants(p) && !is_statistic(parameters, p)) {
        for (const double value : golden_.values("grad/" + data_set(parameters.info(p).name))) {
          squares += value * value;
        }
      }
    }
    EXPECT_GT(squares, 0);
    for (int p = 0; p < parameters.size(); ++p) {
      if (store.wants(p) && !is_statistic(parameters, p)) {
        golden_.expect("grad/" + data_set(parameters.info(p).name),
                       bench_.values(store.gradient(p)), 1e-6 * std::sqrt(squares));
      }
    }
  }
  /// PyTorch's running statistics move a tenth of the way to the batch's.
  void expect_statistics(const ParameterSet& parameters, const GradientStore& store) const {
    for (int p = 0; p < parameters.size(); ++p) {
      if (store.wants(p) && is_statistic(parameters, p)) {
        const std::string& name = data_set(parameters.info(p).name);
        std::vector<double> moved = golden_.values("before/" + name);
        const std::vector<double> batch = bench_.values(store.gradient(p));
        for (std::size_t i = 0; i < moved.size(); ++i) {
          moved[i] = 0.9 * moved[i] + 0.1 * batch.at(i);
        }
        golden_.expect("after/" + name, moved);
      }
    }
  }

  Workbench bench_;
  DType dtype_;
  GoldenStep golden_;
  std::vector<GoldenName> names_;
};

/// Files that a PyTorch script wrote, made as tests/golden/README.md says.
TEST(GoldenInceptionFiles, StepsAreThoseOfPyTorch) {
  const char* const files = std::getenv("GENTRAIN_GOLDEN_INCEPTION");
  if (files == nullptr) {
    GTEST_SKIP() << "GENTRAIN_GOLDEN_INCEPTION names no files of training steps";
  }
  std::istringstream names(files);
  for (std::string name; std::getline(names, name, ':');) {
    SCOPED_TRACE(name);
    StepFile file(name, test::cpu_device(), DType::kF32);
    file.expect_step();
    if (file.width() < 32) {
      StepFile(name, test::reference_device(), DType::kF64).expect_step();
    }
  }
}

}  // namespace
}  // namespace gentrain::trainers
