// The CPU as a device: who it says it is, which instruction set it takes, its memory and its
// queues.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <dnnl.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "kernels/cpu/backend.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/queue.h"
#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/support/workbench.h"

namespace gentrain {
namespace {

using test::cpu_device;
using test::message_of;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

Isa isa_in_use() {
  return cpu_device().identity().isa == "v4" ? Isa::kV4 : Isa::kV3;
}

constexpr std::uintptr_t kPage = 4096;

void* page_of(std::byte* address) {
  return address - reinterpret_cast<std::uintptr_t>(address) % kPage;
}

/// Whether the process has memory at the address of a page.
bool is_mapped(void* page) {
  unsigned char resident = 0;
  return ::mincore(page, kPage, &resident) == 0;
}

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

TEST(CpuDevice, HoldsOneDnnToTheInstructionSet) {
  const dnnl::cpu_isa expected =
      isa_in_use() == Isa::kV4 ? dnnl::cpu_isa::avx512_core : dnnl::cpu_isa::avx2;
  EXPECT_EQ(dnnl::get_effective_cpu_isa(), expected);
  EXPECT_EQ(dnnl::get_cpu_isa_hints(), dnnl::cpu_isa_hints::no_hints);
}

using CpuDeviceDeathTest = ::testing::Test;

// In a process of its own, in which oneDNN has not looked at the environment yet.
TEST_F(CpuDeviceDeathTest, TheEnvironmentDoesNotChangeTheInstructionSetOfOneDnn) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        ::setenv("DNNL_MAX_CPU_ISA", "SSE41", 1);
        ::setenv("DNNL_CPU_ISA_HINTS", "PREFER_YMM", 1);
        const dnnl::cpu_isa expected =
            isa_in_use() == Isa::kV4 ? dnnl::cpu_isa::avx512_core : dnnl::cpu_isa::avx2;
        const bool held = dnnl::get_effective_cpu_isa() == expected &&
                          dnnl::get_cpu_isa_hints() == dnnl::cpu_isa_hints::no_hints;
        std::_Exit(held ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(CpuDeviceDeathTest, SaysThatOneDnnWasUsedBefore) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto make = [] {
    using dnnl::memory;
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    const memory::desc x({2, 2}, memory::data_type::f32, memory::format_tag::ab);
    const dnnl::eltwise_forward::desc relu(dnnl::prop_kind::forward_inference,
                                           dnnl::algorithm::eltwise_relu, x, 0, 0);
    // From here on oneDNN takes no other instruction set.
    const dnnl::eltwise_forward::primitive_desc chosen(relu, engine);
    return message_of<DeviceError>([] { cpu_device(); });
  };
  EXPECT_EXIT(
      {
        std::fputs(make().c_str(), stderr);
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0),
      "oneDNN was used before the CPU device: it cannot be held to isa v[34] any more");
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
  std::unique_ptr<Device> device = make_cpu_device(isa_in_use());
  std::vector<void*> pages;
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{5} << 20}) {
    const Buffer buffer(device->memory(), bytes);
    auto* first = static_cast<std::byte*>(buffer.data());
    std::memset(first, 1, bytes);
    pages.push_back(page_of(first));
    pages.push_back(page_of(first + bytes - 1));
  }
  EXPECT_EQ(device->memory().stats().live_bytes, 0U);
  EXPECT_TRUE(std::all_of(pages.begin(), pages.end(), is_mapped)) << "kept for the next buffer";
  device.reset();
  EXPECT_TRUE(std::none_of(pages.begin(), pages.end(), is_mapped));
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

}  // namespace
}  // namespace gentrain
