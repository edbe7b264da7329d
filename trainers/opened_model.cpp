// Opening: each kind of model becomes a graph with named tensors, or a classifier of gentrain's.
#include "trainers/opened_model.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/graph/keras_import.h"
#include "core/io/posix_file.h"
#include "core/ops/ops.h"
#include "core/pattern.h"
#include "kernels/error.h"
#include "trainers/class_list.h"
#include "trainers/contract.h"
#include "trainers/models/layer_graph.h"
#include "trainers/models/pretrained.h"
#include "trainers/pretrained_weights.h"
#include "trainers/weight_files.h"

namespace gentrain::trainers {

namespace {

namespace fs = std::filesystem;

constexpr const char* kModelOfRun = "model.h5";
constexpr int kImageNetClasses = 1000;
constexpr std::uint64_t kRandomWeights = 1;

bool is_built_in(const std::string& name) {
  return std::ranges::find(kPretrainedNames, name) != kPretrainedNames.end();
}

/// The model's file: of a run's folder the one in it. Throws IoError where nothing is there.
fs::path file_of(const std::string& model) {
  const fs::path path(model);
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return path / kModelOfRun;
  }
  if (!io::is_there(path)) {
    throw IoError(
        fmt::format("{}: No such file: a model file, the folder of a run, a model of Keras or "
                    "ONNX, or one of {} was expected",
                    model, fmt::join(kPretrainedNames, ", ")));
  }
  return path;
}

/// Whether gentrain wrote the file, whatever is in it, and if it was cut short too.
bool is_own(const fs::path& path) {
  constexpr std::string_view kMagic = "gentrain";
  io::PosixFile file(path, O_RDONLY | O_NONBLOCK);  // a pipe would wait for its writer
  file.require_regular();
  std::string begin(kMagic.size(), '\0');
  begin.resize(file.read(begin.data(), begin.size()));
  return begin == kMagic;
}

std::vector<int> as_they_are(int rank) {
  std::vector<int> axes(static_cast<std::size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

ModelTensor tensor_of(const graph::Graph& graph, int node) {
  const graph::Node& of = graph.node(node);
  return {of.name, node, of.shape, as_they_are(of.shape.rank()), false};
}

ModelTensor tensor_of(const graph::Graph& graph, const graph::ImportedTensor& imported) {
  const Shape& shape = graph.node(imported.node).shape;
  std::vector<int> axes = imported.axes;
  const bool is_rows = !axes.empty() && axes[0] < 0;
  std::vector<std::int64_t> extents(axes.size());
  for (std::size_t i = 0; i < axes.size(); ++i) {
    axes[i] += is_rows ? 1 : 0;
    extents.at(static_cast<std::size_t>(axes[i])) = shape[static_cast<int>(i)];
  }
  return {imported.name, imported.node, Shape(extents), std::move(axes), is_rows};
}

std::vector<ModelTensor> tensors_of(const graph::Graph& graph,
                                    const std::vector<graph::ImportedTensor>& imported) {
  std::vector<ModelTensor> tensors;
  for (const graph::ImportedTensor& tensor : imported) {
    tensors.push_back(tensor_of(graph, tensor));
  }
  return tensors;
}

std::string text_of(const std::vector<ModelTensor>& tensors) {
  std::vector<std::string> texts;
  for (const ModelTensor& tensor : tensors) {
    texts.push_back(fmt::format("{} {}", tensor.name, tensor.shape.str()));
  }
  return texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "));
}

/// Whether a sample is a row of numbers, however many axes of extent 1 stand beside it.
bool is_row(const Shape& shape) {
  const auto extents = shape.extents();
  return shape.rank() > 0 && shape.elements() == *std::max_element(extents.begin(), extents.end());
}

/// The node whose values another one only passes on.
const graph::Node& behind_names(const graph::Graph& graph, int node) {
  const graph::Node* of = &graph.node(node);
  while (std::holds_alternative<graph::Identity>(of->kind) ||
         std::holds_alternative<graph::Reshape>(of->kind) ||
         std::holds_alternative<graph::Flatten>(of->kind) ||
         std::holds_alternative<graph::Permute>(of->kind) ||
         std::holds_alternative<graph::Dropout>(of->kind)) {
    of = &graph.node(of->inputs[0]);
  }
  return *of;
}

Activation activation_of(const graph::NodeKind& kind) {
  return std::visit(
      graph::Overloaded{[](const graph::Activate& node) { return node.activation; },
                        [](const graph::Dense& node) { return node.activation; },
                        [](const graph::Convolution& node) { return node.activation; },
                        [](const auto& /*node*/) { return Activation::kNone; }},
      kind);
}

void load(const std::vector<graph::ImportedArray>& arrays, const std::string& file, Device& device,
          Queue& queue, ParameterSet& parameters) {
  std::vector<bool> seen(static_cast<std::size_t>(parameters.size()));
  for (const graph::ImportedArray& array : arrays) {
    const int index = parameters.find(array.parameter);
    if (index < 0) {
      throw IoError(fmt::format("{}: the network has no parameter {}", file, array.parameter));
    }
    copy_from_host<float>(device, queue, array.values, parameters[index]);
    seen[static_cast<std::size_t>(index)] = true;
  }
  const auto missing = std::ranges::find(seen, false);
  if (missing != seen.end()) {
    throw IoError(fmt::format("{}: holds no values of {}", file,
                              parameters.info(static_cast<int>(missing - seen.begin())).name));
  }
  parameters.mark_changed();
}

/// Pictures that a built-in network's weights take.
Shape image_of(const std::string& network) {
  const std::int64_t side = network == "inception_v3" ? 299 : network == "squeezenet" ? 227 : 224;
  return {side, side, 3};
}

/// Nothing may be missing that the wanted nodes need; layers of the original top may be left over.
graph::KerasRules rules_for(const graph::Graph& graph, const ModelOptions& options,
                            const std::vector<int>& wanted, const ParameterSet& parameters,
                            const io::KerasWeights& file) {
  graph::KerasRules rules;
  const std::vector<bool> needed = graph::needed_for(graph, wanted);
  for (int i = 0; i < graph.size(); ++i) {
    const std::string& name = graph.node(i).name;
    if (!needed[static_cast<std::size_t>(i)] && !parameter_names(parameters, name).empty()) {
      rules.allow_missing.push_back(name);
    }
  }
  ModelOptions original = options;
  original.pretrained.top = PretrainedOptions::Top::kOriginal;
  const graph::Graph whole = make_graph(original, graph.node(graph.inputs()[0]).shape, 1);
  for (int i = 0; i < whole.size(); ++i) {
    const std::string& layer = whole.node(i).name;
    if (graph.find(layer) < 0 && file.has(layer)) {
      rules.allow_extra.push_back(layer);
    }
  }
  return rules;
}

}  // namespace

OpenedModel::OpenedModel(const ModelChoice& choice, Device& device, Queue& queue)
    : device_(device), name_(choice.model) {
  if (is_built_in(choice.model)) {
    open_built_in(choice, device, queue);
  } else {
    if (!choice.weights.empty()) {
      throw JobError(
          fmt::format("--weights: {} has its own weights; built-in networks have none: "
                      "{}",
                      choice.model, fmt::join(kPretrainedNames, ", ")));
    }
    files_.push_back(file_of(choice.model));
    if (is_own(files_[0])) {
      open_own(choice, device, queue);
    } else {
      open_imported(choice, device, queue);
    }
  }
  if (choice.fit) {
    fit_ = *choice.fit;
  }
  name_classes(choice.classes);
}

void OpenedModel::open_own(const ModelChoice& choice, Device& device, Queue& queue) {
  if (choice.preprocessing) {
    throw JobError(fmt::format(
        "--preprocess: {} says itself what becomes of pixels, as it was trained", choice.model));
  }
  own_ = load_model(file_of(choice.model), device, queue);
  const ModelDescription& d = own_.description;
  kind_ = fmt::format("{}, gentrain's", called(d.model));
  sha256_ = weights_sha256(device, queue, *own_.parameters);
  fit_ = d.fit;
  class_names_ = d.class_names;
  network_ = own_.objective->classifier();
  if (network_ == nullptr) {
    return;
  }
  image_ = d.image;
  classes_ = d.classes;
  graph_network_ = dynamic_cast<const GraphNetwork*>(network_);
  if (graph_network_ == nullptr && has_layer_graph(d.model)) {
    executor_ = std::make_unique<graph::Executor>(layer_graph(d.model, d.image, d.classes),
                                                  *own_.parameters);
  }
  if (graph() != nullptr) {
    take_graph_tensors();
  }
}

void OpenedModel::open_imported(const ModelChoice& choice, Device& device, Queue& queue) {
  graph::ImportedModel model = graph::import_model(file_of(choice.model));
  kind_ = model.writer;
  sha256_ = model.sha256;
  parameters_ = std::make_unique<ParameterSet>();
  graph::register_parameters(model.graph, *parameters_, {});
  parameters_->allocate(device, queue);
  load(model.arrays, choice.model, device, queue, *parameters_);
  inputs_ = tensors_of(model.graph, model.inputs);
  outputs_ = tensors_of(model.graph, model.outputs);
  layers_ = tensors_of(model.graph, model.layers);
  executor_ = std::make_unique<graph::Executor>(std::move(model.graph), *parameters_);
  preprocessing_ = choice.preprocessing.value_or(Preprocessing::kNone);
  if (!model.training_only.empty()) {
    notes_.push_back(fmt::format("passed over, as they act in training alone: {}",
                                 fmt::join(model.training_only, ", ")));
  }
  find_image();
  find_output();
  if (!choice.preprocessing && image_) {
    notes_.emplace_back(
        "preprocess: none, pixels are 0 to 255; the file does not say what it was trained on: take "
        "--preprocess inception, caffe or torch where that is it");
  }
}

void OpenedModel::open_built_in(const ModelChoice& choice, Device& device, Queue& queue) {
  ModelOptions options;
  options.name = choice.model;
  options.pretrained.top = choice.top;
  kind_ = choice.model;
  parameters_ = std::make_unique<ParameterSet>();
  graph::Graph graph = make_graph(options, image_of(choice.model), kImageNetClasses);
  graph::register_parameters(graph, *parameters_, {Initializer::Kind::kKaimingNormal, 0});
  std::vector<int> wanted;
  for (const std::string& layer : choice.layers) {
    wanted.push_back(graph.index_of(layer));
  }
  wanted = wanted.empty() ? graph.outputs() : wanted;
  parameters_->allocate(device, queue);
  if (choice.without_weights) {
    sha256_ = "";
  } else if (choice.weights == "random") {
    parameters_->initialize(device, queue, RngKey(kRandomWeights));
    notes_.emplace_back("weights: drawn at random, they have learned nothing");
    sha256_ = weights_sha256(device, queue, *parameters_);
  } else {
    const fs::path path =
        choice.weights.empty() ? find_weights_file(choice.model) : fs::path(choice.weights);
    files_.push_back(path);
    const io::KerasWeights file(path);
    const graph::KerasReport report = graph::read_keras_weights(
        graph, file, rules_for(graph, options, wanted, *parameters_, file), *parameters_, device,
        queue);
    sha256_ = report.file_sha256;
    notes_.push_back(fmt::format("weights: {}", path.string()));
  }
  executor_ = std::make_unique<graph::Executor>(std::move(graph), *parameters_);
  preprocessing_ = choice.preprocessing.value_or(takes_bgr(options) ? Preprocessing::kCaffe
                                                                    : Preprocessing::kInception);
  take_graph_tensors();
  find_image();
  if (choice.top == PretrainedOptions::Top::kOriginal) {
    find_output();
  }
}

void OpenedModel::take_graph_tensors() {
  const graph::Graph& of = *graph();
  for (const int node : of.inputs()) {
    inputs_.push_back(tensor_of(of, node));
  }
  for (const int node : of.outputs()) {
    outputs_.push_back(tensor_of(of, node));
  }
}

/// A model of one input takes pictures, if that is one.
void OpenedModel::find_image() {
  if (inputs_.size() != 1) {
    return;
  }
  if (const auto picture = picture_axes(graph()->node(inputs_[0].node).shape)) {
    image_ = picture->image;
    order_ = picture->order;
  }
  const bool coloured =
      preprocessing_ == Preprocessing::kCaffe || preprocessing_ == Preprocessing::kTorch;
  if (image_ && coloured && (*image_)[2] != 3) {
    throw JobError(fmt::format("--preprocess {}: {} takes grey images, {}", name_of(preprocessing_),
                               name_, image_->str()));
  }
}

void OpenedModel::find_output() {
  if (outputs_.size() != 1 || !is_row(outputs_[0].shape)) {
    return;
  }
  const auto count = static_cast<int>(outputs_[0].shape.elements());
  const graph::Node& last = behind_names(*graph(), outputs_[0].node);
  const auto* const softmax = std::get_if<graph::Softmax>(&last.kind);
  const auto* const pointwise = std::get_if<graph::Pointwise>(&last.kind);
  const bool sigmoid =
      activation_of(last.kind) == Activation::kSigmoid ||
      (pointwise != nullptr && pointwise->rule.function == PointwiseFunction::kHardSigmoid);
  if (count == 1 && !sigmoid) {
    return;  // one number, as of a regression, tells no classes apart
  }
  classes_ = count == 1 ? 2 : count;
  if (softmax != nullptr) {
    output_ = softmax->log ? Output::kLogarithms : Output::kProbabilities;
  } else if (sigmoid && count == 1) {
    output_ = Output::kOneSigmoid;
    notes_.emplace_back("probabilities: the model's one sigmoid is that of class 1 of two");
  } else if (sigmoid) {
    output_ = Output::kSigmoids;
    notes_.emplace_back("probabilities: the model's sigmoids, each class for itself");
  } else {
    notes_.push_back(fmt::format("probabilities: a softmax of the model's output {}, which is none",
                                 outputs_[0].name));
  }
}

void OpenedModel::name_classes(const std::string& file) {
  if (classes_ == 0) {
    if (!file.empty()) {
      throw JobError(fmt::format("--classes: {} tells no classes apart", name_));
    }
    return;
  }
  if (!file.empty()) {
    class_names_ = read_class_list(file, classes_);
  } else if (class_names_.empty() && classes_ == kImageNetClasses) {
    if (const fs::path found = find_class_list(); !found.empty()) {
      class_names_ = read_class_list(found, classes_);
      notes_.push_back(fmt::format("classes: {}", found.string()));
    }
  }
}

const Shape& OpenedModel::image() const {
  if (!image_) {
    if (own_.objective != nullptr) {
      throw JobError(fmt::format("{} holds a {}, which predicts no classes", name_,
                                 called(own_.description.model)));
    }
    throw JobError(
        fmt::format("{} takes no pictures but {}: `gentrain features` takes arrays of such a model",
                    name_, text_of(inputs_)));
  }
  return *image_;
}

int OpenedModel::classes() const {
  static_cast<void>(image());
  if (classes_ == 0) {
    throw JobError(fmt::format(
        "{} predicts no classes: that takes one output of a number for each class, there is {}",
        name_, text_of(outputs_)));
  }
  return classes_;
}

Tensor OpenedModel::prepared(Context& context, std::span<const std::uint8_t> pixels,
                             std::int64_t n) const {
  const Shape& shape = image();
  if (network_ != nullptr) {
    return normalized_images(context, pixels, n, shape, own_.description.test_normalization);
  }
  const std::vector<float> values =
      preprocessed(preprocessing_, pixels, shape[0] * shape[1], shape[2], order_);
  const Tensor x =
      Tensor::empty(context.device, batch_shape(n, graph()->node(inputs_[0].node).shape));
  copy_from_host<float>(context.device, context.queue, values, x);
  return x;
}

std::vector<float> OpenedModel::probabilities(Context& context,
                                              std::span<const std::uint8_t> pixels,
                                              std::int64_t n) const {
  const int count = classes();
  const Tensor x = prepared(context, pixels, n);
  Tensor y;
  if (network_ != nullptr) {
    y = network_->forward(context, x);
  } else {
    y = compute(context, {&x, 1}, {&outputs_[0].node, 1})[0].reshaped(
        {n, output_ == Output::kOneSigmoid ? 1 : count});
  }
  if (output_ == Output::kLogits) {
    y = ops::softmax(context, y);
  }
  std::vector<float> values = copy_to_host<float>(context.device, context.queue, y);
  if (output_ == Output::kLogarithms) {
    std::ranges::transform(values, values.begin(), [](float value) { return std::exp(value); });
  } else if (output_ == Output::kOneSigmoid) {
    std::vector<float> both;
    for (const float value : values) {
      both.insert(both.end(), {1 - value, value});
    }
    return both;
  }
  return values;
}

ModelTensor OpenedModel::layer(const std::string& name) const {
  if (graph() == nullptr) {
    throw JobError(fmt::format("{}: the layers of a {} cannot be asked for by name", name_,
                               called(own_.description.model)));
  }
  if (layers_.empty()) {
    try {
      return tensor_of(*graph(), graph()->index_of(name));
    } catch (const JobError& error) {
      throw JobError(fmt::format("--layer: {}: {}", name_, error.what()));
    }
  }
  const auto found = std::ranges::find(layers_, name, &ModelTensor::name);
  if (found == layers_.end()) {
    std::vector<std::string> known;
    std::ranges::transform(layers_, std::back_inserter(known), &ModelTensor::name);
    throw JobError(fmt::format("--layer: {}: the network has no layer '{}' (known: {})", name_,
                               name, listed_near(name, std::move(known))));
  }
  return *found;
}

std::vector<Tensor> OpenedModel::compute(Context& context, std::span<const Tensor> inputs,
                                         std::span<const int> nodes) const {
  if (graph_network_ != nullptr) {
    return graph_network_->compute(context, inputs[0], nodes);
  }
  return compute_graph(context, inputs, nodes);
}

std::vector<Tensor> OpenedModel::compute_graph(Context& context, std::span<const Tensor> inputs,
                                               std::span<const int> nodes) const {
  if (graph() == nullptr) {
    throw JobError(fmt::format("{}: the layers of a {} cannot be asked for by name", name_,
                               called(own_.description.model)));
  }
  const graph::Executor& executor =
      graph_network_ != nullptr ? graph_network_->executor() : *executor_;
  return executor.compute(context, inputs, nodes);
}

const graph::Graph* OpenedModel::graph() const {
  if (graph_network_ != nullptr) {
    return &graph_network_->executor().graph();
  }
  return executor_ == nullptr ? nullptr : &executor_->graph();
}

const ParameterSet& OpenedModel::parameters() const {
  return parameters_ != nullptr ? *parameters_ : *own_.parameters;
}

std::vector<LayerInfo> OpenedModel::layer_infos() const {
  return own_.objective == nullptr ? std::vector<LayerInfo>() : own_.objective->layers();
}

}  // namespace gentrain::trainers
