#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace ternion::cpu {

// A fixed team of threads that runs one loop at a time. Between loops the helpers spin briefly, then sleep,
// so that an idle rank costs no core. A loop ends with its last task: a helper that wakes late is not waited
// for. Which thread runs which task is not fixed, and no result may depend on it.
class ThreadPool {
 public:
  // `threads` counts the caller's own: 1 starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Calls body(task) for every task in [0, tasks) and returns when all are done. One caller at a time, not
  // nested; tasks < 2^31.
  void ForEach(int64_t tasks, absl::FunctionRef<void(int64_t task)> body);

 private:
  using Body = absl::FunctionRef<void(int64_t)>;

  void Publish(int64_t tasks, const Body* body);
  void HelperLoop();
  void RunTasks();

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> asleep_{0};
  std::atomic<bool> stop_{false};
  // The loop's number in the high half, the next task in the low half: a task is taken by raising it by one,
  // which fails for a thread that still looks at an earlier loop.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  std::atomic<int64_t> tasks_{0};
  std::atomic<const Body*> body_{nullptr};
  alignas(64) std::atomic<int64_t> done_{0};
};

}  // namespace ternion::cpu
