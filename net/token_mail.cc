#include "net/token_mail.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace ternion {

TokenMail::Address::~Address() { mail_->Add({.last = std::move(queue_)}); }

void TokenMail::Address::Send(int choice, const TokenEvent& event) const {
  mail_->Add({.queue = queue_.get(), .event = {choice, event}});
}

std::shared_ptr<const TokenMail::Address> TokenMail::AddressOf(std::shared_ptr<EventQueue> queue) {
  return std::make_shared<const Address>(shared_from_this(), std::move(queue));
}

void TokenMail::Add(Letter letter) {
  const std::lock_guard lock(mutex_);
  if (io_ == nullptr) return;
  const bool more_follow = letter.event.event.more_follow;
  letters_.push_back(std::move(letter));
  if (more_follow || std::exchange(delivering_, true)) return;
  boost::asio::post(*io_, [self = shared_from_this()] { self->Deliver(); });
}

// On one thread at a time, so that events keep their order.
void TokenMail::Deliver() noexcept {
  while (true) {
    delivered_.clear();
    {
      const std::lock_guard lock(mutex_);
      delivered_.swap(letters_);
      delivering_ = !delivered_.empty();
    }
    if (delivered_.empty()) return;
    for (Letter& letter : delivered_) {
      if (letter.queue != nullptr) letter.queue->Push(std::move(letter.event));
    }
  }
}

void TokenMail::Close() {
  std::vector<Letter> dropped;
  const std::lock_guard lock(mutex_);
  io_ = nullptr;
  dropped.swap(letters_);
}

}  // namespace ternion
