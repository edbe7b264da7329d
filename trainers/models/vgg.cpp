// VGG's convolutions and pools in order, as far as they are needed.
#include "trainers/models/vgg.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/io/keras_weights.h"
#include "core/ops/ops.h"
#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

constexpr std::array<std::int64_t, 5> kBlockTimesWidth = {1, 2, 4, 8, 8};  // channels of the blocks

/// Convolutions of each block.
std::array<int, 5> block_sizes(VggNet net) {
  return net == VggNet::kVgg16 ? std::array{2, 2, 3, 3, 3} : std::array{2, 2, 4, 4, 4};
}

std::string_view name_of(VggNet net) {
  return net == VggNet::kVgg16 ? "VGG16" : "VGG19";
}

bool is_pool(std::string_view layer) {
  return layer.ends_with("pool");
}

/// Of a parameter NAME/weight or NAME/bias.
std::string vgg_layer_of(const std::string& parameter) {
  return parameter.substr(0, parameter.find('/'));
}

nn::Conv2dOptions conv_options(std::int64_t in, std::int64_t out) {
  return {.in = in,
          .out = out,
          .kernel_h = 3,
          .kernel_w = 3,
          .stride = {},
          .padding = {1, 1, 1, 1},
          .bias = true,
          .initializer = {Initializer::Kind::kKaimingNormal}};
}

Tensor pool(Context& context, const Tensor& x, const std::string& layer) {
  try {
    return ops::max_pool2d(context, x, {2, 2}, {2, 2});
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{} ({})", error.what(), layer));
  }
}

}  // namespace

/// What is wanted of a layer, and what was computed of that.
struct VggFeatures::Layer {
  bool wants_before = false;  // its activation
  bool wants_after = false;
  Tensor before;
  Tensor after;
};

std::vector<std::string> VggFeatures::layer_names(VggNet net) {
  std::vector<std::string> names;
  int block = 0;
  for (const int size : block_sizes(net)) {
    ++block;
    for (int conv = 1; conv <= size; ++conv) {
      names.push_back(fmt::format("block{}_conv{}", block, conv));
    }
    names.push_back(fmt::format("block{}_pool", block));
  }
  return names;
}

VggFeatures::VggFeatures(VggNet net, std::span<const VggMap> maps, VggInput input,
                         std::int64_t width)
    : net_(net), names_(layer_names(net)) {
  depth_ = deepest(maps) + 1;
  std::int64_t in = 3;
  std::size_t block = 0;
  for (int i = 0; i < depth_; ++i) {
    const std::string& name = names_[static_cast<std::size_t>(i)];
    if (is_pool(name)) {
      ++block;
    } else {
      const std::int64_t out = width * kBlockTimesWidth.at(block);
      convs_.emplace_back(parameters_, name, conv_options(in, out));
      in = out;
    }
  }
  if (input == VggInput::kCaffe) {
    caffe_.emplace(Preprocessing::kCaffe, 3);
  }
}

int VggFeatures::index_of(const VggMap& map) const {
  const auto found = std::ranges::find(names_, map.layer);
  if (found == names_.end()) {
    throw JobError(fmt::format("{} has no layer '{}' (known: {})", name_of(net_), map.layer,
                               fmt::join(names_, ", ")));
  }
  if (map.before_activation && is_pool(map.layer)) {
    throw JobError(
        fmt::format("{} has no activation at {}: only convolutions can be taken before "
                    "it",
                    name_of(net_), map.layer));
  }
  return static_cast<int>(found - names_.begin());
}

int VggFeatures::deepest(std::span<const VggMap> maps) const {
  if (maps.empty()) {
    throw JobError(fmt::format("{}: no maps are asked for", name_of(net_)));
  }
  int deepest = 0;
  for (const VggMap& map : maps) {
    deepest = std::max(deepest, index_of(map));
  }
  return deepest;
}

/// `fill_parameters` writes them where no other process does.
void VggFeatures::allocate(Device& device, Queue& queue, DType dtype,
                           const std::function<void()>& fill_parameters) {
  ready_ = false;
  file_sha256_.clear();
  parameters_.allocate_frozen(device, queue, dtype, blocks_, fill_parameters);
}

void VggFeatures::load(Device& device, Queue& queue, const io::KerasWeights& weights) {
  allocate(device, queue, DType::kF32, [&] {
    for (int p = 0; p < parameters_.size(); p += 2) {
      const std::array needs = {
          io::KerasNeed{io::KerasRole::kKernel, parameters_.info(p).shape},
          io::KerasNeed{io::KerasRole::kBias, parameters_.info(p + 1).shape},
      };
      const auto arrays = weights.read_layer(vgg_layer_of(parameters_.info(p).name), needs);
      copy_from_host<float>(device, queue, arrays[0], parameters_[p]);
      copy_from_host<float>(device, queue, arrays[1], parameters_[p + 1]);
    }
  });
  file_sha256_ = weights.sha256();
  ready_ = true;
}

std::vector<std::string> VggFeatures::missing_in(const io::KerasWeights& weights) const {
  std::vector<std::string> missing;
  for (int p = 0; p < parameters_.size(); p += 2) {
    std::string layer = vgg_layer_of(parameters_.info(p).name);
    if (!weights.has(layer)) {
      missing.push_back(std::move(layer));
    }
  }
  return missing;
}

void VggFeatures::initialize(Device& device, Queue& queue, RngKey key, DType dtype) {
  allocate(device, queue, dtype, [&] { parameters_.initialize(device, queue, key); });
  ready_ = true;
}

std::vector<Tensor> VggFeatures::forward(Context& context, const Tensor& x,
                                         std::span<const VggMap> maps) const {
  const int last = deepest(maps);
  if (last >= depth_) {
    throw Error(fmt::format("{}: {} is deeper than {}, the deepest map that it was made for",
                            name_of(net_), names_[static_cast<std::size_t>(last)],
                            names_[static_cast<std::size_t>(depth_) - 1]));
  }
  if (!ready_) {
    throw Error(fmt::format("{} has no weights yet", name_of(net_)));
  }
  std::vector<Layer> layers(static_cast<std::size_t>(last) + 1);
  for (const VggMap& map : maps) {
    Layer& layer = layers[static_cast<std::size_t>(index_of(map))];
    (map.before_activation ? layer.wants_before : layer.wants_after) = true;
  }
  const Tensor prepared = caffe_ ? caffe_->forward(context, x) : x;
  compute(context, ops::into_network(context, prepared), layers);
  std::vector<Tensor> result;
  for (const VggMap& map : maps) {
    const Layer& layer = layers[static_cast<std::size_t>(index_of(map))];
    result.push_back(
        ops::out_of_network(context, map.before_activation ? layer.before : layer.after));
  }
  return result;
}

double VggFeatures::products(std::int64_t h, std::int64_t w) const {
  double products = 0;
  int parameter = 0;
  for (int i = 0; i < depth_; ++i) {
    if (is_pool(names_[static_cast<std::size_t>(i)])) {
      h /= 2;
      w /= 2;
    } else {
      products += static_cast<double>(h * w * parameters_.info(parameter).shape.elements());
      parameter += 2;  // behind the weights their biases
    }
  }
  return products;
}

void VggFeatures::compute(Context& context, Tensor y, std::vector<Layer>& layers) const {
  auto conv = convs_.begin();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool ends = i + 1 == layers.size();
    if (is_pool(names_[i])) {
      y = pool(context, y, names_[i]);
    } else if (!ends && is_pool(names_[i + 1]) && !layers[i].wants_before &&
               !layers[i].wants_after) {
      y = (conv++)->forward_max_pool(context, y, Activation::kRelu);
      ++i;
    } else if (layers[i].wants_before) {
      layers[i].before = (conv++)->forward(context, y, Activation::kNone);
      y = ends && !layers[i].wants_after
              ? Tensor()
              : ops::activate(context, layers[i].before, Activation::kRelu);
    } else {
      y = (conv++)->forward(context, y, Activation::kRelu);
    }
    if (layers[i].wants_after) {
      layers[i].after = y;
    }
  }
}

}  // namespace gentrain::trainers
