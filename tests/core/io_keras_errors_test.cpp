// What the reader of Keras weights says of files that do not fit: each refusal with its message.
#include <array>
#include <cmath>
#include <fstream>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "core/io/posix_file.h"
#include "core/io/sha256.h"
#include "tests/core/keras_fixture.h"

namespace gentrain::io {
namespace {

namespace fs = std::filesystem;
using test::KerasFileLayer;
using test::message_of;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(KerasFiles, FilesThatAreNone) {
  EXPECT_EQ(opening(), " is missing: a Keras weights file (.h5) was looked for");
  fs::create_directories(path_);
  EXPECT_EQ(opening(), ": it is no regular file");
  fs::remove(path_);
  PosixFile(path_, O_WRONLY | O_CREAT, 0600).write("text", 4);
  EXPECT_EQ(opening(), ": it is no HDF5 file");
  write(small_network());
  fs::resize_file(path_, fs::file_size(path_) / 2);
  EXPECT_THAT(opening(), AllOf(StartsWith(": HDF5 structure, byte "), HasSubstr(": there are ")));
}

TEST_F(KerasFiles, NoLayerNames) {
  write(small_network());
  change([](hid_t file) { H5Adelete(file, "layer_names"); });
  const char* const message =
      ": neither the root nor /model_weights has the attribute layer_names of a Keras .h5 file "
      "(.weights.h5 of Keras 3 is laid out in another way)";
  EXPECT_EQ(opening(), message);
  write(small_network(), {.group = "model_weights"});
  change([](hid_t file) { H5Adelete_by_name(file, "model_weights", "layer_names", H5P_DEFAULT); });
  EXPECT_EQ(opening(), message);
}

TEST_F(KerasFiles, NamesThatAreNone) {
  write(small_network());
  change([](hid_t file) {
    H5Adelete(file, "layer_names");
    const hsize_t count = 2;
    const hid_t space = H5Screate_simple(1, &count, nullptr);
    H5Aclose(H5Acreate2(file, "layer_names", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
  });
  EXPECT_EQ(opening(), ": attribute layer_names: its elements are no texts");
  write(small_network());
  change([](hid_t file) { set_texts(file, "layer_names", {"conv", "dense", "conv"}); });
  EXPECT_EQ(opening(), ": layer_names holds conv twice");
  write({{"a", {counting("w", {1})}}});
  change([](hid_t file) {
    const hid_t group = H5Gopen2(file, "a", H5P_DEFAULT);
    set_texts(group, "weight_names", {"w", "w"});
    H5Gclose(group);
  });
  EXPECT_EQ(opening(), ": layer a: weight_names holds w twice");
  change([](hid_t file) { H5Adelete_by_name(file, "a", "weight_names", H5P_DEFAULT); });
  EXPECT_EQ(opening(), ": layer a: it has no attribute weight_names");
  write({{"a", {counting("w", {1})}}});
  change([](hid_t file) { H5Lmove(file, "a", file, "b", H5P_DEFAULT, H5P_DEFAULT); });
  EXPECT_EQ(opening(), ": layer a: there is no 'a'");
  write({{"a", {counting("w", {1})}}});
  change([](hid_t file) { set_texts(file, "layer_names", {"a/w"}); });
  EXPECT_EQ(opening(), ": layer a/w: it is no group");
}

TEST_F(KerasFiles, OfANewerFormat) {
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  H5Fclose(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access));
  H5Pclose(access);
  EXPECT_EQ(opening(),
            ": it is an HDF5 file of a newer format (superblock 3); what h5py writes by default "
            "(superblock 0) is needed");
}

TEST_F(KerasFiles, PathsThatAreNone) {
  write(small_network());
  for (const char* name : {"/conv", "conv//x", ".", "conv/", "./conv", "conv/..", "conv3"}) {
    change([&](hid_t file) { set_texts(file, "layer_names", {name}); });
    EXPECT_EQ(opening(), fmt::format(": layer {0}: there is no '{0}'", name));
  }
  change([](hid_t file) { set_texts(file, "layer_names", {""}); });
  EXPECT_EQ(opening(), ": layer : it has no attribute weight_names");
}

TEST_F(KerasFiles, TheanoIsRefused) {
  write(small_network(), {.backend = "theano"});
  EXPECT_EQ(opening(),
            ": it was written with the backend theano, whose convolution kernels are flipped; one "
            "written with tensorflow is needed");
}

TEST_F(KerasFiles, MissingLayersAndArrays) {
  write(small_network());
  EXPECT_EQ(reading("conv3", "w"),
            ": layer conv3: there is no such layer; layers with weights: conv, fire2/squeeze, "
            "dense");
  EXPECT_EQ(taking("conv3", {kConvKernel}),
            ": layer conv3: there is no such layer; layers with weights: conv, fire2/squeeze, "
            "dense");
  EXPECT_EQ(reading("conv", "w"),
            ": layer conv: array w: there is no such array; it has conv_W_1:0 [2, 1, 3, 2], "
            "conv_b_1:0 [2]");
  EXPECT_EQ(taking("input_1", {kConvKernel}),
            ": layer input_1: its kernel [2, 1, 3, 2] is missing; it has no arrays");
  change([](hid_t file) { H5Ldelete(file, "conv/conv_b_1:0", H5P_DEFAULT); });
  EXPECT_EQ(opening(), ": layer conv: array conv_b_1:0: there is no 'conv/conv_b_1:0'");
  std::vector<KerasFileLayer> many;
  for (int i = 0; i < 30; ++i) {
    many.push_back({"l" + std::to_string(i), {counting("w", {1})}});
  }
  write(many);
  EXPECT_THAT(reading("x", "w"), EndsWith("l22, l23 and 6 more"));
}

TEST_F(KerasFiles, ArraysOfALayerThatDoNotFit) {
  write({{"conv", {counting("kernel:0", {2, 1, 3, 2}), counting("bias:0", {2})}},
         {"separable",
          {counting("depthwise_kernel:0", {3, 3, 2, 1}),
           counting("pointwise_kernel:0", {1, 1, 2, 4})}},
         {"strange", {counting("one", {1}), counting("two", {1})}}});
  EXPECT_EQ(taking("conv", {kConvKernel}),
            ": layer conv: its array bias:0 [2] is not needed; needed: kernel [2, 1, 3, 2]");
  EXPECT_EQ(taking("conv", {kConvKernel, kConvBias, {KerasRole::kGamma, {2}}}),
            ": layer conv: its gamma [2] is missing; it has kernel:0 [2, 1, 3, 2], bias:0 [2]");
  EXPECT_EQ(taking("separable", {kConvKernel}),
            ": layer separable: depthwise_kernel:0 and pointwise_kernel:0 both look like its "
            "kernel");
  EXPECT_EQ(taking("strange", {kConvKernel}),
            ": layer strange: its kernel [2, 1, 3, 2] is missing; it has one [1], two [1]");
  EXPECT_EQ(taking("strange", {}),
            ": layer strange: its array one [1] is not needed; needed: nothing");
}

TEST_F(KerasFiles, ExtentsThatDoNotFit) {
  const auto kernel_error = [&](const Shape& file, const Shape& needed) {
    write({{"l", {counting("kernel:0", file)}}});
    return taking("l", {{KerasRole::kKernel, needed}});
  };
  const std::string array = ": layer l: array kernel:0: ";
  EXPECT_EQ(kernel_error({3, 4}, {4, 1, 1, 3}),
            array + "it has 2 extents, [3, 4], but 4, [1, 1, 3, 4], are needed");
  EXPECT_EQ(kernel_error({3, 5}, {4, 3}), array + "its extents are [3, 5], but [3, 4] are needed");
  EXPECT_EQ(kernel_error({4, 3}, {4, 3}),
            array +
                "its extents are [4, 3], but [3, 4] are needed: it is the transpose, [out, in] "
                "instead of [in, out]");
  EXPECT_EQ(kernel_error({4, 3, 1, 2}, {4, 1, 2, 3}),
            array +
                "its extents are [4, 3, 1, 2], but [1, 2, 3, 4] are needed: they are in the "
                "order [out, in, kh, kw] of channels first instead of [kh, kw, in, out]");
  EXPECT_EQ(kernel_error({4, 1, 2, 3}, {4, 1, 2, 3}),
            array +
                "its extents are [4, 1, 2, 3], but [1, 2, 3, 4] are needed: they are in the "
                "order [out, kh, kw, in] instead of [kh, kw, in, out]");
  EXPECT_EQ(kernel_error({2, 1, 3, 4}, {4, 1, 2, 3}),
            array +
                "its extents are [2, 1, 3, 4], but [1, 2, 3, 4] are needed: they are the same "
                "in another order");
}

TEST_F(KerasFiles, ValuesThatAreNotFinite) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const auto& [value, text] : {std::pair(std::nan(""), "nan"), std::pair(inf, "inf"),
                                    std::pair(-inf, "-inf"), std::pair(1e300, "inf")}) {
    std::vector<KerasFileLayer> layers = small_network();
    layers[1].arrays[0].values[7] = value;
    write(layers, {.bits = 64});
    const std::string message = fmt::format(
        ": layer conv: array conv_W_1:0: its element [1, 0, 0, 1] is {} as f32; weights must be "
        "finite",
        text);
    EXPECT_EQ(reading("conv", "conv_W_1:0"), message);
    EXPECT_EQ(taking("conv", {kConvKernel, kConvBias}), message);
  }
}

/// Puts other arrays in the place of conv_b_1:0.
class KerasArrays : public KerasFiles {
 protected:
  /// Arrays in chunks may grow.
  void replace(
      hid_t type, const std::vector<hsize_t>& extents,
      const std::function<void(hid_t properties)>& prepare,
      const std::function<void(hid_t array)>& fill = [](hid_t) {}) const {
    write(small_network());
    change([&](hid_t file) {
      H5Ldelete(file, "conv/conv_b_1:0", H5P_DEFAULT);
      const hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
      prepare(properties);
      const bool grows = H5Pget_layout(properties) == H5D_CHUNKED;
      const std::vector<hsize_t> unlimited(extents.size(), H5S_UNLIMITED);
      const hid_t space = H5Screate_simple(static_cast<int>(extents.size()), extents.data(),
                                           grows ? unlimited.data() : nullptr);
      const hid_t array =
          H5Dcreate2(file, "conv/conv_b_1:0", type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
      EXPECT_GE(array, 0);
      fill(array);
      H5Dclose(array);
      H5Pclose(properties);
      H5Sclose(space);
    });
  }
  /// Puts bytes in the place of all equal ones.
  void patch(const std::string& from, const std::string& to) const {
    const Bytes bytes = read_file(path_);
    std::string content(reinterpret_cast<const char*>(bytes.data.get()), bytes.size);
    for (std::size_t at = 0; (at = content.find(from, at)) != std::string::npos;) {
      content.replace(at, from.size(), to);
    }
    PosixFile(path_, O_WRONLY | O_TRUNC).write(content.data(), content.size());
  }
  [[nodiscard]] std::string reading_bias() const { return reading("conv", "conv_b_1:0"); }

  const std::string bias_ = ": layer conv: array conv_b_1:0: ";
};

TEST_F(KerasArrays, OfOtherTypes) {
  const auto nothing = [](hid_t) {};
  replace(H5T_STD_I32LE, {2}, nothing);
  EXPECT_EQ(opening(), "nothing was thrown") << "an unused one does not matter";
  EXPECT_EQ(reading_bias(),
            bias_ + "its elements are no floating-point numbers (f16, f32 or f64, little-endian)");
  replace(H5T_IEEE_F32LE, {1, 1, 1, 1, 1, 1, 1}, nothing);
  EXPECT_EQ(opening(), bias_ + "it has 7 extents, at most 6 can be read");
}

TEST_F(KerasArrays, OfMoreThanTheFileHolds) {
  const hsize_t large = hsize_t{1} << 31;
  const auto nothing = [](hid_t) {};
  const auto chunks = [](hid_t properties) {
    const std::array<hsize_t, 3> chunk{1, 16, 16};
    H5Pset_chunk(properties, 3, chunk.data());
  };
  replace(H5T_IEEE_F32LE, {4, large, large}, chunks);
  EXPECT_EQ(opening(), bias_ + "its extents 4 x 2147483648 x 2147483648 are more than can be");
  replace(H5T_IEEE_F32LE, {4, 4096, large}, nothing);
  EXPECT_EQ(reading_bias(), bias_ + "its elements were never written");
  EXPECT_EQ(taking("conv", {kConvKernel, kConvBias}),
            bias_ + "it has 3 extents, [4, 4096, 2147483648], but 1, [2], are needed");
  replace(H5T_IEEE_F32LE, {4, 4096, large}, chunks);
  EXPECT_EQ(reading_bias(), bias_ +
                                "its elements lie in chunks, perhaps packed; only arrays in one "
                                "piece can be read, as Keras writes them");
  write({{"conv", {counting("conv_b_1:0", {2, 37})}}});
  patch(std::string("\45\0\0\0\0\0\0\0", 8), std::string("\45\0\0\0\1\0\0\0", 8));
  EXPECT_EQ(reading_bias(), bias_ + "its 296 bytes do not fit [2, 4294967333] elements of 4 bytes");
}

TEST_F(KerasArrays, PackedOnes) {
  write(small_network(), {.packed = true});
  EXPECT_EQ(reading_bias(), bias_ +
                                "its elements lie in chunks, perhaps packed; only arrays in one "
                                "piece can be read, as Keras writes them");
}

TEST_F(KerasArrays, WithNothingInThem) {
  replace(H5T_IEEE_F32LE, {0, 3}, [](hid_t) {});
  EXPECT_TRUE(KerasWeights(path_).read("conv", "conv_b_1:0").empty());
}

TEST_F(KerasArrays, InOtherFiles) {
  const std::string elsewhere = (folder_ / "elsewhere").string();
  PosixFile(elsewhere, O_WRONLY | O_CREAT, 0600).write("12345678", 8);
  replace(H5T_IEEE_F32LE, {2},
          [&](hid_t properties) { H5Pset_external(properties, elsewhere.c_str(), 0, 8); });
  const std::string message = bias_ + "its elements lie in another file, which is not opened";
  EXPECT_EQ(reading_bias(), message);
  replace(H5T_IEEE_F32LE, {2}, [&](hid_t properties) {
    const hsize_t count = 2;
    const hid_t space = H5Screate_simple(1, &count, nullptr);
    H5Pset_virtual(properties, space, elsewhere.c_str(), "x", space);
    H5Sclose(space);
  });
  EXPECT_EQ(reading_bias(), message);
}

TEST_F(KerasArrays, BehindLinks) {
  const auto link = [&](const char* name, bool external) {
    write(small_network());
    change([&](hid_t file) {
      H5Ldelete(file, name, H5P_DEFAULT);
      if (external) {
        H5Lcreate_external("other.h5", "/x", file, name, H5P_DEFAULT, H5P_DEFAULT);
      } else {
        H5Lcreate_soft("/dense/other/dense/bias:0", file, name, H5P_DEFAULT, H5P_DEFAULT);
      }
    });
  };
  const std::string soft = " is a soft link; links are not followed";
  link("conv/conv_b_1:0", false);
  EXPECT_EQ(opening(), bias_ + "'conv/conv_b_1:0'" + soft);
  link("conv", false);
  EXPECT_EQ(opening(), ": layer conv: 'conv'" + soft);
  link("fire2", false);
  EXPECT_EQ(opening(), ": layer fire2/squeeze: 'fire2'" + soft);
  const std::string newer =
      " is a group of HDF5's newer format or with external links, which is not read";
  link("conv/conv_b_1:0", true);
  EXPECT_EQ(opening(), ": layer conv: '/conv'" + newer);
  link("conv", true);
  EXPECT_EQ(opening(), ": layer input_1: '/'" + newer);
}

/// Writes one byte in place.
void put_byte(const fs::path& path, std::size_t at, std::uint8_t value) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(value));
}

/// Every byte of a file takes other values: it is read or refused, and that ends.
TEST_F(KerasFiles, DamagedOnesAreReadOrRefused) {
  for (const bool variable : {false, true}) {
    write({{"conv", {counting("conv_W_1:0", {1, 1, 2, 2}), counting("conv_b_1:0", {2})}}},
          {.group = "model_weights", .variable_texts = variable});
    const Bytes whole = read_file(path_);
    int read = 0;
    int refused = 0;
    for (std::size_t at = 0; at < whole.size; ++at) {
      for (const int flip : {0x01, 0xff}) {
        const auto value = static_cast<std::uint8_t>(whole.data[at] ^ flip);
        put_byte(path_, at, value);
        try {
          const KerasWeights weights(path_);
          for (const KerasLayer& layer : weights.layers()) {
            for (const KerasArray& array : layer.arrays) {
              static_cast<void>(weights.read(layer.name, array.name));
            }
          }
          ++read;
        } catch (const IoError&) {
          ++refused;
        }
      }
      put_byte(path_, at, whole.data[at]);
    }
    EXPECT_GT(read, 100);
    EXPECT_GT(refused, 500);
  }
}

}  // namespace
}  // namespace gentrain::io
