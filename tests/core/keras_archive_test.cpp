// Archives of Keras 3: their three files, groups by class and number, and what is damaged or left
// over.
#include "tests/core/keras_models.h"

namespace gentrain::keras {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kMetadata = R"({"keras_version": "3.3.3"})";

/// Two dense layers, the second of them in a model within the model.
json small_model() {
  const json attributes = {{"units", 2}, {"use_bias", false}};
  const json inner =
      functional({called(input("in", {2}), {}),
                  called(layer("Dense", "low", attributes), {of_tensors({{"in", 0}})})},
                 {"in"}, {{"low", 0}}, "inner");
  return with_dtypes(
      functional({called(input("x", {2}), {}), called(inner, {of_tensors({{"x", 0}})}),
                  called(layer("Dense", "top", attributes), {of_tensors({{"inner", 0}})})},
                 {"x"}, {{"top", 0}}));
}

class KerasArchives : public KerasModels {
 protected:
  /// The bytes of a weights file with arrays of these paths.
  std::string weights(const std::vector<test::KerasFileArray>& arrays,
                      const std::vector<std::pair<std::string, std::string>>& names = {}) {
    // Written as one layer, whose group is the root's "layers".
    write({{"layers", arrays}});
    change([&](hid_t file) {
      for (const auto& [group, name] : names) {
        const hid_t vars = H5Gopen2(file, ("layers/" + group + "/vars").c_str(), H5P_DEFAULT);
        set_text(vars, "name", name);
        H5Gclose(vars);
      }
    });
    return bytes();
  }
  std::string good_weights() {
    return weights({counting("dense/vars/0", {2, 2}, 1),
                    counting("functional/layers/dense/vars/0", {2, 2}, 5)},
                   {{"dense", "top"}, {"functional/layers/dense", "low"}});
  }
  std::string said(const std::vector<std::pair<std::string, std::string>>& files) {
    zip(files);
    return refusal();
  }
};

TEST_F(KerasArchives, GroupsAreFoundByClassAndName) {
  const std::string arrays = good_weights();
  zip({{"metadata.json", kMetadata},
       {"config.json", small_model().dump()},
       {"model.weights.h5", arrays}});
  const ImportedModel model = import();
  EXPECT_EQ(model.writer, "Keras 3.3.3");
  EXPECT_THAT(names_of(model.graph), ElementsAre("x", "inner/low", "top"));
  EXPECT_THAT(array_of(model, "top/weight").values, ElementsAre(1, 2, 1.5, 2.5));
  EXPECT_THAT(array_of(model, "inner/low/weight").values, ElementsAre(5, 6, 5.5, 6.5));
  EXPECT_EQ(model.sha256.size(), 64);
}

TEST_F(KerasArchives, NamesAreAboveNumbers) {
  const json attributes = {{"units", 2}, {"use_bias", false}};
  const std::string config =
      with_dtypes(sequential({input("x", {2}), layer("Dense", "a", attributes),
                              layer("Dense", "b", attributes)}))
          .dump();
  const std::vector<test::KerasFileArray> arrays = {counting("dense/vars/0", {2, 2}, 1),
                                                    counting("dense_1/vars/0", {2, 2}, 5)};
  const auto first_of = [&](const std::vector<std::pair<std::string, std::string>>& names) {
    const std::string bytes = weights(arrays, names);
    zip({{"metadata.json", kMetadata}, {"config.json", config}, {"model.weights.h5", bytes}});
    return array_of(import(), "a/weight").values[0];
  };
  EXPECT_EQ(first_of({}), 1);
  EXPECT_EQ(first_of({{"dense", "a"}, {"dense_1", "b"}}), 1);
  EXPECT_EQ(first_of({{"dense", "b"}, {"dense_1", "a"}}), 5);
  const std::string other = weights(arrays, {{"dense", "c"}});
  EXPECT_THAT(
      said({{"metadata.json", kMetadata}, {"config.json", config}, {"model.weights.h5", other}}),
      StartsWith(": layer a: it is missing; layers/dense is that of layer c"));
}

TEST_F(KerasArchives, ArraysThatDoNotFit) {
  const auto of_weights = [&](const std::string& bytes) {
    return said({{"metadata.json", kMetadata},
                 {"config.json", small_model().dump()},
                 {"model.weights.h5", bytes}});
  };
  EXPECT_EQ(of_weights(weights({counting("dense/vars/0", {2, 2}), counting("dense/vars/1", {2}),
                                counting("functional/layers/dense/vars/0", {2, 2}),
                                counting("dropout/seed_generator/vars/0", {2})})),
            ": its array layers/dense/vars/1 belongs to no layer of the model");
  EXPECT_EQ(of_weights(weights({counting("dense/vars/0", {2, 2})})),
            ": layer inner/low: its kernel [2, 2] is missing; the file has no arrays of it");
  EXPECT_EQ(of_weights(weights({counting("dense/vars/0", {2, 1}),
                                counting("functional/layers/dense/vars/0", {2, 2})})),
            ": layer top: array layers/dense/vars/0/kernel has the extents [2, 1], but [2, 2] are "
            "needed");
  EXPECT_EQ(of_weights("text"), ": it is no HDF5 file");
}

TEST_F(KerasArchives, ArchivesThatAreDamaged) {
  const std::string arrays = good_weights();
  const std::string config = small_model().dump();
  EXPECT_EQ(said({{"metadata.json", kMetadata}, {"config.json", config}}),
            ": there is no model.weights.h5 in its zip, as Keras 3 writes it");
  EXPECT_EQ(said({{"metadata.json", "{}"}, {"config.json", config}, {"model.weights.h5", arrays}}),
            ": its metadata.json has no keras_version");
  EXPECT_THAT(said({{"metadata.json", kMetadata},
                    {"config.json", config.substr(0, 100)},
                    {"model.weights.h5", arrays}}),
              StartsWith(": its JSON is damaged: "));
  zip({{"metadata.json", kMetadata}, {"config.json", config}, {"model.weights.h5", arrays}});
  const std::string whole = bytes();
  std::ofstream(path_, std::ios::binary) << whole.substr(0, whole.size() * 6 / 10);
  EXPECT_THAT(refusal(), StartsWith(": its zip is damaged or cut off: "));
}

TEST_F(KerasArchives, PackedFilesThatWouldGrowOutOfProportion) {
  const std::string zeros(std::size_t{32} << 20, '\0');
  EXPECT_THAT(said({{"metadata.json", kMetadata},
                    {"config.json", small_model().dump()},
                    {"model.weights.h5", zeros}}),
              HasSubstr("model.weights.h5 in its zip would have 33554432 bytes, at most 16777216 "
                        "are read of"));
}

}  // namespace
}  // namespace gentrain::keras
