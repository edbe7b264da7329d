// Shared blocks: filled once for all processes, found by their key wherever the memory lies,
// refused where there is no room, and nobody waits for ever for a process that is gone.
#include "kernels/shared_blocks.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/cpu/weights_cache.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using test::message_of;
using ::testing::HasSubstr;

/// Memory that is mapped several times, as several processes would.
class HostMemory {
 public:
  explicit HostMemory(std::size_t bytes) : bytes_(bytes), file_(memfd_create("blocks", 0)) {
    EXPECT_EQ(ftruncate(file_, static_cast<off_t>(bytes)), 0);
  }
  ~HostMemory() { close(file_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  [[nodiscard]] std::shared_ptr<void> map() const {
    void* data = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    EXPECT_NE(data, MAP_FAILED);
    return {data, [bytes = bytes_](void* block) { munmap(block, bytes); }};
  }
  [[nodiscard]] std::shared_ptr<SharedBlocks> blocks() const {
    return std::make_shared<SharedBlocks>(map(), bytes_);
  }

 private:
  std::size_t bytes_;
  int file_;
};

class Blocks : public ::testing::Test {
 protected:
  static constexpr std::size_t kRoom = 4096;

  /// Asks for a block whose content would be the number of the attempt.
  int* get(SharedBlocks& blocks, const SharedKey& key, std::size_t bytes = 64) {
    return static_cast<int*>(blocks.get(key, bytes, [&](void* to) {
      ++fills_;
      *static_cast<int*>(to) = fills_;
    }));
  }

  HostMemory memory_{SharedBlocks::kTableBytes + kRoom};
  std::shared_ptr<SharedBlocks> first_ = memory_.blocks();
  std::shared_ptr<SharedBlocks> second_ = memory_.blocks();
  int fills_ = 0;
};

TEST_F(Blocks, AreFilledOnceForAll) {
  int* const one = get(*first_, {64, 1});
  int* const other = get(*second_, {64, 1});
  EXPECT_NE(one, other);  // the memory lies elsewhere
  EXPECT_EQ(*one, 1);
  EXPECT_EQ(*other, 1);
  EXPECT_EQ(fills_, 1);
  *one = 77;
  EXPECT_EQ(*other, 77);
  EXPECT_EQ(first_->used(), SharedBlocks::kTableBytes + 64);
  EXPECT_EQ(second_->used(), first_->used());
}

TEST_F(Blocks, OfOtherKeysAreOthers) {
  EXPECT_EQ(*get(*first_, {64, 1}), 1);
  EXPECT_EQ(*get(*second_, {64, 2}), 2);
  EXPECT_EQ(*get(*second_, {128, 1}), 3);
  EXPECT_EQ(*get(*second_, {}), 4);
  EXPECT_EQ(*get(*first_, {}), 4);
  EXPECT_EQ(first_->used(), SharedBlocks::kTableBytes + 4 * std::size_t{64});
}

TEST_F(Blocks, LieInTheMemoryFarFromItsTable) {
  const int* const block = get(*second_, {});
  EXPECT_TRUE(second_->contains(block));
  EXPECT_FALSE(first_->contains(block));
  EXPECT_GE(second_->offset_of(block), std::uint64_t{SharedBlocks::kTableBytes});
  EXPECT_EQ(second_->offset_of(block), first_->offset_of(get(*first_, {})));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0U);
}

TEST_F(Blocks, WithoutRoomOrOfAnotherSizeAreNot) {
  EXPECT_EQ(get(*first_, {64, 1}, kRoom + 1), nullptr);
  EXPECT_EQ(get(*second_, {64, 1}, kRoom + 1), nullptr);
  ASSERT_NE(get(*first_, {64, 2}, kRoom), nullptr);
  EXPECT_EQ(get(*second_, {64, 2}, kRoom - 1), nullptr);
  EXPECT_EQ(get(*second_, {64, 3}, 1), nullptr);
  EXPECT_EQ(get(*first_, {64, 4}, 0), nullptr);
  EXPECT_EQ(fills_, 1);
}

TEST_F(Blocks, AreRefusedWhenTheTableIsFull) {
  const HostMemory large(SharedBlocks::kTableBytes + (std::size_t{1} << 20));
  const auto blocks = large.blocks();
  int given = 0;
  for (std::uint64_t key = 1; key <= 2000; ++key) {
    given += get(*blocks, {key * 64, 0}) != nullptr ? 1 : 0;
  }
  EXPECT_EQ(given, 1024);
  EXPECT_NE(get(*blocks, {64, 0}), nullptr);
}

TEST_F(Blocks, AFailedFillIsLeftToOthers) {
  const auto fail = [](void*) { throw std::runtime_error("no"); };
  EXPECT_THROW(first_->get({64, 1}, 64, fail), std::runtime_error);
  EXPECT_EQ(*get(*second_, {64, 1}), 1);
  EXPECT_EQ(*get(*first_, {64, 1}), 1);
  EXPECT_EQ(first_->used(), SharedBlocks::kTableBytes + 64);
}

TEST_F(Blocks, NeedRoomForTheirTable) {
  EXPECT_EQ(message_of<DeviceError>([&] { SharedBlocks(memory_.map(), 4096); }),
            "shared blocks in 4096 bytes of memory: at least 65536 are needed");
}

TEST_F(Blocks, OthersWaitUntilABlockIsFull) {
  std::atomic<bool> begun{false};
  std::thread filler([&] {
    first_->get({64, 1}, 64, [&](void* to) {
      begun.store(true);
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      *static_cast<int*>(to) = 5;
    });
  });
  while (!begun.load()) {
    std::this_thread::yield();
  }
  EXPECT_EQ(*get(*second_, {64, 1}), 5);
  EXPECT_EQ(fills_, 0);
  filler.join();
}

TEST_F(Blocks, NobodyWaitsForEverForAProcessThatIsGone) {
  const pid_t child = fork();
  if (child == 0) {
    first_->get({64, 1}, 64, [](void*) { _exit(0); });
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(
      message_of<DeviceError>([&] {
        second_->get(
            {64, 1}, 64, [](void*) {}, 20);
      }),
      "a block of 64 bytes of frozen weights, which another process of this host has begun to "
      "fill, was not there after 20 ms: that process hangs or is gone");
  EXPECT_EQ(*get(*second_, {64, 2}), 1);  // other blocks are to be had
}

TEST_F(Blocks, ManyProcessesFillEachBlockOnce) {
  constexpr int kProcesses = 4;
  constexpr std::uint64_t kBlocks = 40;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    children.push_back(fork());
    if (children.back() == 0) {
      const auto own = memory_.blocks();
      for (std::uint64_t key = 1; key <= kBlocks; ++key) {
        own->get({key, 9}, 64, [](void* to) { ++*static_cast<int*>(to); });
      }
      _exit(0);
    }
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  for (std::uint64_t key = 1; key <= kBlocks; ++key) {
    EXPECT_EQ(*get(*first_, {key, 9}), 1);
  }
  EXPECT_EQ(fills_, 0);
}

/// The caches of two processes, and weights at the beginning of what they share.
class SharedLayouts : public Blocks {
 protected:
  int content(cpu::WeightsCache& cache, const void* weights, cpu::Layout layout) {
    const auto block = cache.get({{weights, DType::kF32, {}}, 1}, layout, 64, [&](void* to) {
      ++fills_;
      *static_cast<int*>(to) = fills_;
    });
    return *static_cast<const int*>(block->data());
  }

  cpu::WeightsCache one_{test::cpu_device().memory()};
  cpu::WeightsCache other_{test::cpu_device().memory()};
};

TEST_F(SharedLayouts, AreMadeOnceForAllProcesses) {
  one_.share(first_);
  other_.share(second_);
  const void* const weights = get(*first_, {});
  const void* const same = get(*second_, {});
  EXPECT_EQ(content(one_, weights, 1), 2);
  EXPECT_EQ(content(other_, same, 1), 2);
  EXPECT_EQ(content(other_, same, 2), 3);
  EXPECT_EQ(content(one_, weights, 2), 3);
  EXPECT_EQ(one_.fills(), 1U);
  EXPECT_EQ(other_.fills(), 1U);
}

TEST_F(SharedLayouts, OfOtherWeightsAreMadeByEachProcess) {
  one_.share(first_);
  other_.share(second_);
  const float weights[1] = {};
  EXPECT_EQ(content(one_, weights, 1), 1);
  EXPECT_EQ(content(other_, weights, 1), 2);
  EXPECT_EQ(first_->used(), std::size_t{SharedBlocks::kTableBytes});
}

TEST_F(SharedLayouts, WithoutRoomAreMadeByEachProcess) {
  one_.share(first_);
  other_.share(second_);
  const void* const weights = get(*first_, {}, kRoom);
  EXPECT_EQ(content(one_, weights, 1), 2);
  EXPECT_EQ(content(other_, get(*second_, {}, kRoom), 1), 3);
}

}  // namespace
}  // namespace gentrain
