#include "kernels/cpu/thread_pool.h"

#include <immintrin.h>

#include "kernels/check.h"

namespace ternion::cpu {
namespace {

// About 20 us on current machines: longer than the gap between two operations of a step, far shorter than a
// nap would cost anyone.
constexpr int kSpins = 2000;

// A task number that no loop has: it stands in the ticket while the next loop is being written.
constexpr uint64_t kClosed = 0xFFFFFFFF;

uint64_t LoopOf(uint64_t ticket) { return ticket >> 32; }
int64_t TaskOf(uint64_t ticket) { return static_cast<int64_t>(ticket & kClosed); }

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) helpers_.emplace_back([this] { HelperLoop(); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  Publish(0, nullptr);
  for (std::thread& helper : helpers_) helper.join();
}

void ThreadPool::ForEach(int64_t tasks, absl::FunctionRef<void(int64_t)> body) {
  if (tasks <= 1 || helpers_.empty()) {
    for (int64_t task = 0; task < tasks; ++task) body(task);
    return;
  }
  CHECK(tasks < static_cast<int64_t>(kClosed) / 2, "a loop has fewer than 2^31 tasks");
  Publish(tasks, &body);
  RunTasks();
  for (int spins = 0; done_.load(std::memory_order_acquire) < tasks; ++spins) {
    if (spins < kSpins) {
      _mm_pause();
    } else {
      std::this_thread::yield();
    }
  }
}

// The ticket is closed first: a helper that read the old one and the new tasks_ finds it changed.
void ThreadPool::Publish(int64_t tasks, const Body* body) {
  const uint64_t loop = LoopOf(ticket_.load(std::memory_order_relaxed)) + 1;
  ticket_.store(loop << 32 | kClosed);
  tasks_.store(tasks, std::memory_order_release);
  body_.store(body, std::memory_order_release);
  done_.store(0, std::memory_order_relaxed);
  ticket_.store(loop << 32);
  // Both sides go through sequentially consistent order: either this sees the sleeper, or it saw the ticket.
  if (asleep_.load() == 0) return;
  { std::lock_guard lock(mutex_); }
  wake_.notify_all();
}

void ThreadPool::HelperLoop() {
  uint64_t seen = 0, loop = 0;
  const auto published = [&] {
    const uint64_t ticket = ticket_.load();
    loop = LoopOf(ticket);
    return loop != seen && TaskOf(ticket) != static_cast<int64_t>(kClosed);
  };
  while (true) {
    bool found = published();
    for (int spins = 0; spins < kSpins && !found; ++spins) {
      _mm_pause();
      found = published();
    }
    if (!found) {
      std::unique_lock lock(mutex_);
      asleep_.fetch_add(1);
      wake_.wait(lock, published);
      asleep_.fetch_sub(1);
    }
    if (stop_.load()) return;
    seen = loop;
    RunTasks();
  }
}

void ThreadPool::RunTasks() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (true) {
    const int64_t task = TaskOf(ticket);
    const int64_t tasks = tasks_.load(std::memory_order_acquire);
    const Body* body = body_.load(std::memory_order_acquire);
    if (task >= tasks) return;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
    (*body)(task);
    done_.fetch_add(1, std::memory_order_release);
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

}  // namespace ternion::cpu
