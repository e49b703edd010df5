#include "launcher/bench_serve_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ternion {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using End = RequestRecord::End;

// What an event stream that comes in these pieces holds.
std::vector<std::string> Read(const std::vector<std::string>& pieces) {
  SseReader reader;
  std::vector<std::string> events;
  for (const std::string& piece : pieces) {
    EXPECT_TRUE(reader.Push(piece, [&](std::string_view data) { events.emplace_back(data); }));
  }
  return events;
}

// All that the format allows: a mark of byte order, comments, other fields, every line end, data over lines,
// without a space, and empty.
constexpr char kStream[] =
    "\xEF\xBB\xBF"
    "data: one\n\n"
    ": keep-alive\n\n"
    "event: token\r\ndata: {\"a\":\r\ndata: 1}\r\nid: 4\r\n\r\n"
    "data:two\rdata:  lines\r\r"
    "retry: 5\n\n"
    "data\n\n"
    "database: none\n\n"
    "\xEF\xBB\xBF"
    "data: none\n\n"
    ":data: none\n"
    "data: [DONE]\n\n"
    "data: without an end\n";

TEST(SseReaderTest, SplitAtEveryByte) {
  const std::string stream = kStream;
  const auto expected = ElementsAre("one", "{\"a\":\n1}", "two\n lines", "", "[DONE]");
  EXPECT_THAT(Read({stream}), expected);
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    EXPECT_THAT(Read({stream.substr(0, cut), stream.substr(cut)}), expected) << cut;
  }
  std::vector<std::string> bytes;
  for (const char c : stream) bytes.emplace_back(1, c);
  EXPECT_THAT(Read(bytes), expected);
}

TEST(SseReaderTest, RefusesAnEndlessEvent) {
  SseReader reader;
  const std::string piece(1 << 20, 'x');
  int pieces = 0;
  while (pieces < 100 && reader.Push(piece, [](std::string_view) { FAIL(); })) ++pieces;
  EXPECT_EQ(pieces, 16);
}

std::string Chunk(const std::string& text, const std::string& finish = "null") {
  return R"({"choices":[{"index":0,"text":")" + text + R"(","finish_reason":)" + finish + "}]}";
}

constexpr char kUsage[] = R"({"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}})";

struct Event {
  std::string data;
  double now;
};

RequestRecord Complete(const std::vector<Event>& events, double end = 9) {
  RequestRecord record;
  record.prompt_tokens = 3;
  CompletionReader reader(record);
  for (const Event& event : events) reader.Take(event.data, event.now);
  reader.Finish(end, "closed");
  return record;
}

TEST(CompletionReaderTest, TimesEveryChunkAndTakesTheUsage) {
  const RequestRecord record = Complete(
      {{Chunk("a"), 0.5}, {Chunk("b"), 0.75}, {Chunk("c", "\"length\""), 1.5}, {kUsage, 2}, {"[DONE]", 2}});
  EXPECT_EQ(record.end, End::kDone);
  EXPECT_EQ(record.ttft, 0.5);
  EXPECT_EQ(record.e2el, 1.5);
  EXPECT_THAT(record.itls, ElementsAre(0.25, 0.75));
  EXPECT_EQ(record.prompt_tokens, 7);
  EXPECT_EQ(record.completion_tokens, 5);
  EXPECT_TRUE(record.counted_by_server);
  EXPECT_EQ(record.tpot(), 0.25);
}

TEST(CompletionReaderTest, CountsChunksWithoutUsage) {
  const RequestRecord record = Complete({{Chunk("a"), 1}, {Chunk("b"), 2}, {"[DONE]", 2}});
  EXPECT_EQ(record.end, End::kDone);
  EXPECT_EQ(record.completion_tokens, 2);
  EXPECT_EQ(record.prompt_tokens, 3) << "as it was known before";
  EXPECT_FALSE(record.counted_by_server);
}

TEST(CompletionReaderTest, AReasonOfItsOwnIsNoToken) {
  const RequestRecord record =
      Complete({{Chunk("a"), 1}, {Chunk("b"), 2}, {Chunk("", "\"stop\""), 3}, {"[DONE]", 3}});
  EXPECT_EQ(record.completion_tokens, 2);
  EXPECT_EQ(record.e2el, 2);
  EXPECT_THAT(record.itls, ElementsAre(1));
}

TEST(CompletionReaderTest, AnEndTokenAloneIsOne) {
  const RequestRecord record = Complete({{Chunk("", "\"stop\""), 1}, {"[DONE]", 1}});
  EXPECT_EQ(record.end, End::kDone);
  EXPECT_EQ(record.completion_tokens, 1);
  EXPECT_EQ(record.ttft, 1);
  EXPECT_EQ(record.tpot(), 0);
}

TEST(CompletionReaderTest, AReasonEndsAStreamWithoutDone) {
  EXPECT_EQ(Complete({{Chunk("a"), 1}, {Chunk("b", "\"length\""), 2}}).end, End::kDone);
}

TEST(CompletionReaderTest, FailsWhereTheStreamBreaksOff) {
  const RequestRecord record = Complete({{Chunk("a"), 1}, {Chunk("b"), 2}}, 4);
  EXPECT_EQ(record.end, End::kFailed);
  EXPECT_EQ(record.e2el, 4);
  EXPECT_EQ(record.error, "the stream broke off: closed");
  EXPECT_EQ(Complete({}).error, "no token came: closed");
  EXPECT_EQ(Complete({{"[DONE]", 1}}).error, "the stream ended without a token");
  EXPECT_EQ(Complete({{kUsage, 1}, {"[DONE]", 1}}).end, End::kFailed);
}

TEST(CompletionReaderTest, FailsOnAnErrorInTheStream) {
  const RequestRecord record =
      Complete({{Chunk("a"), 1}, {R"({"error":{"message":"rank 3 was lost"}})", 2}, {"[DONE]", 2}});
  EXPECT_EQ(record.end, End::kFailed);
  EXPECT_THAT(record.error, HasSubstr("rank 3 was lost"));
}

TEST(CompletionReaderTest, FailsOnWhatIsNoCompletion) {
  EXPECT_THAT(Complete({{"<html>", 1}, {"[DONE]", 1}}).error, HasSubstr("<html>"));
  EXPECT_THAT(Complete({{"[1]", 1}}).error, HasSubstr("no JSON object"));
  EXPECT_THAT(Complete({{R"({"choices":[5]})", 1}}).error, HasSubstr("no JSON object"));
  EXPECT_EQ(Complete({{R"({"choices":7,"usage":"x"})", 1}}).end, End::kFailed);
}

TEST(ErrorTextTest, FindsTheMessage) {
  EXPECT_EQ(ErrorText(R"({"error":{"message":"too\nlong"}})"), "too long");
  EXPECT_EQ(ErrorText(R"({"error":"plain"})"), "plain");
  EXPECT_EQ(ErrorText(R"({"message":"m"})"), "m");
  EXPECT_EQ(ErrorText(R"({"detail":"Not Found"})"), "Not Found");
  EXPECT_EQ(ErrorText("Bad\r\nGateway"), "Bad  Gateway");
  EXPECT_EQ(ErrorText(""), "nothing is said");
  EXPECT_EQ(ErrorText(std::string(1000, 'x')).size(), 303u);
}

}  // namespace
}  // namespace ternion
