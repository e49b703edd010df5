#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <mutex>
#include <vector>

namespace ternion {

// Connections to be woken together. Waking a network thread takes a system call, and on a busy machine it may take the core
// from the thread that wakes it: the engine's does so once for all tokens of a step. Thread-safe.
class WakeList {
 public:
  explicit WakeList(boost::asio::io_context& io) : io_(&io) {}

  // `wake` is called on a network thread after the next Flush.
  void Add(std::function<void()> wake);
  void Flush();
  // Before the io_context goes: nothing is called any more.
  void Close();

 private:
  std::mutex mutex_;
  boost::asio::io_context* io_;  // null when closed
  std::vector<std::function<void()>> wakes_;
};

}  // namespace ternion
