// Whose an array is, in archives of Keras 3: groups are numbered by class within each model, and
// say the layer's name in an attribute.
#include <cctype>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "core/keras/place.h"
#include "core/keras/weights.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

bool is_upper(char c) {
  return std::isupper(static_cast<unsigned char>(c)) != 0;
}
bool is_lower(char c) {
  return std::islower(static_cast<unsigned char>(c)) != 0;
}

/// "DepthwiseConv2D" -> "depthwise_conv2d", "LeakyReLU" -> "leaky_re_lu": Keras's to_snake_case.
std::string snake_case(const std::string& name) {
  std::string result;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool starts_word = i + 1 < name.size() && is_lower(name[i + 1]);
    const bool ends_word = i > 0 && is_lower(name[i - 1]);
    if (i > 0 && is_upper(name[i]) && (starts_word || ends_word)) {
      result += '_';
    }
    result += static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
  }
  return result;
}

class ArchivedWeights {
 public:
  ArchivedWeights(const Builder& builder, const io::Hdf5Objects& file, std::vector<Bundle>& bundles,
                  std::vector<std::string>& problems)
      : builder_(builder), file_(file), bundles_(bundles), problems_(problems) {}

  void visit(const Model& model, const std::string& group, const std::string& prefix) {
    std::map<std::string, int, std::less<>> counts;
    for (const Layer& layer : model.layers) {
      const std::string type = snake_case(layer.type);
      const std::string found =
          find(group + "layers/" + type, counts[type]++, layer.name, prefix + layer.name);
      if (layer.model) {
        visit(*layer.model, found + "/", prefix + layer.name + "/");
      } else if (const LayerNeeds* needs = builder_.needs_of(prefix + layer.name)) {
        bundles_.push_back({needs, arrays_of(found, *needs)});
      }
    }
  }

  /// Arrays of layers that nobody took. What optimizers and generators of random numbers keep is
  /// none of the model's.
  void list_left() {
    for (const std::string& path : file_.leaves()) {
      if (path.starts_with("layers/") && !taken_.contains(path) &&
          path.find("/seed_generator") == std::string::npos) {
        problems_.push_back(fmt::format("its array {} belongs to no layer of the model", path));
      }
    }
  }

 private:
  /// The group of the layer: the one of its class that says its name, or has its number and says
  /// none. "" if there is none.
  std::string find(const std::string& group, int number, const std::string& name,
                   const std::string& layer) {
    const auto numbered = [&](int n) { return n == 0 ? group : fmt::format("{}_{}", group, n); };
    const std::string expected = numbered(number);
    const std::string said = name_of_group(expected);
    if (said.empty() || said == name) {
      return expected;
    }
    for (int n = 0; file_.is_group(numbered(n)); ++n) {
      if (name_of_group(numbered(n)) == name) {
        return numbered(n);
      }
    }
    problems_.push_back(
        fmt::format("layer {}: it is missing; {} is that of layer {}", layer, expected, said));
    return "";
  }

  std::string name_of_group(const std::string& group) {
    const auto [place, is_new] = names_.try_emplace(group);
    if (is_new && file_.is_group(group + "/vars")) {
      const auto texts = at(group, [&] { return file_.texts(group + "/vars", "name"); });
      place->second = texts && !texts->empty() ? texts->front() : "";
    }
    return place->second;
  }

  /// Arrays have numbers for names; a need's role stands for what is said of them.
  std::vector<StoredArray> arrays_of(const std::string& group, const LayerNeeds& needs) {
    std::vector<StoredArray> arrays;
    for (std::size_t i = 0; i < needs.needs.size(); ++i) {
      const std::string path = fmt::format("{}/vars/{}", group, i);
      if (group.empty() || !file_.is_group(group + "/vars") || !is_there(path)) {
        break;
      }
      taken_.insert(path);
      arrays.push_back({path + "/" + std::string(name_of(needs.needs[i].role)),
                        at(path, [&] { return file_.shape(path); }), [file = &file_, path] {
                          return at("array " + path, [&] { return file->floats(path); });
                        }});
    }
    return arrays;
  }

  [[nodiscard]] bool is_there(const std::string& path) {
    if (leaves_.empty()) {
      const std::vector<std::string> all = file_.leaves();
      leaves_.insert(all.begin(), all.end());
    }
    return leaves_.contains(path);
  }

  const Builder& builder_;
  const io::Hdf5Objects& file_;
  std::vector<Bundle>& bundles_;
  std::vector<std::string>& problems_;
  std::set<std::string> taken_;
  std::set<std::string> leaves_;
  std::map<std::string, std::string> names_;  // of groups
};

}  // namespace

std::vector<Bundle> bundles_of(const Model& model, const Builder& builder,
                               const io::Hdf5Objects& file, std::vector<std::string>& problems) {
  std::vector<Bundle> bundles;
  ArchivedWeights archive(builder, file, bundles, problems);
  archive.visit(model, "", "");
  archive.list_left();
  return bundles;
}

}  // namespace gentrain::keras
