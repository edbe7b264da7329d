// Frozen weights over MPI: the ranks of a host have one copy of a network's weights and of what
// kernels make of them, with the bits that a rank alone has; a network of each rank's own is the
// twin that shows what is compared.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/io/sha256.h"
#include "core/ops/ops.h"
#include "kernels/cpu/backend.h"
#include "kernels/shared_blocks.h"
#include "tests/comm/mpi_main.h"
#include "trainers/models/vgg.h"

namespace gentrain::trainers {
namespace {

using test::communicator;

const std::vector<VggMap> kMaps = {{"block1_conv2", false}, {"block2_conv2", false}};

/// A network on a device of its own, and what its use took.
class Network {
 public:
  explicit Network(std::uint64_t key, std::shared_ptr<SharedBlocks> blocks) {
    vgg_.keep_in(std::move(blocks));
    vgg_.initialize(*device_, *queue_, RngKey(key));
    use();
  }

  /// Of the weights, the maps of some images and the gradient at these images.
  [[nodiscard]] const std::string& hash() const { return hash_; }
  /// Blocks that this rank has filled.
  [[nodiscard]] std::int64_t made() const {
    return static_cast<std::int64_t>(cpu::statistics_of(*device_).weights_prepared);
  }
  /// Bytes of tensors when all is done.
  [[nodiscard]] std::int64_t held() const {
    return static_cast<std::int64_t>(device_->memory().stats().live_bytes);
  }

 private:
  void use() {
    Tape tape(*device_, *queue_);
    tape.begin({});
    Context context{*device_, *queue_, &tape, true, {}};
    Tensor x = Tensor::empty(*device_, {2, 24, 24, 3});
    std::vector<float> pixels(static_cast<std::size_t>(x.elements()));
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = static_cast<float>(i % 97) / 97.0F - 0.5F;
    }
    copy_from_host<float>(*device_, *queue_, pixels, x);
    tape.watch(x);
    io::Sha256 hash;
    const auto add = [&](const Tensor& tensor) {
      const std::vector<float> values = copy_to_host<float>(*device_, *queue_, tensor);
      hash.update(values.data(), values.size() * sizeof(float));
    };
    add(vgg_.parameters().arena());
    const std::vector<Tensor> maps = vgg_.forward(context, x, kMaps);
    add(maps[0]);
    add(maps[1]);
    tape.backward(ops::squared_error(context, maps[1], 0.0, 1.0).loss);
    add(tape.gradient(x));
    hash_ = hash.finish();
  }

  std::unique_ptr<Device> device_ = make_cpu_device();
  std::unique_ptr<Queue> queue_ = device_->make_queue();
  VggFeatures vgg_{VggNet::kVgg19, kMaps};
  std::string hash_;
};

/// By rank.
std::vector<std::int64_t> gather(std::int64_t value) {
  std::vector<std::int64_t> values;
  for (const std::string& text : communicator().all_gather_text(std::to_string(value))) {
    values.push_back(std::stoll(text));
  }
  return values;
}

std::int64_t sum(const std::vector<std::int64_t>& values) {
  std::int64_t total = 0;
  for (const std::int64_t value : values) {
    total += value;
  }
  return total;
}

/// Room for a network's weights that all ranks have.
std::shared_ptr<SharedBlocks> shared_room() {
  const VggFeatures vgg(VggNet::kVgg19, kMaps);
  const auto bytes = static_cast<std::size_t>(vgg.parameters().arena_elements()) * sizeof(float);
  const comm::HostMemory memory = communicator().host_memory(SharedBlocks::room_for(bytes));
  EXPECT_TRUE(memory.shared);
  return std::make_shared<SharedBlocks>(memory.data, memory.bytes);
}

TEST(Frozen, WeightsAndLayoutsStandOnceOnAHost) {
  const Network alone(7, nullptr);
  const auto blocks = shared_room();
  const Network together(7, blocks);
  communicator().barrier();
  EXPECT_EQ(together.hash(), alone.hash());
  const auto same = communicator().all_gather_text(together.hash());
  EXPECT_EQ(same, std::vector<std::string>(same.size(), alone.hash()));
  // Every layout was made by one rank, and the memory of all is what one rank took.
  EXPECT_GT(alone.made(), 5);
  EXPECT_EQ(sum(gather(together.made())), alone.made());
  const auto used = static_cast<std::int64_t>(blocks->used());
  EXPECT_EQ(gather(used), std::vector<std::int64_t>(same.size(), used));
  const std::int64_t saved = alone.held() - together.held();
  EXPECT_GT(saved, 0);
  EXPECT_NEAR(static_cast<double>(used), static_cast<double>(saved),
              0.15 * static_cast<double>(saved));  // size classes take up to an eighth more
}

// The twin: networks of each rank's own are made once a rank.
TEST(Frozen, WeightsOfEachRanksOwnAreMadeByEachRank) {
  const Network one(7, nullptr);
  EXPECT_EQ(sum(gather(one.made())), communicator().size() * one.made());
}

// And other weights have another hash, in the same kind of memory.
TEST(Frozen, OtherWeightsHaveAnotherHash) {
  const Network alone(7, nullptr);
  const Network other(8, shared_room());
  EXPECT_NE(other.hash(), alone.hash());
  communicator().barrier();
}

}  // namespace
}  // namespace gentrain::trainers

int main(int argc, char** argv) {
  return gentrain::test::run_mpi_tests(argc, argv);
}
