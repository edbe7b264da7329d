// The step: an error in one of a pass's updates ends it, whatever the workers wait for.
#include "trainers/step.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/support/compare.h"
#include "tests/trainers/small_runs.h"

namespace gentrain::trainers {
namespace {

using namespace std::chrono_literals;

/// The CPU, whose memory fails once after a while: late enough for other workers to go ahead.
class FailingDevice final : public Device {
 public:
  void fail_next() { fail_.store(true); }

  [[nodiscard]] const DeviceIdentity& identity() const override { return cpu_->identity(); }
  CachingAllocator& memory() override {
    if (fail_.exchange(false)) {
      std::this_thread::sleep_for(200ms);
      throw DeviceError("no memory left");
    }
    return cpu_->memory();
  }
  std::unique_ptr<Queue> make_queue() override { return cpu_->make_queue(); }
  void to_device(Queue& queue, const void* host, void* device, std::size_t bytes) override {
    cpu_->to_device(queue, host, device, bytes);
  }
  void to_host(Queue& queue, const void* device, void* host, std::size_t bytes) override {
    cpu_->to_host(queue, device, host, bytes);
  }
  ConvKernels& conv() override { return cpu_->conv(); }
  PoolKernels& pool() override { return cpu_->pool(); }
  MatmulKernels& matmul() override { return cpu_->matmul(); }
  ElementwiseKernels& elementwise() override { return cpu_->elementwise(); }
  ReduceKernels& reduce() override { return cpu_->reduce(); }
  LossKernels& loss() override { return cpu_->loss(); }
  NormKernels& norm() override { return cpu_->norm(); }
  PixelKernels& pixel() override { return cpu_->pixel(); }
  PointwiseKernels& pointwise() override { return cpu_->pointwise(); }
  RandomKernels& random() override { return cpu_->random(); }
  UpdateKernels& update() override { return cpu_->update(); }

 private:
  std::unique_ptr<Device> cpu_ = make_cpu_device();
  std::atomic<bool> fail_{false};
};

/// Two updates in one pass of 8 shards and two workers. The first exchange fails to begin a shard,
/// so that nobody begins it in the second, where the other worker waits for it to be begun.
std::string run_failing_pass() {
  FailingDevice device;
  const auto single = comm::make_single();
  const auto queue = device.make_queue();
  ParameterSet first;
  ParameterSet second;
  for (ParameterSet* parameters : {&first, &second}) {
    parameters->add("w", {3}, {}, 1, 1);
    parameters->allocate(device, *queue);
  }
  const UpdateSetting setting{*single, device, comm::ExchangeMode::kCanonical, 8, 2};
  Update one(setting, *queue, first, {}, 0);
  Update two(setting, *queue, second, {}, 0);
  StepRunner runner(*single, device, 2, 8);
  Pass pass{{&one, &two}, [](ShardRun&) {}};
  device.fail_next();
  return test::message_of<DeviceError>([&] { runner.run(pass, {}, 0); });
}

TEST(Step, AnErrorInOneUpdateEndsThePass) {
  auto message = std::async(std::launch::async, run_failing_pass);
  if (message.wait_for(30s) != std::future_status::ready) {
    std::fputs("a worker waits for ever\n", stderr);
    std::_Exit(1);
  }
  EXPECT_EQ(message.get(), "no memory left");
}

}  // namespace
}  // namespace gentrain::trainers
