// What tests of verbs share: commands within this process, and a folder with a trained model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "jobs/cli/exit_codes.h"
#include "jobs/cli/main.h"

namespace gentrain::jobs {
namespace fs = std::filesystem;

/// What a command came to.
struct Outcome {
  int code = 0;
  std::string out;
  std::string err;

  [[nodiscard]] nlohmann::json last_line() const {
    const std::string text = out.substr(0, out.find_last_not_of('\n') + 1);
    return nlohmann::json::parse(text.substr(text.find_last_of('\n') + 1));
  }
};

inline Outcome gentrain(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv{"gentrain"};
  for (const std::string& argument : arguments) {
    argv.push_back(argument.c_str());
  }
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.code = run_main(static_cast<int>(argv.size()), argv.data());
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

inline void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string big_endian(std::uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    text.push_back(static_cast<char>(value >> shift & 0xFF));
  }
  return text;
}

/// `count` images of one grey, and their labels 0, 1, ...
inline void write_test_set(const fs::path& folder, std::uint32_t count, std::uint32_t size) {
  fs::create_directories(folder);
  write(folder / "t10k-images-idx3-ubyte",
        big_endian(0x803) + big_endian(count) + big_endian(size) + big_endian(size) +
            std::string(std::size_t{count} * size * size, '\x40'));
  std::string labels = big_endian(0x801) + big_endian(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    labels.push_back(static_cast<char>(i % 10));
  }
  write(folder / "t10k-labels-idx1-ubyte", labels);
}

/// A folder with a job and the model that it trained.
class Verbs : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder() = fs::temp_directory_path() / ("gentrain_verbs_" + std::to_string(getpid()));
    fs::create_directories(folder());
    write(job(), R"(
batch: {global: 32, shards: 16}
data: {source: digits, train_count: 80, test_count: 16}
model: lenet
threads: 1
stages:
  head: {stop: {steps: 1}, trainable: ["fc2/*"]}
  whole: {stop: {steps: 2}}
output: )" + (folder() / "run").string() +
                     "\n");
    write_test_set(folder() / "mnist", 20, 28);
    ASSERT_EQ(gentrain({job(), "--quiet"}).code, kSuccess);
  }
  static void TearDownTestSuite() { fs::remove_all(folder()); }

  static std::string job() { return (folder() / "job.yaml").string(); }
  static std::string model() { return (folder() / "run/model.h5").string(); }
  static std::string data() { return (folder() / "mnist").string(); }
  static std::string images() { return data() + "/t10k-images-idx3-ubyte"; }
  static fs::path path(const std::string& name) { return folder() / name; }
  /// A small SRGAN beside it, trained for a step; `more`: further keys of its model.
  static void train_srgan(const std::string& more = "") {
    write(path("srgan.yaml"), R"(
batch: {global: 4, shards: 2}
data: {source: faces, train_count: 4, test_count: 2}
model: {name: srgan, width: 4, blocks: 1)" +
                                  more + R"(}
init: xavier
threads: 1
stages:
  mse: {stop: {steps: 1}, optimizer: {name: adam}}
samples: {every: never}
output: )" + path("srgan").string() +
                                  "\n");
    ASSERT_EQ(gentrain({path("srgan.yaml").string(), "--quiet"}).code, kSuccess);
  }
  static std::string srgan() { return path("srgan/model.h5").string(); }

 private:
  /// Made by SetUpTestSuite.
  static fs::path& folder() {
    static fs::path path;
    return path;
  }
};

}  // namespace gentrain::jobs
