#include "kernels/cpu/thread_pool.h"

#include <immintrin.h>

namespace ternion::cpu {
namespace {

// About 20 us on current machines: longer than the gap between two operations of a step, far shorter than a nap
// would cost anyone.
constexpr int kSpins = 2000;

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) helpers_.emplace_back([this] { HelperLoop(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_.store(true);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::ForEach(int64_t tasks, absl::FunctionRef<void(int64_t)> body) {
  if (tasks <= 1 || helpers_.empty()) {
    for (int64_t task = 0; task < tasks; ++task) body(task);
    return;
  }
  tasks_ = tasks;
  body_ = &body;
  next_.store(0, std::memory_order_relaxed);
  running_.store(static_cast<int>(helpers_.size()), std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex_);
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  RunTasks();
  for (int spins = 0; running_.load(std::memory_order_acquire) > 0; ++spins) {
    if (spins < kSpins) {
      _mm_pause();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::HelperLoop() {
  uint64_t seen = 0;
  while (true) {
    for (int spins = 0; spins < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spins) _mm_pause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    RunTasks();
    running_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::RunTasks() {
  for (int64_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) (*body_)(task);
}

}  // namespace ternion::cpu
