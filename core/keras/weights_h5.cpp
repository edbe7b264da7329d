// Whose an array is, in files with one group for each of the outermost layers: arrays of the layers
// of a nested model lie in its group side by side.
#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "core/keras/weights.h"
#include "kernels/error.h"

namespace gentrain::keras {

namespace {

constexpr std::size_t kMostPairs = 1000000;  // of owners and layers of like names

/// A layer with arrays somewhere below one of the outermost layers.
struct Leaf {
  const LayerNeeds* needs = nullptr;
  std::string own;   // its name
  std::string path;  // from the outermost layer on, that one left out: "stem/conv"
  bool trainable = true;
};

void collect_leaves(const Model& model, const Builder& builder, const std::string& prefix,
                    const std::string& path, bool trainable, std::vector<Leaf>& leaves) {
  for (const Layer& layer : model.layers) {
    const bool trains = trainable && layer.trainable;
    if (layer.model) {
      collect_leaves(*layer.model, builder, prefix + layer.name + "/", path + layer.name + "/",
                     trains, leaves);
    } else if (const LayerNeeds* needs = builder.needs_of(prefix + layer.name)) {
      leaves.push_back({needs, layer.name, path + layer.name, trains});
    }
  }
}

/// Arrays that one owner's name stands before.
struct Owner {
  std::string name;
  std::vector<StoredArray> arrays;
};

std::vector<Owner> owners_of(std::vector<StoredArray> arrays) {
  std::vector<Owner> owners;
  std::map<std::string, std::size_t, std::less<>> index;
  for (StoredArray& array : arrays) {
    std::string name = read_array_name(array.name).owner;
    const auto [place, is_new] = index.try_emplace(name, owners.size());
    if (is_new) {
      owners.push_back({std::move(name), {}});
    }
    owners[place->second].arrays.push_back(std::move(array));
  }
  return owners;
}

bool is_end(std::string_view text, std::string_view end) {
  return text.ends_with(end) &&
         (text.size() == end.size() || text[text.size() - end.size() - 1] == '/');
}

/// How many characters at the end of two paths agree, in whole names.
std::size_t common_end(std::string_view a, std::string_view b) {
  std::size_t agree = 0;
  while (agree < a.size() && agree < b.size() &&
         a[a.size() - 1 - agree] == b[b.size() - 1 - agree]) {
    ++agree;
  }
  while (agree > 0 &&
         !(is_end(a, b.substr(b.size() - agree)) && is_end(b, a.substr(a.size() - agree)))) {
    --agree;
  }
  return agree;
}

/// Gives owners to leaves.
class Pairing {
 public:
  Pairing(const std::vector<Leaf>& leaves, const std::vector<Owner>& owners)
      : leaves_(leaves),
        owners_(owners),
        owner_of_(leaves.size(), kNone),
        leaf_of_(owners.size(), kNone) {
    list_pairs();
    while (pair_by_names()) {
    }
    pair_by_order();
  }

  static constexpr std::size_t kNone = ~std::size_t{0};
  /// Index of a leaf's owner, or kNone.
  [[nodiscard]] std::size_t owner_of(std::size_t leaf) const { return owner_of_[leaf]; }
  [[nodiscard]] bool is_left(std::size_t owner) const { return leaf_of_[owner] == kNone; }

 private:
  struct Candidate {
    std::size_t score, owner, leaf;
  };

  /// Owners whose name ends with the leaf's own.
  void list_pairs() {
    std::multimap<std::string_view, std::size_t> by_name;
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      by_name.emplace(leaves_[i].own, i);
    }
    for (std::size_t owner = 0; owner < owners_.size(); ++owner) {
      const std::string_view name = owners_[owner].name;
      for (std::size_t begin = 0; begin != std::string_view::npos && begin <= name.size();) {
        const auto [first, last] = by_name.equal_range(name.substr(begin));
        for (auto leaf = first; leaf != last; ++leaf) {
          pairs_.push_back({common_end(name, leaves_[leaf->second].path), owner, leaf->second});
        }
        if (pairs_.size() > kMostPairs) {
          throw IoError(fmt::format("more than {} arrays and layers have like names", kMostPairs));
        }
        const std::size_t slash = name.find('/', begin);
        begin = slash == std::string_view::npos ? slash : slash + 1;
      }
    }
    std::ranges::stable_sort(pairs_, std::greater<>(), &Candidate::score);
  }

  [[nodiscard]] bool is_free(const Candidate& pair) const {
    return leaf_of_[pair.owner] == kNone && owner_of_[pair.leaf] == kNone;
  }
  void give(std::size_t owner, std::size_t leaf) {
    leaf_of_[owner] = leaf;
    owner_of_[leaf] = owner;
  }

  /// Those whose names agree best, where nothing else agrees as well. Whether there were any.
  bool pair_by_names() {
    bool any = false;
    for (std::size_t begin = 0; begin < pairs_.size();) {
      std::size_t end = begin;
      std::map<std::size_t, int> of_owner;
      std::map<std::size_t, int> of_leaf;
      for (; end < pairs_.size() && pairs_[end].score == pairs_[begin].score; ++end) {
        if (is_free(pairs_[end])) {
          ++of_owner[pairs_[end].owner];
          ++of_leaf[pairs_[end].leaf];
        }
      }
      for (; begin < end; ++begin) {
        const Candidate& pair = pairs_[begin];
        if (is_free(pair) && of_owner[pair.owner] == 1 && of_leaf[pair.leaf] == 1) {
          give(pair.owner, pair.leaf);
          any = true;
        }
      }
    }
    return any;
  }

  /// The others in Keras's order: weights that train come first.
  void pair_by_order() {
    std::vector<std::size_t> left;
    for (const bool trainable : {true, false}) {
      for (std::size_t leaf = 0; leaf < leaves_.size(); ++leaf) {
        if (owner_of_[leaf] == kNone && leaves_[leaf].trainable == trainable) {
          left.push_back(leaf);
        }
      }
    }
    const auto owners = static_cast<std::size_t>(std::ranges::count(leaf_of_, kNone));
    if (owners != left.size()) {
      return;
    }
    auto next = left.begin();
    for (std::size_t owner = 0; owner < owners_.size(); ++owner) {
      if (leaf_of_[owner] == kNone) {
        give(owner, *next++);
      }
    }
  }

  const std::vector<Leaf>& leaves_;
  const std::vector<Owner>& owners_;
  std::vector<std::size_t> owner_of_;
  std::vector<std::size_t> leaf_of_;
  std::vector<Candidate> pairs_;  // best first
};

std::vector<StoredArray> arrays_of(const io::KerasWeights& file, const std::string& layer) {
  std::vector<StoredArray> arrays;
  if (!file.has(layer)) {
    return arrays;
  }
  for (const io::KerasArray& array : file.layer(layer).arrays) {
    arrays.push_back({array.name, array.shape,
                      [&file, layer, name = array.name] { return file.read(layer, name); }});
  }
  return arrays;
}

void pair_nested(const std::string& layer, const std::vector<Leaf>& leaves,
                 std::vector<StoredArray> arrays, std::vector<Bundle>& bundles,
                 std::vector<std::string>& problems) {
  std::vector<Owner> owners = owners_of(std::move(arrays));
  const Pairing pairing(leaves, owners);
  for (std::size_t owner = 0; owner < owners.size(); ++owner) {
    if (pairing.is_left(owner)) {
      problems.push_back(fmt::format("layer {}: its array {} {} belongs to none of its layers",
                                     layer, owners[owner].arrays[0].name,
                                     owners[owner].arrays[0].shape.str()));
    }
  }
  for (std::size_t leaf = 0; leaf < leaves.size(); ++leaf) {
    const std::size_t owner = pairing.owner_of(leaf);
    bundles.push_back({leaves[leaf].needs, owner == Pairing::kNone
                                               ? std::vector<StoredArray>()
                                               : std::move(owners[owner].arrays)});
  }
}

}  // namespace

std::vector<Bundle> bundles_of(const Model& model, const Builder& builder,
                               const io::KerasWeights& file, std::vector<std::string>& problems) {
  std::vector<Bundle> bundles;
  std::set<std::string_view> seen;
  for (const Layer& layer : model.layers) {
    seen.insert(layer.name);
    if (layer.model) {
      std::vector<Leaf> leaves;
      collect_leaves(*layer.model, builder, layer.name + "/", "", layer.trainable, leaves);
      pair_nested(layer.name, leaves, arrays_of(file, layer.name), bundles, problems);
    } else if (const LayerNeeds* needs = builder.needs_of(layer.name)) {
      bundles.push_back({needs, arrays_of(file, layer.name)});
    } else if (const auto arrays = arrays_of(file, layer.name); !arrays.empty()) {
      problems.push_back(fmt::format("layer {}: its array {} {} is not needed", layer.name,
                                     arrays[0].name, arrays[0].shape.str()));
    }
  }
  for (const io::KerasLayer& layer : file.layers()) {
    if (!layer.arrays.empty() && !seen.contains(layer.name)) {
      problems.push_back(
          fmt::format("layer {}: the file has its array {}, but the model has no such layer",
                      layer.name, layer.arrays[0].name));
    }
  }
  return bundles;
}

}  // namespace gentrain::keras
