#include "net/token_mail.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <memory>
#include <thread>
#include <vector>

namespace ternion {
namespace {

struct Network {
  boost::asio::io_context io;
  std::shared_ptr<TokenMail> mail = std::make_shared<TokenMail>(io);
  int wakes = 0;

  std::shared_ptr<EventQueue> MakeQueue() {
    return std::make_shared<EventQueue>(100000, EventReader{[this] { ++wakes; }, [] {}, 64u << 20});
  }
  void Run() {
    io.restart();
    io.run();
  }
};

TokenEvent Token(int32_t id, bool more_follow) {
  TokenEvent event;
  event.token = id;
  event.more_follow = more_follow;
  return event;
}

// Whichever stream the last is of, even one that is closed.
TEST(TokenMail, DeliversAStepsTokensTogether) {
  Network network;
  const std::shared_ptr<EventQueue> first = network.MakeQueue(), second = network.MakeQueue(),
                                    closed = network.MakeQueue();
  closed->Close();
  const auto to_first = network.mail->AddressOf(first), to_second = network.mail->AddressOf(second),
             to_closed = network.mail->AddressOf(closed);
  to_first->Send(1, Token(5, true));
  to_second->Send(0, Token(6, true));
  to_first->Send(0, Token(7, true));
  network.Run();
  EXPECT_EQ(network.wakes, 0);
  to_closed->Send(0, Token(8, false));
  network.Run();
  EXPECT_EQ(network.wakes, 2);
  const std::vector<ChoiceEvent> events = first->Take(10);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].choice, 1);
  EXPECT_EQ(events[0].event.token, 5);
  EXPECT_EQ(events[1].event.token, 7);
  EXPECT_EQ(second->Take(10).size(), 1u);
}

// The engine forgets a request when its last event is sent, which may be before it is delivered; the client, before that.
TEST(TokenMail, AQueueLivesUntilItsEventsAreDelivered) {
  Network network;
  std::weak_ptr<EventQueue> queue;
  {
    const std::shared_ptr<EventQueue> owned = network.MakeQueue();
    queue = owned;
    network.mail->AddressOf(owned)->Send(0, Token(1, false));
  }
  EXPECT_FALSE(queue.expired());
  network.Run();
  EXPECT_EQ(network.wakes, 1);
  EXPECT_TRUE(queue.expired());
}

TEST(TokenMail, DeliversNothingWhenItIsClosed) {
  Network network;
  const std::shared_ptr<EventQueue> queue = network.MakeQueue();
  const auto address = network.mail->AddressOf(queue);
  address->Send(0, Token(1, false));
  network.mail->Close();
  address->Send(0, Token(2, false));
  network.Run();
  EXPECT_EQ(network.wakes, 0);
  EXPECT_TRUE(queue->Take(10).empty());
}

TEST(TokenMail, KeepsTheOrderWithManyNetworkThreads) {
  Network network;
  auto guard = std::make_unique<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>>(
      network.io.get_executor());
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) threads.emplace_back([&] { network.io.run(); });
  constexpr int32_t kTokens = 20000;
  const std::shared_ptr<EventQueue> queue = network.MakeQueue();
  {
    const auto address = network.mail->AddressOf(queue);
    for (int32_t id = 0; id < kTokens; ++id) address->Send(0, Token(id, id % 3 != 0));
    address->Send(0, Token(kTokens, false));
  }
  guard.reset();
  for (std::thread& thread : threads) thread.join();
  const std::vector<ChoiceEvent> events = queue->Take(kTokens + 1);
  ASSERT_EQ(events.size(), size_t{kTokens} + 1);
  for (int32_t id = 0; id <= kTokens; ++id) ASSERT_EQ(events[static_cast<size_t>(id)].event.token, id);
}

}  // namespace
}  // namespace ternion
