#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <mutex>
#include <vector>

#include "net/event_queue.h"
#include "runtime/serving/request.h"

namespace ternion {

// Carries the token events of a step from the engine's thread to the network's in one piece; there they go into their queues
// and readers are woken. So the engine's thread touches nothing that a network thread has in its cache, and wakes one of
// them, once, for all tokens of a step: that takes a system call, and on a busy machine it may take the core.
//
// What is on its way is bounded by what the running requests may still generate. Thread-safe.
class TokenMail : public std::enable_shared_from_this<TokenMail> {
 public:
  // For the events of one queue, which lives until all that was sent before the address's end has been delivered.
  class Address {
   public:
    Address(std::shared_ptr<TokenMail> mail, std::shared_ptr<EventQueue> queue)
        : mail_(std::move(mail)), queue_(std::move(queue)) {}
    ~Address();
    Address(const Address&) = delete;
    Address& operator=(const Address&) = delete;

    // Delivered, in order, with the next event that no other follows (TokenEvent::more_follow).
    void Send(int choice, const TokenEvent& event) const;

   private:
    const std::shared_ptr<TokenMail> mail_;
    std::shared_ptr<EventQueue> queue_;
  };

  // Its threads deliver. Close comes before its end.
  explicit TokenMail(boost::asio::io_context& io) : io_(&io) {}
  std::shared_ptr<const Address> AddressOf(std::shared_ptr<EventQueue> queue);
  // Nothing is delivered any more.
  void Close();

 private:
  struct Letter {
    EventQueue* queue = nullptr;
    ChoiceEvent event = {};
    std::shared_ptr<EventQueue> last = {};  // no event: the queue may go
  };

  void Add(Letter letter);
  void Deliver() noexcept;

  std::mutex mutex_;
  boost::asio::io_context* io_;  // null when closed
  std::vector<Letter> letters_;
  bool delivering_ = false;
  std::vector<Letter> delivered_;  // Deliver's; kept for its memory
};

}  // namespace ternion
