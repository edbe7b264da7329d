// WorkerPool: the threads of a rank that compute shards. Which thread computes what never matters.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gentrain::trainers {

/// `workers` workers. The caller is worker 0 where it has nothing else to do (a lone process);
/// otherwise it stays free to drive the exchange, and all workers are threads. Throws DeviceError
/// naming how many were asked for if the host does not start them.
class WorkerPool {
 public:
  WorkerPool(int workers, bool caller_works);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  [[nodiscard]] int workers() const { return workers_; }

  /// Starts `work(worker)` on every worker. With caller_works, worker 0 runs before this returns.
  void start(const std::function<void(int)>& work);
  /// Whether no worker is at work.
  [[nodiscard]] bool idle() const { return running_.load(std::memory_order_acquire) == 0; }
  /// The same, but waits some tens of microseconds for a worker that is about to end.
  [[nodiscard]] bool soon_idle() const;
  /// Whether a worker threw; the others stop at their next shard if they ask.
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }
  /// Waits for the end and rethrows the first exception of a worker.
  void finish();
  /// Ends a round early: failed() becomes true, and this waits until all workers have ended.
  void cancel() noexcept;
  /// start() and finish().
  void run(const std::function<void(int)>& work) {
    start(work);
    finish();
  }

 private:
  void thread_main(int worker);
  void end_threads();
  void run_one(int worker);
  void wait_for_workers();

  int workers_;
  bool caller_works_;
  const std::function<void(int)>* work_ = nullptr;
  std::atomic<std::uint32_t> round_{0};
  std::atomic<int> running_{0};
  std::atomic<bool> failed_{false};
  std::atomic<bool> quit_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace gentrain::trainers
