#include "net/wake_list.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace ternion {

void WakeList::Add(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  if (io_ != nullptr) wakes_.push_back(std::move(wake));
}

void WakeList::Flush() {
  const std::lock_guard lock(mutex_);
  if (wakes_.empty()) return;
  boost::asio::post(*io_, [wakes = std::exchange(wakes_, {})] {
    for (const std::function<void()>& wake : wakes) wake();
  });
}

void WakeList::Close() {
  const std::lock_guard lock(mutex_);
  io_ = nullptr;
  wakes_.clear();
}

}  // namespace ternion
