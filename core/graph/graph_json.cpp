// Writing and reading both walk through the lists of attributes in attributes.h.
#include "core/graph/graph_json.h"

#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/graph/attributes.h"
#include "kernels/error.h"

namespace gentrain::graph {

namespace {

using Json = nlohmann::json;

constexpr std::int64_t kVersion = 1;
constexpr std::size_t kMostNodes = 65536;
constexpr std::size_t kMostNameBytes = 1024;

/// Makes JSON of attributes.
class Writer {
 public:
  template <class T>
  void operator()(const char* key, const T& value) {
    json_[key] = form(value);
  }
  [[nodiscard]] Json take() { return std::move(json_); }

 private:
  template <class T>
  static Json object_of(T value) {
    Writer writer;
    fields(writer, value);
    return writer.take();
  }

  static Json form(bool value) { return value; }
  static Json form(int value) { return value; }
  static Json form(std::int64_t value) { return value; }
  static Json form(double value) {
    if (std::isfinite(value)) {
      return value;
    }
    return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  }
  static Json form(float value) { return form(static_cast<double>(value)); }
  template <class Enum>
  requires std::is_enum_v<Enum>
  static Json form(Enum value) { return std::string(name_of(value)); }
  template <class T>
  static Json form(const std::vector<T>& values) {
    Json list = Json::array();
    for (const T value : values) {
      list.push_back(form(value));
    }
    return list;
  }
  static Json form(const Shape& shape) {
    return form(std::vector<std::int64_t>(shape.extents().begin(), shape.extents().end()));
  }
  static Json form(const ops::Stride& stride) { return {stride.h, stride.w}; }
  static Json form(const ops::Window& window) { return {window.h, window.w}; }
  static Json form(const ops::Dilation& dilation) { return {dilation.h, dilation.w}; }
  static Json form(const ops::Padding& padding) {
    return {padding.top, padding.bottom, padding.left, padding.right};
  }
  static Json form(const PaddingRule& rule) { return object_of(rule); }
  static Json form(const std::shared_ptr<const std::vector<float>>& values) {
    return form(*values);
  }
  static Json form(const std::shared_ptr<const ops::AxisRows>& rows) { return object_of(*rows); }

  Json json_ = Json::object();
};

/// What the messages show of a value.
std::string shown(const Json& value) {
  constexpr std::size_t kMost = 40;
  if (value.is_structured()) {
    return value.is_array() ? "a list" : "an object";
  }
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

std::int64_t integer_of(const Json& value, std::int64_t least, std::int64_t most) {
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most)
                        : value.is_number_integer() && value.get<std::int64_t>() <= most;
  if (!fits || value.get<std::int64_t>() < least) {
    throw IoError(
        fmt::format("an integer from {} to {} needed but it is {}", least, most, shown(value)));
  }
  return value.get<std::int64_t>();
}

/// With an upper bound that no extent reaches and whose sums with others stay within 64 bits.
std::int64_t extent_of(const Json& value) {
  return integer_of(value, 0, Shape::kMaxElements);
}

double number_of(const Json& value) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (value.is_number()) {
    return value.get<double>();
  }
  if (value == "inf") {
    return kInfinity;
  }
  if (value == "-inf") {
    return -kInfinity;
  }
  if (value == "nan") {
    return std::numeric_limits<double>::quiet_NaN();
  }
  throw IoError(fmt::format("a number needed but it is {}", shown(value)));
}

const Json& list_of(const Json& value) {
  if (!value.is_array()) {
    throw IoError(fmt::format("a list needed but it is {}", shown(value)));
  }
  return value;
}

std::string text_of(const Json& value) {
  if (!value.is_string() || value.get_ref<const std::string&>().size() > kMostNameBytes) {
    throw IoError(
        fmt::format("a text of up to {} bytes needed but it is {}", kMostNameBytes, shown(value)));
  }
  return value.get<std::string>();
}

/// Reads the keys of an object, each once.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {
    if (!json.is_object()) {
      throw IoError(fmt::format("an object needed but it is {}", shown(json)));
    }
  }

  template <class T>
  void operator()(const char* key, T& value) {
    const auto found = json_.find(key);
    if (found == json_.end()) {
      throw IoError(fmt::format("{}: it is missing", key));
    }
    known_.insert(key);
    try {
      read(*found, value);
    } catch (const Error& error) {
      throw IoError(fmt::format("{}: {}", key, error.what()));
    }
  }

  /// Throws IoError if the object has a key that was not read.
  void finish() const {
    for (const auto& [key, value] : json_.items()) {
      if (!known_.contains(key)) {
        throw IoError(fmt::format("{}: it is not known", shown(key)));
      }
    }
  }

 private:
  template <class T>
  static void read_object(const Json& json, T& value) {
    Reader reader(json);
    fields(reader, value);
    reader.finish();
  }
  template <std::size_t N>
  static std::array<std::int64_t, N> extents(const Json& json) {
    std::array<std::int64_t, N> values{};
    if (list_of(json).size() != N) {
      throw IoError(fmt::format("{} numbers needed but there are {}", N, json.size()));
    }
    for (std::size_t i = 0; i < N; ++i) {
      values.at(i) = extent_of(json[i]);
    }
    return values;
  }

  static void read(const Json& json, const Json*& value) { value = &json; }
  static void read(const Json& json, std::string& value) { value = text_of(json); }
  static void read(const Json& json, bool& value) {
    if (!json.is_boolean()) {
      throw IoError(fmt::format("true or false needed but it is {}", shown(json)));
    }
    value = json.get<bool>();
  }
  static void read(const Json& json, std::int32_t& value) {
    using Limits = std::numeric_limits<std::int32_t>;
    value = static_cast<std::int32_t>(integer_of(json, Limits::min(), Limits::max()));
  }
  static void read(const Json& json, std::int64_t& value) { value = extent_of(json); }
  static void read(const Json& json, double& value) { value = number_of(json); }
  static void read(const Json& json, float& value) {
    const double number = number_of(json);
    if (std::isfinite(number) && std::abs(number) > std::numeric_limits<float>::max()) {
      throw IoError(fmt::format("{} is beyond the numbers of 32 bits", number));
    }
    value = static_cast<float>(number);
  }
  template <class Enum>
  requires std::is_enum_v<Enum>
  static void read(const Json& json, Enum& value) {
    for (int i = 0; i <= static_cast<int>(last_of(value)); ++i) {
      if (json == std::string(name_of(static_cast<Enum>(i)))) {
        value = static_cast<Enum>(i);
        return;
      }
    }
    throw IoError(fmt::format("{} is not known", shown(json)));
  }
  template <class T>
  static void read(const Json& json, std::vector<T>& values) {
    values.reserve(list_of(json).size());
    for (const Json& element : json) {
      T value{};
      read(element, value);
      values.push_back(value);
    }
  }
  static void read(const Json& json, Shape& shape) {
    std::vector<std::int64_t> extents;
    read(json, extents);
    shape = Shape(extents);
  }
  template <class Extents>
  static void read_pair(const Json& json, Extents& pair) {
    const auto values = extents<2>(json);
    pair.h = values[0];
    pair.w = values[1];
  }
  static void read(const Json& json, ops::Stride& stride) { read_pair(json, stride); }
  static void read(const Json& json, ops::Window& window) { read_pair(json, window); }
  static void read(const Json& json, ops::Dilation& dilation) { read_pair(json, dilation); }
  static void read(const Json& json, ops::Padding& padding) {
    const auto values = extents<4>(json);
    padding = {values[0], values[1], values[2], values[3]};
  }
  static void read(const Json& json, PaddingRule& rule) { read_object(json, rule); }
  static void read(const Json& json, std::shared_ptr<const std::vector<float>>& values) {
    auto list = std::make_shared<std::vector<float>>();
    read(json, *list);
    values = std::move(list);
  }
  static void read(const Json& json, std::shared_ptr<const ops::AxisRows>& rows) {
    auto object = std::make_shared<ops::AxisRows>();
    read_object(json, *object);
    rows = std::move(object);
  }

  const Json& json_;
  std::set<std::string, std::less<>> known_;
};

template <std::size_t... Indices>
NodeKind kind_at(std::size_t index, std::index_sequence<Indices...> /*all*/) {
  using Make = NodeKind (*)();
  constexpr std::array<Make, sizeof...(Indices)> kMakers = {
      [] { return NodeKind(std::in_place_index<Indices>); }...};
  return kMakers.at(index)();
}

NodeKind kind_of(const std::string& name, const Json& attributes) {
  std::size_t index = 0;
  while (index < kKinds.size() && kKinds.at(index) != name) {
    ++index;
  }
  if (index == kKinds.size()) {
    throw IoError(fmt::format("its kind {} is not known", shown(name)));
  }
  NodeKind kind = kind_at(index, std::make_index_sequence<kKinds.size()>());
  Reader reader(attributes);
  std::visit([&](auto& node) { fields(reader, node); }, kind);
  reader.finish();
  return kind;
}

void add_node(const Json& json, Graph& graph) {
  std::string name;
  try {
    Reader reader(json);
    std::string kind;
    std::string parameters;
    std::vector<int> inputs;
    const Json* attributes = nullptr;
    reader("name", name);
    reader("kind", kind);
    reader("inputs", inputs);
    reader("parameters", parameters);
    reader("attributes", attributes);
    reader.finish();
    graph.add(name, kind_of(kind, *attributes), std::move(inputs), std::move(parameters));
  } catch (const ShapeError& error) {
    throw IoError(fmt::format("the graph's node {}: {}", graph.size(), error.what()));
  } catch (const IoError& error) {
    throw IoError(fmt::format("the graph's node {} ({}): {}", graph.size(), name, error.what()));
  }
}

}  // namespace

nlohmann::json to_json(const Graph& graph) {
  Json nodes = Json::array();
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    Writer writer;
    std::visit([&](auto kind) { fields(writer, kind); }, node.kind);
    nodes.push_back({{"name", node.name},
                     {"kind", std::string(kKinds.at(node.kind.index()))},
                     {"inputs", node.inputs},
                     {"parameters", node.parameters},
                     {"attributes", writer.take()}});
  }
  return {{"version", kVersion}, {"nodes", std::move(nodes)}, {"outputs", graph.outputs()}};
}

Graph graph_from_json(const nlohmann::json& json) {
  std::int64_t version = 0;
  const Json* nodes = nullptr;
  std::vector<int> outputs;
  Graph graph;
  try {
    Reader reader(json);
    reader("version", version);
    if (version != kVersion) {
      throw IoError(fmt::format("its version is {}, {} needed", version, kVersion));
    }
    reader("nodes", nodes);
    reader("outputs", outputs);
    reader.finish();
    if (list_of(*nodes).size() > kMostNodes) {
      throw IoError(
          fmt::format("it has {} nodes, at most {} are supported", nodes->size(), kMostNodes));
    }
  } catch (const IoError& error) {
    throw IoError(fmt::format("the graph: {}", error.what()));
  }
  for (const Json& node : *nodes) {
    add_node(node, graph);
  }
  try {
    if (graph.size() > 0 || !outputs.empty()) {
      graph.set_outputs(std::move(outputs));
    }
  } catch (const ShapeError& error) {
    throw IoError(fmt::format("the graph: {}", error.what()));
  }
  return graph;
}

}  // namespace gentrain::graph
