// Keras's layout in HDF5, the meaning of its names, and what is said where a file does not fit.
#include "core/io/keras_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/io/hdf5_objects.h"
#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "kernels/error.h"
#include "kernels/progress.h"

namespace gentrain::io {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxLayers = 65536;
constexpr std::size_t kMaxListed = 24;  // names in a message
constexpr std::size_t kHashBlock = std::size_t{1} << 20;

constexpr std::array<std::pair<KerasRole, std::string_view>, 6> kRoles = {{
    {KerasRole::kKernel, "kernel"},
    {KerasRole::kBias, "bias"},
    {KerasRole::kGamma, "gamma"},
    {KerasRole::kBeta, "beta"},
    {KerasRole::kMovingMean, "moving_mean"},
    {KerasRole::kMovingVariance, "moving_variance"},
}};
constexpr std::array<std::pair<KerasRole, std::string_view>, 4> kOldRoles = {{
    {KerasRole::kKernel, "W"},
    {KerasRole::kBias, "b"},
    {KerasRole::kMovingMean, "running_mean"},
    {KerasRole::kMovingVariance, "running_std"},
}};

bool ends_with_word(std::string_view text, std::string_view word) {
  return text.ends_with(word) &&
         (text.size() == word.size() || text[text.size() - word.size() - 1] == '_');
}

/// Without the number that TensorFlow puts behind a name: "W_1" -> "W".
std::string_view without_number(std::string_view text, char before) {
  const std::size_t end = text.find_last_not_of("0123456789");
  const bool numbered =
      end != std::string_view::npos && end > 0 && end + 1 < text.size() && text[end] == before;
  return numbered ? text.substr(0, end) : text;
}

/// Runs an action and puts the place before what it has to say. Of a Keras file there is no first
/// block, in front of the HDF5 file, as files of gentrain's own have.
template <class Action>
auto at(const std::string& where, const Action& action) {
  try {
    return action();
  } catch (const IoError& error) {
    constexpr std::string_view kBlock = " behind the first block";
    std::string reason = error.what();
    if (const auto found = reason.find(kBlock); found != std::string::npos) {
      reason.erase(found, kBlock.size());
    }
    throw IoError(fmt::format("{}: {}", where, reason));
  }
}

/// A list of texts that may be cut into NAME0, NAME1 and so on.
std::optional<std::vector<std::string>> read_list(const Hdf5Objects& objects,
                                                  const std::string& path,
                                                  const std::string& name) {
  auto whole = objects.texts(path, name);
  if (whole) {
    return whole;
  }
  for (int i = 0;; ++i) {
    const auto part = objects.texts(path, fmt::format("{}{}", name, i));
    if (!part) {
      return whole;
    }
    if (!whole) {
      whole.emplace();
    }
    whole->insert(whole->end(), part->begin(), part->end());
    if (whole->size() > kMaxLayers) {
      throw IoError(fmt::format("attribute {}{}: more than {} names", name, i, kMaxLayers));
    }
  }
}

/// The first name that comes twice, or "".
std::string twice(const std::vector<std::string>& names) {
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    if (!seen.insert(name).second) {
      return name;
    }
  }
  return "";
}

bool is_kernel(KerasRole role) {
  return role == KerasRole::kKernel;
}

/// [out, kh, kw, in] as Keras has it: [kh, kw, in, out].
Shape keras_shape(const KerasNeed& need) {
  std::vector<std::int64_t> extents(need.shape.extents().begin(), need.shape.extents().end());
  if (is_kernel(need.role) && !extents.empty()) {
    std::rotate(extents.begin(), extents.begin() + 1, extents.end());
  }
  return Shape(extents);
}

/// What is worth saying of extents that are the needed ones in another order.
std::string order_hint(const Shape& came, const Shape& needed) {
  const auto is = [&](std::initializer_list<int> axes) {
    return std::ranges::equal(came.extents(), axes, [&](std::int64_t extent, int axis) {
      return extent == needed[axis];
    });
  };
  if (needed.rank() == 2 && is({1, 0})) {
    return ": it is the transpose, [out, in] instead of [in, out]";
  }
  if (needed.rank() == 4 && is({3, 2, 0, 1})) {
    return ": they are in the order [out, in, kh, kw] of channels first instead of [kh, kw, in, "
           "out]";
  }
  if (needed.rank() == 4 && is({3, 0, 1, 2})) {
    return ": they are in the order [out, kh, kw, in] instead of [kh, kw, in, out]";
  }
  return std::ranges::is_permutation(came.extents(), needed.extents())
             ? ": they are the same in another order"
             : "";
}

/// What is wrong with extents, or "".
std::string shape_problem(const Shape& came, const Shape& needed) {
  if (came.rank() != needed.rank()) {
    return fmt::format("it has {} extents, {}, but {}, {}, are needed", came.rank(), came.str(),
                       needed.rank(), needed.str());
  }
  return came == needed ? ""
                        : fmt::format("its extents are {}, but {} are needed{}", came.str(),
                                      needed.str(), order_hint(came, needed));
}

/// Index of a row-major element by axis: "[1, 0, 2]".
std::string position(const Shape& shape, std::int64_t element) {
  std::vector<std::int64_t> index(static_cast<std::size_t>(shape.rank()));
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index[static_cast<std::size_t>(axis)] = element % shape[axis];
    element /= shape[axis];
  }
  return fmt::format("[{}]", fmt::join(index, ", "));
}

std::string describe(const KerasLayer& layer) {
  std::vector<std::string> texts;
  for (const KerasArray& array : layer.arrays) {
    texts.push_back(array.name + " " + array.shape.str());
  }
  return texts.empty() ? "it has no arrays" : fmt::format("it has {}", fmt::join(texts, ", "));
}

std::string describe(std::span<const KerasNeed> needs) {
  std::vector<std::string> texts;
  for (const KerasNeed& need : needs) {
    texts.push_back(fmt::format("{} {}", name_of(need.role), keras_shape(need).str()));
  }
  return texts.empty() ? "nothing" : fmt::format("{}", fmt::join(texts, ", "));
}

/// For each need the array of the layer that it means, null if there is none, and what does not
/// fit.
struct Matching {
  std::vector<const KerasArray*> arrays;
  std::vector<std::string> problems;
};

void match_roles(const KerasLayer& layer, std::span<const KerasNeed> needs, Matching& matching) {
  std::vector<const KerasArray*> nameless;
  const auto not_needed = [&](const KerasArray& array) {
    matching.problems.push_back(fmt::format("its array {} {} is not needed; needed: {}", array.name,
                                            array.shape.str(), describe(needs)));
  };
  for (const KerasArray& array : layer.arrays) {
    const auto role = keras_role(array.name);
    const auto need = std::ranges::find_if(
        needs, [&](const KerasNeed& candidate) { return candidate.role == role; });
    if (!role) {
      nameless.push_back(&array);
    } else if (need == needs.end()) {
      not_needed(array);
    } else {
      const KerasArray*& place = matching.arrays[static_cast<std::size_t>(need - needs.begin())];
      if (place != nullptr) {
        matching.problems.push_back(fmt::format("{} and {} both look like its {}", place->name,
                                                array.name, name_of(*role)));
      }
      place = &array;
    }
  }
  if (nameless.size() == 1 && std::ranges::count(matching.arrays, nullptr) == 1) {
    *std::ranges::find(matching.arrays, nullptr) = nameless[0];
    nameless.clear();
  }
  for (std::size_t i = 0; i < needs.size(); ++i) {
    if (matching.arrays[i] == nullptr && needs[i].take == KerasTake::kRequired) {
      matching.problems.push_back(fmt::format("its {} {} is missing; {}", name_of(needs[i].role),
                                              keras_shape(needs[i]).str(), describe(layer)));
    }
  }
  std::ranges::for_each(nameless, [&](const KerasArray* array) { not_needed(*array); });
}

Matching match(const KerasLayer& layer, std::span<const KerasNeed> needs) {
  Matching matching{std::vector<const KerasArray*>(needs.size()), {}};
  match_roles(layer, needs, matching);
  for (std::size_t i = 0; i < needs.size(); ++i) {
    const KerasArray* array = matching.arrays[i];
    if (needs[i].take == KerasTake::kNever) {
      matching.arrays[i] = nullptr;
    } else if (array != nullptr) {
      const std::string problem = shape_problem(array->shape, keras_shape(needs[i]));
      if (!problem.empty()) {
        matching.problems.push_back(fmt::format("array {}: {}", array->name, problem));
      }
    }
  }
  return matching;
}

}  // namespace

std::string_view name_of(KerasRole role) {
  return kRoles.at(static_cast<std::size_t>(role)).second;
}

std::optional<KerasRole> keras_role(std::string_view array) {
  std::string_view word = array.substr(array.find_last_of('/') + 1);
  word = without_number(without_number(word, ':'), '_');
  for (const auto& [role, name] : kRoles) {
    if (ends_with_word(word, name)) {
      return role;
    }
  }
  for (const auto& [role, name] : kOldRoles) {
    if (ends_with_word(word, name)) {
      return role;
    }
  }
  return std::nullopt;
}

KerasWeights::KerasWeights(std::filesystem::path path) : path_(std::move(path)) {
  const std::string name = path_.string();
  if (!is_there(path_)) {
    throw IoError(name + " is missing: a Keras weights file (.h5) was looked for");
  }
  if (std::error_code ignored; !fs::is_regular_file(path_, ignored)) {
    throw IoError(name + ": it is no regular file");
  }
  file_ = read_file(path_);
  at(name, [&] { list_layers(); });
}

KerasWeights::KerasWeights(std::filesystem::path path, Bytes file)
    : path_(std::move(path)), file_(std::move(file)) {
  at(path_.string(), [&] { list_layers(); });
}

KerasWeights::~KerasWeights() = default;

void KerasWeights::list_layers() {
  constexpr const char* kModel = "model_weights";
  objects_ = std::make_unique<Hdf5Objects>(std::as_bytes(std::span(file_.data.get(), file_.size)));
  auto names = read_list(*objects_, "", "layer_names");
  if (!names && objects_->is_group(kModel)) {
    base_ = kModel;
    names = read_list(*objects_, base_, "layer_names");
  }
  if (!names) {
    throw IoError(
        "neither the root nor /model_weights has the attribute layer_names of a Keras "
        ".h5 file (.weights.h5 of Keras 3 is laid out in another way)");
  }
  if (const std::string again = twice(*names); !again.empty()) {
    throw IoError(fmt::format("layer_names holds {} twice", again));
  }
  const auto backend = objects_->texts(base_, "backend");
  if (backend && std::ranges::find(*backend, "theano") != backend->end()) {
    throw IoError(
        "it was written with the backend theano, whose convolution kernels are flipped; "
        "one written with tensorflow is needed");
  }
  for (const std::string& layer : *names) {
    layers_.push_back(at("layer " + layer, [&] { return list_layer(layer); }));
    progress::tick();
  }
}

KerasLayer KerasWeights::list_layer(const std::string& name) const {
  const std::string path = path_of(name);
  objects_->require_group(path);
  const auto names = read_list(*objects_, path, "weight_names");
  if (!names) {
    throw IoError("it has no attribute weight_names");
  }
  if (const std::string again = twice(*names); !again.empty()) {
    throw IoError(fmt::format("weight_names holds {} twice", again));
  }
  KerasLayer layer{name, {}};
  for (const std::string& array : *names) {
    const Shape shape =
        at("array " + array, [&] { return objects_->shape(path_of(name) + "/" + array); });
    layer.arrays.push_back({array, shape});
  }
  return layer;
}

std::string KerasWeights::path_of(std::string_view layer) const {
  return base_.empty() ? std::string(layer) : fmt::format("{}/{}", base_, layer);
}

std::string KerasWeights::where(std::string_view layer) const {
  return fmt::format("{}: layer {}", path_.string(), layer);
}

std::string KerasWeights::where(std::string_view layer, std::string_view array) const {
  return fmt::format("{}: array {}", where(layer), array);
}

const KerasLayer* KerasWeights::find(std::string_view layer) const {
  const auto found = std::ranges::find(layers_, layer, &KerasLayer::name);
  return found == layers_.end() ? nullptr : &*found;
}

const KerasLayer& KerasWeights::layer(std::string_view name) const {
  if (const KerasLayer* found = find(name); found != nullptr) {
    return *found;
  }
  std::vector<std::string> known;
  for (const KerasLayer& layer : layers_) {
    if (!layer.arrays.empty()) {
      known.push_back(layer.name);
    }
  }
  std::string more;
  if (known.size() > kMaxListed) {
    more = fmt::format(" and {} more", known.size() - kMaxListed);
    known.resize(kMaxListed);
  }
  throw IoError(fmt::format("{}: there is no such layer; layers with weights: {}{}", where(name),
                            known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", ")),
                            more));
}

std::vector<float> KerasWeights::read(std::string_view layer_name, std::string_view array) const {
  const KerasLayer& of = layer(layer_name);
  const std::string there = where(layer_name, array);
  const auto found = std::ranges::find(of.arrays, array, &KerasArray::name);
  if (found == of.arrays.end()) {
    throw IoError(fmt::format("{}: there is no such array; {}", there, describe(of)));
  }
  const std::string path = fmt::format("{}/{}", path_of(layer_name), array);
  std::vector<float> values = at(there, [&] { return objects_->floats(path); });
  const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  if (bad != values.end()) {
    throw IoError(fmt::format("{}: its element {} is {} as f32; weights must be finite", there,
                              position(found->shape, bad - values.begin()), *bad));
  }
  return values;
}

std::vector<std::vector<float>> KerasWeights::read_layer(std::string_view layer_name,
                                                         std::span<const KerasNeed> needs) const {
  const Matching matching = match(layer(layer_name), needs);
  if (!matching.problems.empty()) {
    throw IoError(fmt::format("{}: {}", where(layer_name), matching.problems[0]));
  }
  std::vector<std::vector<float>> result(needs.size());
  for (std::size_t i = 0; i < needs.size(); ++i) {
    if (const KerasArray* array = matching.arrays[i]; array != nullptr) {
      std::vector<float> values = read(layer_name, array->name);
      result[i] =
          is_kernel(needs[i].role) ? last_axis_first(values, array->shape) : std::move(values);
    }
  }
  return result;
}

std::vector<std::string> KerasWeights::problems(std::string_view layer_name,
                                                std::span<const KerasNeed> needs) const {
  std::vector<std::string> problems = match(layer(layer_name), needs).problems;
  for (std::string& problem : problems) {
    problem = fmt::format("layer {}: {}", layer_name, problem);
  }
  return problems;
}

std::string KerasWeights::sha256() const {
  Sha256 hash;
  for (std::size_t begin = 0; begin < file_.size; begin += kHashBlock) {
    hash.update(file_.data.get() + begin, std::min(kHashBlock, file_.size - begin));
    progress::tick();
  }
  return hash.finish();
}

std::vector<float> last_axis_first(std::span<const float> values, const Shape& shape) {
  const auto columns = static_cast<std::size_t>(shape[shape.rank() - 1]);
  const std::size_t rows = columns == 0 ? 0 : values.size() / columns;
  std::vector<float> result(values.size());
  for (std::size_t column = 0; column < columns; ++column) {
    for (std::size_t row = 0; row < rows; ++row) {
      result[column * rows + row] = values[row * columns + column];
    }
    progress::tick();
  }
  return result;
}

}  // namespace gentrain::io
