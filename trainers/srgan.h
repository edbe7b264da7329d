// SRGAN's objective: in the stage `mse` the generator learns to give back the pixels, in the stage
// `gan` to give back what a network sees in them and to deceive the discriminator, which learns to
// tell its images from photographs.
// Source: Ledig et al. 2017, arXiv:1609.04802; least squares: Mao et al. 2017, arXiv:1611.04076.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainers/content_loss.h"
#include "trainers/image_quality.h"
#include "trainers/models/srgan.h"
#include "trainers/objective.h"

namespace gentrain::trainers {

class Srgan final : public Objective {
 public:
  /// `image` [h, w, 3], h and w multiples of 4 from 12 on; values must be in -1..1. Throws JobError
  /// for other images, another blur or ema, and as the networks.
  Srgan(const SrganOptions& options, const InitOptions& init, const Shape& image,
        ParameterSet& parameters);

  /// Of an evaluation: "loss" (mean squared difference of pixels), "psnr" (dB) and "ssim" of the
  /// generated images, then the same of bicubic interpolation; "laplacian" (laplacian_energy()) of
  /// the generated images and "laplacian_original" of what they are to be like.
  [[nodiscard]] std::span<const std::string_view> names() const override;
  /// mse: "loss", as above. gan: "loss", the generator's; its parts "content" (of the maps),
  /// "pixels" and "adversarial" (unweighted); "discriminator", its loss; "real_right" and
  /// "generated_right", the shares of images that it takes for what they are; "content_gradient",
  /// "pixels_gradient" and "adversarial_gradient", the squared norms of the parts' gradients at a
  /// generated image. Throws JobError for another stage.
  [[nodiscard]] std::span<const std::string_view> names(std::string_view stage) const override;
  /// gan with alternating updates: the discriminator, then the generator.
  [[nodiscard]] std::vector<std::vector<Pattern>> passes(std::string_view stage) const override;
  /// Makes the network of the content loss and the maps' scales, where a stage `gan` takes steps.
  /// Throws JobError, IoError (see VggFeatures).
  void prepare(TrainingRun& run) override;
  /// The weights of the content loss.
  [[nodiscard]] std::string identity() const override;
  [[nodiscard]] std::vector<std::string> notes() const override;
  std::vector<double> train(ShardStep& step) const override;
  ObjectiveTerms compute(Context& context, const Tensor& x, const Tensor& labels,
                         double scale) const override;
  void forward(Context& context, const Tensor& x) const override;
  [[nodiscard]] const std::vector<LayerInfo>& layers() const override { return infos_; }
  [[nodiscard]] double training_flops(std::string_view stage, const ParameterSet& parameters,
                                      const std::vector<bool>& trainable) const override;
  /// Of the generator.
  [[nodiscard]] double forward_flops() const override {
    return forward_flops_per_image(generator_infos_);
  }
  [[nodiscard]] bool draws() const override { return true; }
  /// samples: of test images in rows what the generator sees, bicubic interpolation, what it makes
  /// of it, and the original.
  std::vector<Picture> pictures(const PictureSource& source) const override;

  /// What makes the images of evaluations and pictures: the generator by the averages of its
  /// weights, where there are any (SrganOptions::ema).
  [[nodiscard]] const Generator& generator() const { return average_ ? *average_ : generator_; }
  /// What evaluations know of bicubic interpolation so far.
  [[nodiscard]] const BicubicQuality& bicubic_quality() const { return bicubic_; }
  /// What prepare() makes ready.
  [[nodiscard]] ContentLoss& content() { return content_; }
  /// What prepare() takes from the job.
  void set(const AdversarialOptions& adversarial) { adversarial_ = adversarial; }
  /// train() of the stage gan, with the small images `low` [n, h/4, w/4, 3].
  std::vector<double> train_both(ShardStep& step, const Tensor& low) const;

 private:
  struct Terms;
  std::vector<double> train_on_pixels(ShardStep& step) const;
  std::vector<double> train_discriminator(ShardStep& step, const Tensor& low) const;
  std::vector<double> train_generator(ShardStep& step, const Tensor& low) const;
  /// What the generator sees of images [n, h, w, 3].
  [[nodiscard]] Tensor low_of(Context& context, const Tensor& x) const;
  std::pair<Tensor, double> score_loss(Context& context, const Tensor& scores, double target,
                                       double scale) const;
  Tensor discriminator_loss(Context& context, const Tensor& real_scores, const Tensor& scores,
                            double scale, Terms& terms) const;
  Tensor generator_loss(ShardStep& step, const Tensor& made, const Tensor& scores,
                        Terms& terms) const;
  [[nodiscard]] std::vector<double> finished(Terms terms, double scale) const;
  [[nodiscard]] double count_right(Context& context, const Tensor& scores, bool real) const;

  Shape image_;
  double blur_;
  double ema_;
  Generator generator_;
  Discriminator discriminator_;
  std::optional<Generator> average_;  // by averages of the generator's weights
  std::vector<LayerInfo> generator_infos_;
  std::vector<LayerInfo> discriminator_infos_;
  std::vector<LayerInfo> infos_;    // of both
  std::vector<bool> of_generator_;  // by parameter
  std::vector<bool> of_discriminator_;

  mutable BicubicQuality bicubic_;

  // Since prepare().
  ContentLoss content_;
  AdversarialOptions adversarial_;
};

}  // namespace gentrain::trainers
