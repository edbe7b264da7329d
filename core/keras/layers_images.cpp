// Pooling, padding, cropping and enlarging of images.
#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/keras/layers.h"
#include "core/keras/rows.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

/// Pixels above, below, left and right.
struct Border {
  Pair rows{0, 0};
  Pair columns{0, 0};
};

/// 1, [1, 2], [[1, 2], [3, 4]]; of Keras 1 also [1, 2, 3, 4] and an object of four names.
Border read_border(Attributes& attributes, std::string_view name) {
  const json* value = attributes.take({name});
  if (value == nullptr) {
    throw IoError(fmt::format("it has no attribute {}", name));
  }
  if (value->is_object()) {
    std::array<std::int64_t, 4> sides{};
    std::size_t side = 0;
    for (const char* key : {"top_pad", "bottom_pad", "left_pad", "right_pad"}) {
      sides.at(side++) = value->contains(key) ? to_integer((*value)[key], key, 0) : 0;
    }
    return {{sides[0], sides[1]}, {sides[2], sides[3]}};
  }
  constexpr std::size_t kSides = 4;
  if (value->is_array() && value->size() == kSides) {
    return {{to_integer((*value)[0], name, 0), to_integer((*value)[1], name, 0)},
            {to_integer((*value)[2], name, 0), to_integer((*value)[3], name, 0)}};
  }
  if (value->is_array() && value->size() == 2 && (*value)[0].is_array()) {
    return {to_pair((*value)[0], name, 0), to_pair((*value)[1], name, 0)};
  }
  const Pair both = to_pair(*value, name, 0);
  return {{both.h, both.h}, {both.w, both.w}};
}

/// Maps along rows and columns, where they change something.
int add_border(LayerCall& call, const Border& border, std::int64_t sign) {
  const bool first = reads_channels_first(call.attributes);
  Chain chain(call);
  need_image(chain.shape());
  const int row_axis = first ? 1 : 0;
  for (const auto& [suffix, axis, pair] : {std::tuple{"rows", row_axis, border.rows},
                                           std::tuple{"columns", row_axis + 1, border.columns}}) {
    if (pair.h != 0 || pair.w != 0) {
      chain.then(suffix,
                 graph::AxisMap{axis, call.builder.charged(padded(chain.shape()[axis],
                                                                  sign * pair.h, sign * pair.w))});
    }
  }
  return chain.finish();
}

/// Bilinear enlarging of other backends and versions had other centres of pixels.
void check_bilinear(const Version& version) {
  const bool known = version.major >= 3 || (version.major == 2 && version.minor >= 4) ||
                     (version.major == 2 && version.minor == 3 && version.text.ends_with("-tf"));
  if (!known) {
    throw IoError(fmt::format(
        "interpolation is bilinear, which Keras {} left to its backend: it is not known where the "
        "centres of pixels were",
        version.text.empty() ? "of an unknown version" : version.text));
  }
}

}  // namespace

int add_pooling(LayerCall& call) {
  graph::Pooling pooling;
  pooling.pooling =
      call.type == "MaxPooling2D" ? graph::PoolingKind::kMax : graph::PoolingKind::kAverage;
  const Pair window = call.attributes.pair({"pool_size"}, {2, 2});
  const Pair stride = call.attributes.pair({"strides"}, window);
  pooling.window = {window.h, window.w};
  pooling.stride = {stride.h, stride.w};
  pooling.padding.same = reads_same_padding(call.attributes);
  const bool first = reads_channels_first(call.attributes);
  Chain chain(call);
  need_image(chain.shape());
  return chain.channels_last(first).then("pool", pooling).channels_first(first).finish();
}

int add_global_pooling(LayerCall& call) {
  graph::GlobalPooling pooling;
  pooling.pooling =
      call.type == "GlobalMaxPooling2D" ? graph::PoolingKind::kMax : graph::PoolingKind::kAverage;
  const bool first = reads_channels_first(call.attributes);
  const bool keep = call.attributes.boolean({"keepdims"}, false);
  Chain chain(call);
  need_image(chain.shape());
  chain.channels_last(first).then("pool", pooling);
  if (keep) {
    const std::int64_t c = chain.shape()[0];
    chain.then("keep", graph::Reshape{first ? Shape{c, 1, 1} : Shape{1, 1, c}});
  }
  return chain.finish();
}

int add_zero_padding(LayerCall& call) {
  return add_border(call, read_border(call.attributes, "padding"), 1);
}

int add_cropping(LayerCall& call) {
  return add_border(call, read_border(call.attributes, "cropping"), -1);
}

int add_upsampling(LayerCall& call) {
  const Pair size = call.attributes.pair({"size"}, {2, 2});
  const std::string how = call.attributes.text({"interpolation"}, "nearest");
  if (how != "nearest" && how != "bilinear") {
    throw IoError(fmt::format("interpolation is '{}': nearest and bilinear are supported", how));
  }
  if (how == "bilinear") {
    check_bilinear(call.builder.version);
  }
  const bool first = reads_channels_first(call.attributes);
  Chain chain(call);
  need_image(chain.shape());
  const int row_axis = first ? 1 : 0;
  for (const auto& [suffix, axis, times] :
       {std::tuple{"rows", row_axis, size.h}, std::tuple{"columns", row_axis + 1, size.w}}) {
    if (times > 1) {
      const std::int64_t extent = chain.shape()[axis];
      chain.then(suffix, graph::AxisMap{axis, call.builder.charged(
                                                  how == "nearest" ? repeated(extent, times)
                                                                   : interpolated(extent, times))});
    }
  }
  return chain.finish();
}

}  // namespace gentrain::keras
