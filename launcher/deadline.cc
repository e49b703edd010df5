#include "launcher/deadline.h"

#include <utility>

namespace ternion {

Deadline::Deadline(std::chrono::milliseconds limit, std::function<void()> late)
    : thread_([this, limit, late = std::move(late)] {
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, limit, [this] { return met_; })) return;
        lock.unlock();
        late();
      }) {}

Deadline::~Deadline() {
  {
    std::lock_guard lock(mutex_);
    met_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

}  // namespace ternion
