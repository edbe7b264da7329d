// WorkerPool: rounds announced by a counter. Waiting threads spin for a few microseconds, since a
// step of a small network is short, and sleep in the kernel after that.
#include "trainers/worker_pool.h"

#include <fmt/format.h>

#include "kernels/error.h"

namespace gentrain::trainers {

namespace {

constexpr int kSpins = 1000;

template <class T>
void wait_while(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) {
      return;
    }
    __builtin_ia32_pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

WorkerPool::WorkerPool(int workers, bool caller_works)
    : workers_(workers), caller_works_(caller_works) {
  try {
    for (int worker = caller_works ? 1 : 0; worker < workers; ++worker) {
      threads_.emplace_back([this, worker] { thread_main(worker); });
    }
  } catch (const std::exception& error) {  // no thread, or no memory for it
    end_threads();
    throw DeviceError(
        fmt::format("{} workers were asked for, but after {} threads this host starts "
                    "no more: {}",
                    workers, threads_.size(), error.what()));
  }
}

WorkerPool::~WorkerPool() {
  end_threads();
}

void WorkerPool::end_threads() {
  quit_.store(true, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (auto& thread : threads_) {
    thread.join();
  }
}

bool WorkerPool::soon_idle() const {
  for (int i = 0; i < kSpins && !idle(); ++i) {
    __builtin_ia32_pause();
  }
  return idle();
}

void WorkerPool::start(const std::function<void(int)>& work) {
  work_ = &work;
  failed_.store(false, std::memory_order_relaxed);
  error_ = nullptr;
  running_.store(workers_, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  if (caller_works_) {
    run_one(0);
  }
}

void WorkerPool::run_one(int worker) {
  try {
    (*work_)(worker);
  } catch (...) {
    const std::lock_guard lock(error_mutex_);
    if (!error_) {
      error_ = std::current_exception();
    }
    failed_.store(true, std::memory_order_release);
  }
  if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    running_.notify_all();
  }
}

void WorkerPool::thread_main(int worker) {
  std::uint32_t seen = 0;
  while (true) {
    wait_while(round_, seen);
    seen = round_.load(std::memory_order_acquire);
    if (quit_.load(std::memory_order_acquire)) {
      return;
    }
    run_one(worker);
  }
}

void WorkerPool::wait_for_workers() {
  int left = running_.load(std::memory_order_acquire);
  while (left != 0) {
    wait_while(running_, left);
    left = running_.load(std::memory_order_acquire);
  }
}

void WorkerPool::cancel() noexcept {
  failed_.store(true, std::memory_order_release);
  wait_for_workers();
}

void WorkerPool::finish() {
  wait_for_workers();
  if (error_) {
    std::rethrow_exception(error_);
  }
}

}  // namespace gentrain::trainers
