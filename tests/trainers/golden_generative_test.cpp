// VAE and SRGAN against training steps of PyTorch: loss terms, every gradient, the weights after a
// step of Adam and the losses of ten steps.
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/autograd.h"
#include "kernels/cpu/conv_rule.h"
#include "tests/support/counting_device.h"
#include "tests/support/golden_step.h"
#include "trainers/models/vae.h"
#include "trainers/srgan.h"

namespace gentrain::trainers {
namespace {

using test::GoldenAdam;
using test::GoldenName;
using test::GoldenStep;
using test::GradientStore;
using test::Workbench;

struct GoldenPlace {
  const char* name;
  Device& (*device)();
  DType dtype;
  int steps;  // of the ten whose losses are known
};

std::string place_name(const ::testing::TestParamInfo<GoldenPlace>& info) {
  return info.param.name;
}

const GoldenPlace kCpu{"cpu_f32", test::cpu_device, DType::kF32, 10};
const GoldenPlace kReference{"reference_f64", test::reference_device, DType::kF64, 2};

class GoldenVae : public ::testing::TestWithParam<GoldenPlace> {
 protected:
  static std::vector<GoldenName> names() {
    std::vector<GoldenName> result;
    for (const char* part : {"weight", "bias"}) {
      const auto named = [part](const char* layer) { return fmt::format("{}.{}", layer, part); };
      result.push_back({fmt::format("encoder/hidden/{}", part), {named("enc")}});
      result.push_back({fmt::format("encoder/latent/{}", part), {named("mu"), named("logvar")}});
      result.push_back({fmt::format("decoder/hidden/{}", part), {named("dec")}});
      result.push_back({fmt::format("decoder/output/{}", part), {named("out")}});
    }
    return result;
  }

  /// Forward and backward; the mean loss.
  double pass(GradientStore& store) {
    Tape tape(bench_.device(), bench_.queue());
    ParameterGradients* const sets[] = {&store};
    tape.begin(sets);
    Context context{bench_.device(), bench_.queue(), &tape, true, {}};
    const auto images = static_cast<double>(x_.shape()[0]);
    const ObjectiveTerms terms = vae_.compute_with_noise(context, x_, noise_, 1 / images);
    tape.backward(terms.loss);
    return terms.sums[0] / images;
  }

  Workbench bench_{GetParam().device()};
  DType dtype_ = GetParam().dtype;
  GoldenStep golden_{GENTRAIN_SOURCE_DIR "/tests/golden/vae.h5", bench_, dtype_};
  std::vector<GoldenName> names_ = names();
  ParameterSet parameters_;
  Vae vae_{{}, {}, {28, 28, 1}, parameters_};
  Tensor x_ = golden_.tensor("input/x", {golden_.shape("input/x")[0], 28, 28, 1});
  Tensor noise_ = golden_.tensor("input/eps");
};

TEST_P(GoldenVae, StepsAreThoseOfPyTorch) {
  golden_.load(parameters_, names_);
  GoldenAdam adam(bench_, parameters_, dtype_, 1e-3);
  std::vector<double> losses;
  for (int step = 0; step < GetParam().steps; ++step) {
    GradientStore store(bench_, parameters_);
    losses.push_back(pass(store));
    adam.update(store);
    if (step == 0) {
      golden_.expect("loss/loss", losses);
      golden_.expect_gradients(store, parameters_, names_);
      golden_.expect_after(parameters_, names_);
    }
  }
  golden_.expect_first("trace/loss", losses);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenVae, ::testing::Values(kCpu, kReference), place_name);

std::vector<GoldenName> norm_names(const std::string& ours, const std::string& theirs) {
  return {{ours + "/gamma", {theirs + ".weight"}},
          {ours + "/beta", {theirs + ".bias"}},
          {ours + "/running_mean", {theirs + ".running_mean"}},
          {ours + "/running_var", {theirs + ".running_var"}}};
}

std::vector<GoldenName> generator_names() {
  std::vector<GoldenName> names;
  for (const auto& [ours, theirs] :
       {std::pair("first", "first"), std::pair("middle", "mid"), std::pair("up1", "up1"),
        std::pair("up2", "up2"), std::pair("last", "last")}) {
    names.push_back(
        {fmt::format("generator/{}/weight", ours), {fmt::format("g.{}.weight", theirs)}});
  }
  const auto add = [&](const std::vector<GoldenName>& more) {
    names.insert(names.end(), more.begin(), more.end());
  };
  add(norm_names("generator/middle_norm", "g.mid_bn"));
  for (int block = 0; block < 5; ++block) {
    const std::string ours = fmt::format("generator/block{}", block + 1);
    const std::string theirs = fmt::format("g.blocks.{}", block);
    for (int i = 1; i <= 2; ++i) {
      names.push_back(
          {fmt::format("{}/conv{}/weight", ours, i), {fmt::format("{}.conv{}.weight", theirs, i)}});
      add(norm_names(fmt::format("{}/norm{}", ours, i), fmt::format("{}.bn{}", theirs, i)));
    }
  }
  return names;
}

std::vector<GoldenName> discriminator_names() {
  std::vector<GoldenName> names;
  for (int i = 0; i < 8; ++i) {
    // A list of convolution, leaky ReLU and batch norm, the last not behind the first one.
    const int conv = i == 0 ? 0 : 3 * i - 1;
    names.push_back({fmt::format("discriminator/conv{}/weight", i + 1),
                     {fmt::format("d.features.{}.weight", conv)}});
    if (i > 0) {
      const std::vector<GoldenName> more = norm_names(fmt::format("discriminator/norm{}", i + 1),
                                                      fmt::format("d.features.{}", conv + 2));
      names.insert(names.end(), more.begin(), more.end());
    }
  }
  for (int i = 1; i <= 2; ++i) {
    for (const char* part : {"weight", "bias"}) {
      names.push_back(
          {fmt::format("discriminator/dense{}/{}", i, part), {fmt::format("d.fc{}.{}", i, part)}});
    }
  }
  return names;
}

/// SRGAN as a golden file has it: of any width and size.
class GoldenSrgan {
 public:
  GoldenSrgan(const GoldenPlace& place, const std::string& file)
      : bench_(place.device()), dtype_(place.dtype), golden_(file, bench_, dtype_) {
    const std::vector<GoldenName> more = discriminator_names();
    names_.insert(names_.end(), more.begin(), more.end());
    const Shape high = golden_.shape("input/high");
    srgan_ =
        std::make_unique<Srgan>(SrganOptions{.width = golden_.shape("before/g.first.weight")[0]},
                                InitOptions{}, Shape{high[1], high[2], high[3]}, parameters_);
    golden_.load(parameters_, names_);
    std::vector<VggMap> maps;
    for (const char* layer :
         {"block1_conv2", "block2_conv2", "block3_conv4", "block4_conv4", "block5_conv4"}) {
      maps.push_back({layer});
    }
    auto features = std::make_unique<VggFeatures>(VggNet::kVgg19, maps, VggInput::kAsIs,
                                                  golden_.shape("before/vgg.0.weight")[0]);
    load_vgg(*features);
    srgan_->content().set(std::move(features), maps, std::vector<double>(maps.size(), 1.0), 0.0);
  }

  void expect_steps(int steps) {
    GoldenAdam adam(bench_, parameters_, dtype_, 1e-4, "discriminator/");
    const std::vector<std::string> terms = {"g", "content", "d"};
    std::vector<std::vector<double>> losses(terms.size());
    for (int step = 0; step < steps; ++step) {
      GradientStore store(bench_, parameters_);
      const std::vector<double> sums = pass(store);
      adam.update(store);
      losses[0].push_back(sums[0]);
      losses[1].push_back(sums[1]);
      losses[2].push_back(sums[4]);
      if (step == 0) {
        for (std::size_t i = 0; i < terms.size(); ++i) {
          golden_.expect("loss/" + terms[i], losses[i]);
        }
        golden_.expect_gradients(store, parameters_, names_);
        golden_.expect_after(parameters_, names_);
      }
    }
    for (std::size_t i = 0; steps > 1 && i < terms.size(); ++i) {
      golden_.expect_first("trace/" + terms[i], losses[i]);
    }
  }

 private:
  /// Terms' means over the images.
  std::vector<double> pass(GradientStore& store) {
    const Tensor high = golden_.tensor("input/high");
    const double scale = 1 / static_cast<double>(high.shape()[0]);
    Tape tape(bench_.device(), bench_.queue());
    Context context{bench_.device(), bench_.queue(), &tape, true, {}};
    ShardStep step{context, store, "gan", high, {}, scale};
    std::vector<double> sums = srgan_->train_both(step, golden_.tensor("input/low"));
    for (double& sum : sums) {
      sum *= scale;
    }
    return sums;
  }

  void load_vgg(VggFeatures& features) const {
    features.initialize(bench_.device(), bench_.queue(), RngKey(1), dtype_);
    int parameter = 0;
    for (const int at : {0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34}) {
      for (const char* part : {"weight", "bias"}) {
        const Tensor from = golden_.tensor(fmt::format("before/vgg.{}.{}", at, part));
        const Tensor to = features.parameters()[parameter++];
        ASSERT_EQ(from.elements(), to.elements());
        bench_.device().to_device(bench_.queue(), from.data(), to.data(), to.bytes());
      }
    }
  }

  Workbench bench_;
  DType dtype_;
  GoldenStep golden_;
  std::vector<GoldenName> names_ = generator_names();
  ParameterSet parameters_;
  std::unique_ptr<Srgan> srgan_;
};

class GoldenSrganTest : public ::testing::TestWithParam<GoldenPlace> {};

TEST_P(GoldenSrganTest, StepsAreThoseOfPyTorch) {
  GoldenSrgan(GetParam(), GENTRAIN_SOURCE_DIR "/tests/golden/srgan.h5")
      .expect_steps(GetParam().steps);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenSrganTest, ::testing::Values(kCpu, kReference), place_name);

test::CountingDevice& counting_cpu_device() {
  static test::CountingDevice device(test::cpu_device());
  return device;
}

Device& counting_cpu() {
  return counting_cpu_device();
}

/// Which kernels computed what.
void print_convolutions() {
  for (const test::ConvCalls& calls : counting_cpu_device().convolutions()) {
    const ConvGeometry& g = calls.geometry;
    fmt::print("{} of {} to {} channels, {}x{}, stride {}: {} ({} times)\n", calls.pass,
               g.x_shape().str(), g.oc, g.kh, g.kw, g.stride_h,
               name_of(cpu::conv_kind(calls.operation, g)), calls.count);
  }
}

/// The real widths and images: a file of hundreds of megabytes, made as tests/golden/README.md
/// says.
TEST(GoldenSrganFull, StepIsThatOfPyTorch) {
  const char* file = std::getenv("GENTRAIN_GOLDEN_SRGAN");
  if (file == nullptr) {
    GTEST_SKIP() << "GENTRAIN_GOLDEN_SRGAN names no file of the full networks";
  }
  GoldenSrgan({"counted", counting_cpu, DType::kF32, 1}, file).expect_steps(1);
  print_convolutions();
}

}  // namespace
}  // namespace gentrain::trainers
