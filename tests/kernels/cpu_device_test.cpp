// The CPU as a device: who it says it is, which instruction set it takes, its memory and its
// queues.
#include <cstdint>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/conv.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/queue.h"
#include "kernels/error.h"
#include "kernels/pool.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using test::cpu_device;
using test::message_of;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

TEST(CpuIsa, TakesTheBestOrTheOneAskedFor) {
  const cpu::Processor v3 = {"Old", {}, {"avx512f"}};
  const cpu::Processor v4 = {"New", {}, {}};
  EXPECT_EQ(cpu::choose_isa(Isa::kAuto, v3), Isa::kV3);
  EXPECT_EQ(cpu::choose_isa(Isa::kV3, v3), Isa::kV3);
  EXPECT_EQ(cpu::choose_isa(Isa::kAuto, v4), Isa::kV4);
  EXPECT_EQ(cpu::choose_isa(Isa::kV3, v4), Isa::kV3);
  EXPECT_EQ(cpu::choose_isa(Isa::kV4, v4), Isa::kV4);
}

TEST(CpuIsa, NamesWhatTheProcessorLacks) {
  const cpu::Processor v3 = {"Old", {}, {"avx512f", "avx512bw"}};
  EXPECT_EQ(
      message_of<DeviceError>([&] { cpu::choose_isa(Isa::kV4, v3); }),
      "isa v4 was asked for, but the processor (Old) lacks avx512f, avx512bw: use v3 or auto");
  const cpu::Processor ancient = {"Ancient", {"avx2", "fma"}, {"avx512f"}};
  EXPECT_EQ(message_of<DeviceError>([&] { cpu::choose_isa(Isa::kAuto, ancient); }),
            "the processor (Ancient) lacks avx2, fma: x86-64-v3 (AVX2 and FMA) is the least that "
            "gentrain runs on");
}

TEST(CpuDevice, SaysWhoItIs) {
  const DeviceIdentity& identity = cpu_device().identity();
  EXPECT_EQ(identity.kind, "cpu");
  EXPECT_THAT(identity.isa, MatchesRegex("v[34]"));
  EXPECT_THAT(identity.libraries, MatchesRegex("oneDNN [0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_EQ(identity.name, cpu::this_processor().name);
  EXPECT_FALSE(identity.name.empty());
}

TEST(CpuDevice, RefusesAnotherInstructionSetInTheSameProcess) {
  const bool wide = cpu_device().identity().isa == "v4";
  const Isa other = wide ? Isa::kV3 : Isa::kV4;
  const bool lacks_it = !wide && !cpu::this_processor().missing_v4.empty();
  EXPECT_THAT(
      message_of<DeviceError>([&] { make_cpu_device(other); }),
      HasSubstr(lacks_it ? "isa v4 was asked for" : "this process already has a CPU device"));
}

TEST(CpuDevice, LargeBlocksBeginOnHugePages) {
  const std::size_t huge = std::size_t{2} << 20;
  for (const std::size_t bytes : {huge, 3 * huge / 2, 5 * huge + 4096}) {
    const Buffer buffer(cpu_device().memory(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % huge, 0U) << bytes;
    std::memset(buffer.data(), 1, bytes);  // all of it is there
  }
  const Buffer small(cpu_device().memory(), 100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(small.data()) % 64, 0U);
}

TEST(CpuDevice, GivesItsMemoryBack) {
  const std::unique_ptr<Device> device =
      make_cpu_device(cpu_device().identity().isa == "v4" ? Isa::kV4 : Isa::kV3);
  const Buffer buffer(device->memory(), 100);
  EXPECT_GT(device->memory().stats().system_bytes, 0U);
  EXPECT_EQ(device->memory().stats().live_bytes, 128U);
}

TEST(CpuDevice, NamesTheSizeWhenMemoryIsExhausted) {
  const std::size_t bytes = std::size_t{1} << 60;
  EXPECT_THAT(message_of<DeviceError>([&] { const Buffer buffer(cpu_device().memory(), bytes); }),
              HasSubstr("bytes of memory left for tensors: Cannot allocate memory"));
}

TEST(CpuDevice, CopiesBetweenHostAndDevice) {
  const test::Workbench bench(cpu_device());
  const Buffer buffer(cpu_device().memory(), 3);
  char back[3] = {};
  cpu_device().to_device(bench.queue(), "abc", buffer.data(), 3);
  cpu_device().to_host(bench.queue(), buffer.data(), back, 3);
  bench.queue().wait();
  EXPECT_EQ(std::string(back, 3), "abc");
  cpu_device().to_device(bench.queue(), nullptr, nullptr, 0);
}

TEST(CpuDevice, RefusesQueuesOfOtherDevices) {
  const std::unique_ptr<Queue> queue = test::reference_device().make_queue();
  EXPECT_EQ(message_of<DeviceError>([&] { cpu::cpu_queue(*queue); }),
            "a kernel of the CPU device was given the queue of another device");
  EXPECT_EQ(message_of<DeviceError>([] { cpu::statistics_of(test::reference_device()); }),
            "statistics of a reference device: a cpu device is needed");
}

TEST(CpuQueue, LendsScratchThatGrowsAndStays) {
  cpu::CpuQueue queue(cpu_device().memory());
  void* first = queue.scratch(100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0U);
  EXPECT_EQ(queue.scratch(50), first);
  void* larger = queue.scratch(1000);
  std::memset(larger, 1, 1000);
  EXPECT_EQ(queue.scratch(1000), larger);
  cpu::ScratchPlan plan;
  EXPECT_EQ(plan.add(1), 0U);
  EXPECT_EQ(plan.add(65), 64U);
  EXPECT_EQ(plan.add(0), 192U);
  EXPECT_EQ(plan.bytes(), 192U);
}

TEST(ConvGeometryCheck, NamesTheExtentThatIsWrong) {
  const ConvGeometry good{.n = 1, .h = 5, .w = 6, .c = 1, .oc = 1, .kh = 3, .kw = 3};
  check(good);
  const auto message = [&](auto change) {
    ConvGeometry g = good;
    change(g);
    return message_of<ShapeError>([&] { check(g); });
  };
  EXPECT_EQ(message([](ConvGeometry& g) { g.n = 0; }),
            "convolution: n (images) is 0, at least 1 needed");
  EXPECT_EQ(message([](ConvGeometry& g) { g.stride_w = 0; }),
            "convolution: stride_w is 0, at least 1 needed");
  EXPECT_EQ(message([](ConvGeometry& g) { g.left = -1; }),
            "convolution: padding left is -1, at least 0 needed");
  EXPECT_EQ(message([](ConvGeometry& g) { g.kh = 6; }),
            "convolution: the image has 5 rows with its padding, the kernel 6: no result");
  EXPECT_EQ(message([](ConvGeometry& g) {
              g.kw = 7;
              g.stride_w = 2;
            }),
            "convolution: the image has 6 columns with its padding, the kernel 7: no result");
}

TEST(PoolGeometryCheck, NamesTheExtentThatIsWrong) {
  const PoolGeometry good{.n = 1, .h = 5, .w = 6, .c = 1, .kh = 2, .kw = 2};
  check(good);
  const auto message = [&](auto change) {
    PoolGeometry g = good;
    change(g);
    return message_of<ShapeError>([&] { check(g); });
  };
  EXPECT_EQ(message([](PoolGeometry& g) { g.c = 0; }),
            "pooling: c (channels) is 0, at least 1 needed");
  EXPECT_EQ(message([](PoolGeometry& g) { g.top = 2; }),
            "pooling: padding top is 2, less than the window's 2 needed");
  EXPECT_EQ(message([](PoolGeometry& g) { g.right = -1; }),
            "pooling: padding right is -1, at least 0 needed");
  EXPECT_EQ(message([](PoolGeometry& g) { g.kh = g.kw = 16; }),
            "pooling: a window of 16 x 16 pixels, at most 255 are supported");
  EXPECT_EQ(message([](PoolGeometry& g) { g.kw = 7; }),
            "pooling: the image has 6 columns with its padding, the window 7: no result");
}

}  // namespace
}  // namespace gentrain
