// Small Keras weights files in a folder of their own, and what the reader says of them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <hdf5.h>
#include <unistd.h>

#include "core/io/hdf5.h"
#include "core/io/keras_weights.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/keras_file.h"

namespace gentrain::io {

/// Values that count up from `start` by a half.
inline test::KerasFileArray counting(const std::string& name, const Shape& shape,
                                     double start = 0) {
  test::KerasFileArray array{name, shape, {}};
  for (std::int64_t i = 0; i < shape.elements(); ++i) {
    array.values.push_back(start + static_cast<double>(i) / 2);
  }
  return array;
}

inline std::vector<test::KerasFileLayer> small_network() {
  return {
      {"input_1", {}},
      {"conv", {counting("conv_W_1:0", {2, 1, 3, 2}), counting("conv_b_1:0", {2}, 7)}},
      {"fire2/squeeze", {counting("uniform2", {1, 1, 2, 3}), counting("fire2/squeeze_b", {3})}},
      {"dense", {counting("other/dense/kernel:0", {3, 2}), counting("other/dense/bias:0", {2})}}};
}

inline const KerasNeed kConvKernel{KerasRole::kKernel, {2, 2, 1, 3}};
inline const KerasNeed kConvBias{KerasRole::kBias, {2}};

class KerasFiles : public testing::Test {
 protected:
  KerasFiles() { std::filesystem::create_directories(folder_); }
  ~KerasFiles() override { std::filesystem::remove_all(folder_); }
  KerasFiles(const KerasFiles&) = delete;
  KerasFiles& operator=(const KerasFiles&) = delete;

  void write(const std::vector<test::KerasFileLayer>& layers,
             const test::KerasFileLayout& layout = {}) const {
    test::write_keras_file(path_, layers, layout);
  }
  /// Puts texts of fixed length in an attribute's place.
  static void set_texts(hid_t object, const char* name, const std::vector<std::string>& texts) {
    constexpr std::size_t kSize = 16;
    H5Adelete(object, name);
    const hsize_t count = texts.size();
    const hid_t space = H5Screate_simple(1, &count, nullptr);
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, kSize);
    const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    std::string bytes;
    for (const std::string& text : texts) {
      bytes += text + std::string(kSize - text.size(), '\0');
    }
    EXPECT_GE(H5Awrite(attribute, type, bytes.data()), 0);
    H5Aclose(attribute);
    H5Tclose(type);
    H5Sclose(space);
  }
  /// Changes the file that write() made.
  void change(const std::function<void(hid_t)>& edit) const {
    const Hdf5Lock lock;
    const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    edit(file);
    H5Fclose(file);
  }
  [[nodiscard]] std::string opening() const {
    return behind_path(test::message_of<IoError>([&] { KerasWeights weights(path_); }));
  }
  [[nodiscard]] std::string reading(const std::string& layer, const std::string& array) const {
    return behind_path(test::message_of<IoError>(
        [&] { static_cast<void>(KerasWeights(path_).read(layer, array)); }));
  }
  [[nodiscard]] std::string taking(const std::string& layer,
                                   const std::vector<KerasNeed>& needs) const {
    return behind_path(test::message_of<IoError>(
        [&] { static_cast<void>(KerasWeights(path_).read_layer(layer, needs)); }));
  }
  /// A message without the file's name, which it must begin with.
  [[nodiscard]] std::string behind_path(const std::string& message) const {
    return message.starts_with(path_.string()) ? message.substr(path_.string().size()) : message;
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("gentrain-keras-" + std::to_string(getpid()));
  std::filesystem::path path_ = folder_ / "weights.h5";
};

}  // namespace gentrain::io
