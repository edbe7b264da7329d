// SRGAN's losses, and both networks' gradients from one forward pass.
#include "trainers/srgan.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "core/ops/ops.h"
#include "kernels/error.h"
#include "kernels/progress.h"
#include "trainers/image_quality.h"
#include "trainers/training.h"

namespace gentrain::trainers {

namespace {

constexpr std::string_view kPixelStage = "mse";
constexpr std::string_view kBothStage = "gan";
constexpr float kBlackValue = -1;  // of the values of images

const Shape& checked_image(const Shape& image) {
  constexpr std::int64_t kLeast = 12;  // what SSIM is computed over
  if (image.rank() != 3 || image[2] != 3 || image[0] % kUpscale != 0 || image[1] % kUpscale != 0 ||
      image[0] < kLeast || image[1] < kLeast) {
    throw JobError(
        fmt::format("model srgan takes colour images whose height and width are "
                    "multiples of {} from {} on, but they are {}",
                    kUpscale, kLeast, image.str()));
  }
  return image;
}

double checked_blur(double blur) {
  if (blur != 0 && !(blur >= kLeastBlur && blur <= kLargestBlur)) {
    throw JobError(fmt::format("model srgan: blur is {} but must be 0 or from {} to {}", blur,
                               kLeastBlur, kLargestBlur));
  }
  return blur;
}

double checked_ema(double ema) {
  if (!(ema >= 0 && ema < 1)) {
    throw JobError(fmt::format("model srgan: ema is {} but must be 0 or in (0, 1)", ema));
  }
  return ema;
}

/// Each pixel as a square.
image::Image enlarged(const image::Image& low) {
  image::Image large{low.h * kUpscale, low.w * kUpscale, low.c, {}};
  for (std::int64_t y = 0; y < large.h; ++y) {
    for (std::int64_t x = 0; x < large.w; ++x) {
      const auto* pixel = low.pixels.data() + (y / kUpscale * low.w + x / kUpscale) * low.c;
      large.pixels.insert(large.pixels.end(), pixel, pixel + low.c);
    }
  }
  return large;
}

image::Image bicubic(const image::Image& low) {
  return image::image_library().resize(low, low.h * kUpscale, low.w * kUpscale,
                                       image::Interpolation::kBicubic);
}

std::vector<bool> network_parameters(const ParameterSet& parameters, std::string_view network) {
  std::vector<bool> chosen;
  chosen.reserve(static_cast<std::size_t>(parameters.size()));
  for (int i = 0; i < parameters.size(); ++i) {
    chosen.push_back(parameters.info(i).name.starts_with(network));
  }
  return chosen;
}

/// Whether some of these parameters are trained.
bool wants_any(const ParameterGradients& gradients, const std::vector<bool>& parameters) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i] && gradients.wants(static_cast<int>(i))) {
      return true;
    }
  }
  return false;
}

}  // namespace

Srgan::Srgan(const SrganOptions& options, const InitOptions& init, const Shape& image,
             ParameterSet& parameters)
    : image_(checked_image(image)),
      blur_(checked_blur(options.blur)),
      ema_(checked_ema(options.ema)),
      generator_(options, {init.name, init.stddev}, parameters),
      discriminator_(options, {init.name, init.stddev}, image[0], image[1], parameters),
      generator_infos_(generator_.layers(image[0] / kUpscale, image[1] / kUpscale)),
      discriminator_infos_(discriminator_.layers()),
      of_generator_(network_parameters(parameters, "generator/")),
      of_discriminator_(network_parameters(parameters, "discriminator/")) {
  infos_ = generator_infos_;
  infos_.insert(infos_.end(), discriminator_infos_.begin(), discriminator_infos_.end());
  if (ema_ > 0) {
    parameters.add_averages(ema_, [&] {
      average_.emplace(options, Initializer{init.name, init.stddev}, parameters);
    });
  }
}

std::span<const std::string_view> Srgan::names() const {
  static constexpr std::array<std::string_view, 7> kNames = {
      "loss", "psnr", "ssim", "psnr_bicubic", "ssim_bicubic", "laplacian", "laplacian_original"};
  return kNames;
}

std::span<const std::string_view> Srgan::names(std::string_view stage) const {
  static constexpr std::array<std::string_view, 1> kOfPixels = {"loss"};
  static constexpr std::array<std::string_view, 10> kOfBoth = {"loss",
                                                               "content",
                                                               "pixels",
                                                               "adversarial",
                                                               "discriminator",
                                                               "real_right",
                                                               "generated_right",
                                                               "content_gradient",
                                                               "pixels_gradient",
                                                               "adversarial_gradient"};
  if (stage == kPixelStage) {
    return kOfPixels;
  }
  if (stage == kBothStage) {
    return kOfBoth;
  }
  throw JobError(
      fmt::format("model srgan has the stages mse and gan, but the job has a stage '{}'", stage));
}

std::vector<std::vector<Pattern>> Srgan::passes(std::string_view stage) const {
  if (stage == kPixelStage) {
    return {{{"generator/*", ""}}};
  }
  if (adversarial_.updates == AdversarialOptions::Updates::kAlternating) {
    return {{{"discriminator/*", ""}}, {{"generator/*", ""}}};
  }
  return {{Pattern{}}};
}

void Srgan::prepare(TrainingRun& run) {
  adversarial_ = run.options().adversarial;
  const auto& stages = run.options().stages;
  const bool needed = std::any_of(stages.begin(), stages.end(), [&](const StageOptions& stage) {
    return stage.name == kBothStage && planned_steps(stage.stop, run.loop_options()) > 0;
  });
  image::image_library();  // evaluations need it: where it is missing no step is taken
  if (needed) {
    content_.prepare(run);
  }
}

std::string Srgan::identity() const {
  return content_.identity();
}

std::vector<std::string> Srgan::notes() const {
  std::vector<std::string> notes = content_.notes();
  if (average_) {
    notes.push_back(
        fmt::format("generator: evaluations, pictures and the model are by averages of its weights "
                    "(model.ema {})",
                    ema_));
  }
  return notes;
}

/// The discriminator sees real and generated images; the generator's gradient goes through it and
/// through the content's network, which sees both too.
double Srgan::training_flops(std::string_view stage, const ParameterSet& parameters,
                             const std::vector<bool>& trainable) const {
  const double generator = training_flops_per_image(generator_infos_, parameters, trainable);
  if (stage == kPixelStage) {
    return generator;
  }
  const double generator_forward = forward_flops_per_image(generator_infos_);
  const double judged = training_flops_per_image(discriminator_infos_, parameters, trainable);
  const double judged_forward = forward_flops_per_image(discriminator_infos_);
  const double seen = 2.0 * content_.products(image_[0], image_[1]);
  bool trained = false;
  for (std::size_t i = 0; i < of_generator_.size(); ++i) {
    trained = trained || (of_generator_[i] && trainable[i]);
  }
  // Gradients of the inputs of all layers cost what a forward pass does.
  const double back = trained ? judged_forward + seen : 0.0;
  const double both = generator + 2 * judged + 2 * seen + back;
  return adversarial_.updates == AdversarialOptions::Updates::kTogether
             ? both
             : both + generator_forward + judged_forward;
}

Tensor Srgan::low_of(Context& context, const Tensor& x) const {
  return blur_ > 0 ? ops::gaussian_shrink(context, x, kUpscale, blur_)
                   : ops::average_pool2d(context, x, {kUpscale, kUpscale}, {kUpscale, kUpscale});
}

std::vector<double> Srgan::train(ShardStep& step) const {
  if (step.stage == kPixelStage) {
    return train_on_pixels(step);
  }
  Context constants = step.context;
  constants.tape = nullptr;
  const Tensor low = low_of(constants, step.x);
  if (adversarial_.updates == AdversarialOptions::Updates::kTogether) {
    return train_both(step, low);
  }
  return step.pass == 0 ? train_discriminator(step, low) : train_generator(step, low);
}

std::vector<double> Srgan::train_on_pixels(ShardStep& step) const {
  Context& context = step.context;
  ParameterGradients* const sets[] = {&step.gradients};
  context.tape->begin(sets);
  const Tensor made = generator_.forward(context, low_of(context, step.x));
  const auto elements = static_cast<double>(image_.elements());
  const ops::SquaredError error = ops::squared_error(context, made, step.x, step.scale / elements);
  const double sum = sum_of(context, error.rows) / elements;
  context.tape->backward(error.loss);
  return {sum};
}

std::pair<Tensor, double> Srgan::score_loss(Context& context, const Tensor& scores, double target,
                                            double scale) const {
  if (adversarial_.loss == AdversarialOptions::Loss::kLeastSquares) {
    const ops::SquaredError error = ops::squared_error(context, scores, target, scale);
    return {error.loss, sum_of(context, error.rows)};
  }
  const ops::SigmoidCrossEntropy entropy =
      ops::sigmoid_cross_entropy(context, scores, target, scale);
  return {entropy.loss, sum_of(context, entropy.rows)};
}

/// Images that the discriminator takes for what they are.
double Srgan::count_right(Context& context, const Tensor& scores, bool real) const {
  const double middle = adversarial_.loss == AdversarialOptions::Loss::kLeastSquares ? 0.5 : 0.0;
  const std::vector<double> values = values_of(context, scores);
  return static_cast<double>(std::count_if(values.begin(), values.end(),
                                           [&](double value) { return (value > middle) == real; }));
}

/// What a step of the stage gan tells, in the order of names().
struct Srgan::Terms {
  double content = 0;
  double pixels = 0;
  double adversarial = 0;
  double discriminator = 0;
  double real_right = 0;
  double generated_right = 0;
  double content_gradient = 0;
  double pixels_gradient = 0;
  double adversarial_gradient = 0;

  [[nodiscard]] std::vector<double> values(double weight) const {
    return {content + pixels + weight * adversarial,
            content,
            pixels,
            adversarial,
            discriminator,
            real_right,
            generated_right,
            content_gradient,
            pixels_gradient,
            adversarial_gradient};
  }
};

Tensor Srgan::discriminator_loss(Context& context, const Tensor& real_scores, const Tensor& scores,
                                 double scale, Terms& terms) const {
  const auto [real_loss, real_sum] = score_loss(context, real_scores, 1.0, scale / 2);
  const auto [made_loss, made_sum] = score_loss(context, scores, 0.0, scale / 2);
  terms.discriminator = (real_sum + made_sum) / 2;
  terms.real_right = count_right(context, real_scores, true);
  terms.generated_right = count_right(context, scores, false);
  return ops::add(context, real_loss, made_loss);
}

/// Measures the parts of the gradient that come of the maps and of the pixels; the adversarial one
/// is measured where `scores` come from.
Tensor Srgan::generator_loss(ShardStep& step, const Tensor& made, const Tensor& scores,
                             Terms& terms) const {
  Context& context = step.context;
  const auto [adversarial, adversarial_sum] =
      score_loss(context, scores, 1.0, step.scale * adversarial_.weight);
  const ContentLoss::Result content =
      content_.compute(context,
                       {ops::probe(context, made, terms.content_gradient),
                        ops::probe(context, made, terms.pixels_gradient)},
                       step.x, step.scale);
  terms.adversarial = adversarial_sum;
  terms.content = content.maps;
  terms.pixels = content.pixels;
  return ops::add(context, content.loss, adversarial);
}

/// The discriminator sees the generated images once; its loss goes back into its own parameters,
/// the generator's through it and through the content's network into the generator.
std::vector<double> Srgan::train_both(ShardStep& step, const Tensor& low) const {
  Context& context = step.context;
  Tape& tape = *context.tape;
  ParameterGradients* const sets[] = {&step.gradients};
  tape.begin(sets);
  Terms terms;
  const Tensor made = generator_.forward(context, low);
  const Tensor real_scores = discriminator_.forward(context, step.x, 2);
  const Tensor scores =
      discriminator_.forward(context, ops::probe(context, made, terms.adversarial_gradient), 2);

  const Tensor of_discriminator =
      discriminator_loss(context, real_scores, scores, step.scale, terms);
  const Tensor of_generator = generator_loss(step, made, scores, terms);
  // The generator's loss goes first: what it goes through, the discriminator's weights, may change
  // as soon as all shards have completed their gradients.
  if (wants_any(step.gradients, of_generator_)) {
    PartOfGradients to_generator(step.gradients, of_generator_);
    ParameterGradients* const generator[] = {&to_generator};
    tape.backward(of_generator, generator, Tape::Graph::kKeep);
  }
  if (wants_any(step.gradients, of_discriminator_)) {
    PartOfGradients to_discriminator(step.gradients, of_discriminator_);
    ParameterGradients* const discriminator[] = {&to_discriminator};
    tape.backward(of_discriminator, discriminator, Tape::Graph::kFree);
  }
  return finished(terms, step.scale);
}

/// Images by the generator as it is, which learns nothing here.
std::vector<double> Srgan::train_discriminator(ShardStep& step, const Tensor& low) const {
  Context& context = step.context;
  ParameterGradients* const sets[] = {&step.gradients};
  context.tape->begin(sets);
  Context constants = context;
  constants.tape = nullptr;
  const Tensor made = generator_.forward(constants, low);
  Terms terms;
  const Tensor real_scores = discriminator_.forward(context, step.x, 2);
  const Tensor loss = discriminator_loss(
      context, real_scores, discriminator_.forward(context, made, 2), step.scale, terms);
  if (wants_any(step.gradients, of_discriminator_)) {
    context.tape->backward(loss);
  }
  return finished(terms, step.scale);
}

std::vector<double> Srgan::train_generator(ShardStep& step, const Tensor& low) const {
  Context& context = step.context;
  ParameterGradients* const sets[] = {&step.gradients};
  context.tape->begin(sets);
  Terms terms;
  const Tensor made = generator_.forward(context, low);
  const Tensor scores =
      discriminator_.forward(context, ops::probe(context, made, terms.adversarial_gradient), 1);
  const Tensor loss = generator_loss(step, made, scores, terms);
  if (wants_any(step.gradients, of_generator_)) {
    context.tape->backward(loss);
  }
  return finished(terms, step.scale);
}

std::vector<double> Srgan::finished(Terms terms, double scale) const {
  const double unscaled = 1 / (scale * scale);
  terms.content_gradient *= unscaled;
  terms.pixels_gradient *= unscaled;
  terms.adversarial_gradient *= unscaled;
  return terms.values(adversarial_.weight);
}

ObjectiveTerms Srgan::compute(Context& context, const Tensor& x, const Tensor& /*labels*/,
                              double /*scale*/) const {
  const Tensor low = low_of(context, x);
  const Tensor made = generator().forward(context, low);
  const auto elements = static_cast<double>(image_.elements());
  const double loss = sum_of(context, ops::squared_error(context, made, x, 1.0).rows) / elements;
  const std::vector<image::Image> originals = images_of(context, x, kBlackValue);
  const std::vector<image::Image> small = images_of(context, low, kBlackValue);
  const std::vector<image::Image> large = images_of(context, made, kBlackValue);
  std::vector<double> sums{loss, 0, 0, 0, 0, 0, 0};
  for (std::size_t i = 0; i < originals.size(); ++i) {
    progress::tick();
    const ImageQuality interpolated = bicubic_.of(small[i], originals[i]);
    sums[1] += psnr(large[i], originals[i]);
    sums[2] += ssim(large[i], originals[i]);
    sums[3] += interpolated.psnr;
    sums[4] += interpolated.ssim;
    sums[5] += laplacian_energy(large[i]);
    sums[6] += laplacian_energy(originals[i]);
  }
  return {{}, std::move(sums)};
}

void Srgan::forward(Context& context, const Tensor& x) const {
  generator().forward(context, low_of(context, x));
}

std::vector<Picture> Srgan::pictures(const PictureSource& source) const {
  constexpr std::int64_t kImages = 8;
  constexpr std::int64_t kColumns = 4;
  Context& context = source.context;
  std::vector<std::int64_t> indices(
      static_cast<std::size_t>(std::min(kImages, source.test.size())));
  std::iota(indices.begin(), indices.end(), std::int64_t{0});
  const Tensor x = read_images(context, source.test, source.normalization, indices);
  const Tensor low = low_of(context, x);
  const std::vector<image::Image> originals = images_of(context, x, kBlackValue);
  const std::vector<image::Image> small = images_of(context, low, kBlackValue);
  const std::vector<image::Image> large =
      images_of(context, generator().forward(context, low), kBlackValue);
  std::vector<image::Image> rows;
  for (std::size_t i = 0; i < originals.size(); ++i) {
    rows.insert(rows.end(), {enlarged(small[i]), bicubic(small[i]), large[i], originals[i]});
  }
  return {{"samples", sheet(rows, kColumns)}};
}

}  // namespace gentrain::trainers
