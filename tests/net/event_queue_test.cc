#include "net/event_queue.h"

#include <gtest/gtest.h>

namespace ternion {
namespace {

TokenEvent Token(int32_t id) {
  TokenEvent event;
  event.token = id;
  return event;
}

struct Calls {
  int wakes = 0;
  int drops = 0;

  EventReader Reader(size_t most_bytes) {
    return {[this] { ++wakes; }, [this] { ++drops; }, most_bytes};
  }
};

TEST(EventQueue, WakesWhenItStopsBeingEmptyAndKeepsTheOrder) {
  Calls calls;
  EventQueue queue(10, calls.Reader(1 << 20));
  for (int32_t id = 0; id < 5; ++id) queue.Push({id % 2, Token(id)});
  EXPECT_EQ(calls.wakes, 1);
  EXPECT_EQ(queue.Take(2).back().event.token, 1);
  const std::vector<ChoiceEvent> rest = queue.Take(100);
  ASSERT_EQ(rest.size(), 3u);
  EXPECT_EQ(rest[0].event.token, 2);
  EXPECT_EQ(rest[1].choice, 1);
  queue.Push({0, Token(5)});
  EXPECT_EQ(calls.wakes, 2);
}

TEST(EventQueue, AReaderThatIsTooFarBehindIsDroppedOnce) {
  constexpr size_t kEvents = 50;
  Calls calls;
  EventQueue queue(1000, calls.Reader(kEvents * sizeof(ChoiceEvent)));
  for (size_t i = 0; i < kEvents; ++i) queue.Push({0, Token(1)});
  EXPECT_EQ(calls.drops, 0);
  for (int i = 0; i < 3; ++i) queue.Push({0, Token(1)});
  EXPECT_EQ(calls.drops, 1);
  EXPECT_EQ(calls.wakes, 1);
  EXPECT_TRUE(queue.Take(100).empty()) << "its memory is free";
}

TEST(EventQueue, OneThatKeepsUpIsNever) {
  Calls calls;
  EventQueue queue(1000, calls.Reader(20 * sizeof(ChoiceEvent)));
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 20; ++i) queue.Push({0, Token(1)});
    EXPECT_EQ(queue.Take(100).size(), 20u);
  }
  EXPECT_EQ(calls.drops, 0);
}

TEST(EventQueue, AlternativesCountAndAPromptsDoNot) {
  Calls calls;
  EventQueue queue(1000, calls.Reader(3 * sizeof(ChoiceEvent)));
  TokenEvent first = Token(1);
  first.prompt_logprobs.resize(1000);
  queue.Push({0, first});
  EXPECT_EQ(calls.drops, 0);
  TokenEvent wide = Token(1);
  wide.logprobs.emplace();
  wide.logprobs->top.resize(100);
  queue.Push({0, wide});
  EXPECT_EQ(calls.drops, 1);
}

TEST(EventQueue, NothingIsCalledAfterClose) {
  Calls calls;
  EventQueue queue(1000, calls.Reader(2 * sizeof(ChoiceEvent)));
  queue.Close();
  for (int i = 0; i < 5; ++i) queue.Push({0, Token(1)});
  EXPECT_EQ(calls.wakes + calls.drops, 0);
}

}  // namespace
}  // namespace ternion
