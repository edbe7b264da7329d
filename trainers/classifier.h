// The classifier's objective: softmax cross entropy, and how many images are right.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "trainers/objective.h"

namespace gentrain::trainers {

/// What an image of each class counts so that all classes count alike: images / (classes * images
/// of the class), as scikit-learn's "balanced". The mean over the images is 1.
///
/// Throws JobError naming a class without images, or a label that is none.
std::vector<float> balanced_class_weights(const data::Dataset& dataset);

/// The name of a class out of those of a data set; "class 3" where it has none.
std::string class_name(const std::vector<std::string>& names, std::int64_t index);

class Classifier final : public Objective {
 public:
  explicit Classifier(std::unique_ptr<Network> network) : network_(std::move(network)) {}
  [[nodiscard]] std::span<const std::string_view> names() const override;
  ObjectiveTerms compute(Context& context, const Tensor& x, const Tensor& labels,
                         double scale) const override;
  /// Reads the weights of a pretrained network, and counts the training set's classes where the job
  /// weighs them.
  void prepare(TrainingRun& run) override;
  /// The weights' file that a pretrained network began with.
  [[nodiscard]] std::string identity() const override { return identity_; }
  [[nodiscard]] std::vector<std::string> notes() const override { return notes_; }
  /// With the weights of the classes, if there are any: the loss is Keras's, the sum of each
  /// image's loss times its class's weight, over the number of images.
  std::vector<double> train(ShardStep& step) const override;
  void forward(Context& context, const Tensor& x) const override;
  [[nodiscard]] const std::vector<LayerInfo>& layers() const override { return network_->layers(); }
  [[nodiscard]] const Network* classifier() const override { return network_.get(); }
  /// Sets what the images of each class count in train(); empty: all alike.
  void set_class_weights(std::vector<float> weights) { class_weights_ = std::move(weights); }

 private:
  /// The weight of each row's class, [n]; undefined without weights.
  [[nodiscard]] Tensor row_weights(Context& context, const Tensor& labels) const;
  /// logits [n, classes]; weights as row_weights()
  static ObjectiveTerms terms(Context& context, const Tensor& logits, const Tensor& labels,
                              double scale, const Tensor& weights);

  std::unique_ptr<Network> network_;
  std::vector<float> class_weights_;
  std::string identity_;
  std::vector<std::string> notes_;
};

}  // namespace gentrain::trainers
