#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace ternion {

// Calls `late`, on a thread of its own, once this has existed for `limit`.
class Deadline {
 public:
  Deadline(std::chrono::milliseconds limit, std::function<void()> late);
  // Where `late` has begun, waits for its end.
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool met_ = false;
  std::thread thread_;
};

}  // namespace ternion
