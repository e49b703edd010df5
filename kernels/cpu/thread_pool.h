#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace ternion::cpu {

// A fixed team of threads that runs one loop at a time. Between loops the helpers spin briefly, then sleep, so that
// an idle rank costs no core. Which thread runs which task is not fixed, and no result may depend on it.
class ThreadPool {
 public:
  // `threads` counts the caller's own: 1 starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Calls body(task) for every task in [0, tasks) and returns when all are done. One caller at a time, not nested.
  void ForEach(int64_t tasks, absl::FunctionRef<void(int64_t task)> body);

 private:
  void HelperLoop();
  void RunTasks();

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> next_{0};
  std::atomic<int> running_{0};
  int64_t tasks_ = 0;
  const absl::FunctionRef<void(int64_t)>* body_ = nullptr;
};

}  // namespace ternion::cpu
