// The caching allocator: size classes, reuse, accounting, alignment, errors.
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/buffer.h"
#include "kernels/error.h"
#include "tests/support/compare.h"

namespace gentrain {
namespace {

using test::message_of;
using ::testing::HasSubstr;

/// What the system has lent, seen from outside the allocator.
struct Ledger {
  std::size_t held = 0;
  std::size_t limit = std::numeric_limits<std::size_t>::max();
  bool whole_pages = true;
};

class LedgerMemory final : public SystemMemory {
 public:
  explicit LedgerMemory(Ledger& ledger) : ledger_(ledger) {}
  void* acquire(std::size_t bytes) override {
    if (ledger_.held + bytes > ledger_.limit) {
      throw DeviceError(fmt::format("no memory for {} bytes", bytes));
    }
    ledger_.held += bytes;
    ledger_.whole_pages = ledger_.whole_pages && bytes % 4096 == 0;
    return std::aligned_alloc(64, bytes);
  }
  void give_back(void* block, std::size_t bytes) noexcept override {
    ledger_.held -= bytes;
    std::free(block);
  }

 private:
  Ledger& ledger_;
};

class Allocator : public ::testing::Test {
 protected:
  Ledger ledger_;
  CachingAllocator allocator_{std::make_unique<LedgerMemory>(ledger_)};
};

TEST_F(Allocator, SizeClassesWasteAtMostAnEighth) {
  EXPECT_EQ(CachingAllocator::size_class(0), 64U);
  EXPECT_EQ(CachingAllocator::size_class(1), 64U);
  EXPECT_EQ(CachingAllocator::size_class(64), 64U);
  EXPECT_EQ(CachingAllocator::size_class(65), 128U);
  for (std::size_t bytes = 1; bytes < 100'000'000; bytes += bytes / 7 + 1) {
    const std::size_t rounded = CachingAllocator::size_class(bytes);
    EXPECT_GE(rounded, bytes);
    EXPECT_EQ(rounded % 64, 0U) << bytes;
    EXPECT_LE(rounded, bytes + std::max<std::size_t>(bytes / 8, 63)) << bytes;
    EXPECT_EQ(CachingAllocator::size_class(rounded), rounded) << bytes;
  }
}

TEST_F(Allocator, RefusesSizesThatCannotBeRounded) {
  const std::string message =
      "a block of 18446744073709551615 bytes of memory was asked for: at most 4611686018427387904 "
      "can be";
  const std::size_t bytes = std::numeric_limits<std::size_t>::max();
  EXPECT_EQ(message_of<DeviceError>([&] { CachingAllocator::size_class(bytes); }), message);
  EXPECT_EQ(message_of<DeviceError>([&] { allocator_.allocate(bytes); }), message);
  EXPECT_EQ(allocator_.stats().system_bytes, 0U);
}

TEST_F(Allocator, HandsOutAReleasedBlockAgain) {
  void* first = allocator_.allocate(1000);
  allocator_.release(first, 1000);
  EXPECT_EQ(allocator_.allocate(1001), first) << "another size of the same class";
  allocator_.release(first, 1001);
}

TEST_F(Allocator, AsksTheSystemForNothingInSteadyState) {
  const auto step = [&] {
    const Buffer small(allocator_, 300);
    const Buffer medium(allocator_, 70'000);
    const Buffer large(allocator_, 5'000'000);
  };
  step();
  const std::uint64_t calls = allocator_.stats().system_calls;
  for (int i = 0; i < 10; ++i) {
    step();
  }
  EXPECT_EQ(allocator_.stats().system_calls, calls);
}

TEST_F(Allocator, BlocksAreAlignedAndDistinct) {
  std::set<std::uintptr_t> addresses;
  for (const std::size_t bytes : {1U, 63U, 64U, 1000U, 100'000U, 2'000'000U, 3'000'000U}) {
    void* block = allocator_.allocate(bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(block);
    EXPECT_EQ(address % 64, 0U) << bytes;
    EXPECT_TRUE(addresses.insert(address).second);
    std::fill_n(static_cast<std::byte*>(block), bytes, std::byte{1});
  }
}

TEST_F(Allocator, CountsLiveAndPeakBytes) {
  {
    const Buffer first(allocator_, 1024);
    {
      const Buffer second(allocator_, 2048);
      EXPECT_EQ(allocator_.stats().live_bytes, 3072U);
    }
    EXPECT_EQ(allocator_.stats().live_bytes, 1024U);
    EXPECT_EQ(allocator_.stats().peak_bytes, 3072U);
    allocator_.reset_peak();
    EXPECT_EQ(allocator_.stats().peak_bytes, 1024U);
  }
  EXPECT_EQ(allocator_.stats().live_bytes, 0U);
}

TEST_F(Allocator, CountsWhatTheSystemLent) {
  const Buffer small(allocator_, 1);
  const Buffer large(allocator_, 5'000'000);
  EXPECT_EQ(allocator_.stats().system_calls, 2U);
  EXPECT_EQ(allocator_.stats().system_bytes, ledger_.held);
  EXPECT_TRUE(ledger_.whole_pages);
}

TEST(AllocatorLife, GivesEverythingBackAtItsEnd) {
  Ledger ledger;
  {
    CachingAllocator allocator(std::make_unique<LedgerMemory>(ledger));
    allocator.release(allocator.allocate(100), 100);
    allocator.release(allocator.allocate(10'000'000), 10'000'000);
    EXPECT_GT(ledger.held, 10'000'000U);
  }
  EXPECT_EQ(ledger.held, 0U);
}

TEST_F(Allocator, PassesOnThatMemoryIsExhausted) {
  ledger_.limit = 4'000'000;
  const std::string message = message_of<DeviceError>([&] { allocator_.allocate(50'000'000); });
  EXPECT_THAT(message, HasSubstr("50331648 bytes"));
  EXPECT_EQ(allocator_.stats().live_bytes, 0U);
  EXPECT_NO_THROW(allocator_.release(allocator_.allocate(1000), 1000));
}

TEST_F(Allocator, ThreadsShareIt) {
  const auto work = [&](unsigned char mark) {
    for (std::size_t i = 0; i < 500; ++i) {
      const Buffer buffer(allocator_, 64 + 64 * (i % 9));
      auto* bytes = static_cast<unsigned char*>(buffer.data());
      std::fill_n(bytes, buffer.bytes(), mark);
      ASSERT_EQ(std::count(bytes, bytes + buffer.bytes(), mark),
                static_cast<std::ptrdiff_t>(buffer.bytes()));
    }
  };
  std::thread other(work, static_cast<unsigned char>(1));
  work(2);
  other.join();
  EXPECT_EQ(allocator_.stats().live_bytes, 0U);
}

TEST_F(Allocator, VersionsOfContentsNeverRepeat) {
  Buffer first(allocator_, 64);
  Buffer second(allocator_, 64);
  EXPECT_EQ(first.version(), 0U);
  std::set<std::uint64_t> versions;
  for (int i = 0; i < 3; ++i) {
    first.mark_changed();
    second.mark_changed();
    EXPECT_TRUE(versions.insert(first.version()).second);
    EXPECT_TRUE(versions.insert(second.version()).second);
  }
}

TEST_F(Allocator, PartsOfABufferHaveVersionsOfTheirOwn) {
  Buffer buffer(allocator_, 64);
  buffer.divide(3);
  EXPECT_EQ(buffer.version(1), 0U);
  buffer.mark_changed();
  const std::uint64_t all = buffer.version();
  EXPECT_EQ(buffer.version(0), all);
  EXPECT_EQ(buffer.version(2), all);
  buffer.mark_changed({false, true, false});
  EXPECT_GT(buffer.version(), all) << "a part of the whole changed";
  EXPECT_EQ(buffer.version(1), buffer.version());
  EXPECT_EQ(buffer.version(0), all);
  EXPECT_EQ(buffer.version(2), all);
}

}  // namespace
}  // namespace gentrain
