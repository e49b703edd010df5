#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr const char* kAskChat = R"({"messages": [{"role": "user", "content": "q"}], "stream": true)";

TEST(CompletionStreams, EndWithAReasonAndDone) {
  TestServer server(Replies("hello"));
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
  const HttpReply head = client.ReadHead();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-type"), "text/event-stream; charset=utf-8");
  const std::vector<std::string> events = ReadEvents(client);
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_EQ(StreamText(events), "hello");
  json last = json::parse(events[events.size() - 2]);
  EXPECT_EQ(last["object"], "text_completion");
  EXPECT_EQ(last["choices"],
            json::parse(R"([{"index": 0, "text": "", "logprobs": null, "finish_reason": "stop"}])"));
  EXPECT_FALSE(last.contains("usage"));
  for (size_t i = 0; i + 1 < events.size(); ++i) EXPECT_EQ(json::parse(events[i])["id"], last["id"]);
}

TEST(CompletionStreams, GiveUsageWhereItIsAskedFor) {
  TestServer server(Replies("abc"));
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions,
                          R"({"prompt": "a", "stream": true, "stream_options": {"include_usage": true}})"));
  client.ReadHead();
  const std::vector<std::string> events = ReadEvents(client);
  ASSERT_GE(events.size(), 3u);
  const json usage = json::parse(events[events.size() - 2]);
  EXPECT_EQ(usage["choices"], json::array());
  EXPECT_EQ(
      usage["usage"],
      json::parse(
          R"({"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6, "prompt_tokens_details": {"cached_tokens": 0}})"));
  EXPECT_TRUE(json::parse(events[0])["usage"].is_null());
}

TEST(CompletionStreams, GiveContinuousUsage) {
  TestServer server(Replies("abc"));
  HttpClient client(server.port());
  client.Send(
      PostRequest(kCompletions,
                  R"({"prompt": "a", "stream": true, "stream_options": {"continuous_usage_stats": true}})"));
  client.ReadHead();
  const std::vector<std::string> events = ReadEvents(client);
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(json::parse(events[0])["usage"]["prompt_tokens"], 2);
  EXPECT_EQ(json::parse(events[events.size() - 2])["usage"]["completion_tokens"], 4);
}

TEST(CompletionStreams, InterleaveSeveralPromptsByIndex) {
  TestServer server;
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions, R"({"prompt": ["ab", "xyz"], "max_tokens": 6, "stream": true})"));
  client.ReadHead();
  const std::vector<std::string> events = ReadEvents(client);
  EXPECT_EQ(StreamText(events, 0), "ababab");
  EXPECT_EQ(StreamText(events, 1), "xyzxyz");
  EXPECT_EQ(events.back(), "[DONE]");
}

// Each choice has its own first and last chunk.
TEST(ChatStreams, InterleaveSeveralChoices) {
  TestServer server(Replies("hey"));
  HttpClient client(server.port());
  client.Send(
      PostRequest(kChat, R"({"messages": [{"role": "user", "content": "a"}], "n": 2, "stream": true})"));
  ASSERT_EQ(client.ReadHead().status, 200);
  const std::vector<std::string> events = ReadEvents(client);
  int roles[2] = {}, ends[2] = {};
  for (const std::string& event : events) {
    const json chunk = json::parse(event, nullptr, false);
    if (!chunk.is_object()) continue;
    for (const json& choice : chunk["choices"]) {
      const int index = choice["index"];
      ASSERT_TRUE(index == 0 || index == 1);
      roles[index] += choice["delta"].contains("role") ? 1 : 0;
      ends[index] += choice["finish_reason"].is_null() ? 0 : 1;
    }
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(StreamText(events, i), "hey");
    EXPECT_EQ(roles[i], 1);
    EXPECT_EQ(ends[i], 1);
  }
  EXPECT_EQ(events.back(), "[DONE]");
}

TEST(CompletionStreams, HoldBackSplitCharactersAndStopStrings) {
  TestServer server(Replies("a\xC3\xA4 END b"));
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true, "stop": "END", "echo": true})"));
  client.ReadHead();
  const std::vector<std::string> events = ReadEvents(client);
  for (const std::string& event : events) EXPECT_EQ(event.find("\xEF\xBF\xBD"), std::string::npos);
  EXPECT_EQ(StreamText(events), "aa\xC3\xA4 ");
  EXPECT_EQ(json::parse(events[events.size() - 2])["choices"][0]["finish_reason"], "stop");
}

TEST(ChatStreams, BeginWithTheRoleAndEndWithAnEmptyDelta) {
  TestServer server(Replies("hey"));
  HttpClient client(server.port());
  client.Send(PostRequest(kChat, absl::StrCat(kAskChat, "}")));
  client.ReadHead();
  const std::vector<std::string> events = ReadEvents(client);
  ASSERT_GE(events.size(), 4u);
  const json first = json::parse(events[0]);
  EXPECT_EQ(first["object"], "chat.completion.chunk");
  EXPECT_EQ(first["choices"], json::parse(R"([{"index": 0, "delta": {"role": "assistant", "content": ""},
      "logprobs": null, "finish_reason": null}])"));
  EXPECT_EQ(StreamText(events), "hey");
  EXPECT_EQ(json::parse(events[events.size() - 2])["choices"],
            json::parse(R"([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}])"));
}

TEST(ChatStreams, AFailureBeforeTheFirstTokenIsAnHttpError) {
  FakeGenerator::Behaviour behaviour;
  behaviour.fail_after_tokens = 0;
  TestServer server(behaviour);
  HttpClient client(server.port());
  const HttpReply reply = client.Post(kChat, absl::StrCat(kAskChat, "}"));
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(Json(reply)["error"]["type"], "server_error");
  EXPECT_EQ(client.Get("/health").status, 200);
}

TEST(CompletionStreams, AFailureAfterTheFirstTokenIsAnEventAndThenDone) {
  FakeGenerator::Behaviour behaviour;
  behaviour.hold_after_tokens = 3;
  behaviour.fail_after_tokens = 3;
  TestServer server(behaviour);
  server.generator.Hold();
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions, R"({"prompt": "abc", "stream": true})"));
  EXPECT_EQ(client.ReadHead().status, 200);
  server.generator.Release();
  const std::vector<std::string> events = ReadEvents(client);
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(json::parse(events[events.size() - 2])["error"]["message"], "the fake engine failed");
  EXPECT_EQ(events.back(), "[DONE]");
}

TEST(Streams, SendKeepAliveCommentsOnlyWhenNoTokenComes) {
  ServerOptions options;
  options.keep_alive = std::chrono::milliseconds(50);
  TestServer server(Replies("x"), options);
  server.generator.Hold();
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
  EXPECT_EQ(client.ReadHead().status, 200);
  EXPECT_EQ(client.ReadEvent(), ": keep-alive");
  EXPECT_EQ(client.ReadEvent(), ": keep-alive");
  server.generator.Release();
  std::vector<std::string> events = ReadEvents(client);
  EXPECT_EQ(StreamText(events), "x");
}

TEST(Streams, ADisconnectCancelsTheRequest) {
  FakeGenerator::Behaviour behaviour;
  behaviour.max_model_len = 1000000;
  behaviour.step = std::chrono::microseconds(1000);
  TestServer server(behaviour);
  for (const bool reset : {false, true}) {
    HttpClient client(server.port());
    client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
    client.ReadHead();
    reset ? client.Reset() : client.Close();
  }
  EXPECT_TRUE(server.generator.WaitForCancelled(2));
}

// No token comes, so nothing is written: only reading ahead can tell.
TEST(Streams, ADisconnectIsNoticedWhileTheEngineIsSilent) {
  TestServer server;
  server.generator.Hold();
  for (const bool stream : {false, true}) {
    HttpClient client(server.port());
    client.Send(PostRequest(
        kCompletions, absl::StrCat(R"({"prompt": ["a", "b"], "stream": )", stream ? "true}" : "false}")));
    ASSERT_TRUE(server.generator.WaitForRequests(stream ? 4 : 2));
    client.Close();
  }
  EXPECT_TRUE(server.generator.WaitForCancelled(4));
}

TEST(Streams, ADisconnectBehindPipelinedRequestsIsNoticed) {
  TestServer server;
  server.generator.Hold();
  for (const size_t requests : {size_t{1}, size_t{2000}}) {
    HttpClient client(server.port());
    const size_t before = server.generator.requests().size();
    client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
    ASSERT_TRUE(server.generator.WaitForRequests(before + 1));
    std::string more;
    for (size_t i = 0; i < requests; ++i)
      more += "GET /health HTTP/1.1\r\nHost: test\r\nX-Filler: 123456789\r\n\r\n";
    client.Send(more);
    client.Reset();
    EXPECT_TRUE(server.generator.WaitForCancelled(before + 1)) << requests;
  }
}

// The client reads nothing: its tokens wait in its own queue, and the engine and the others go on.
TEST(Streams, ASlowReaderStallsNobody) {
  FakeGenerator::Behaviour behaviour;
  behaviour.max_model_len = 100000;
  ServerOptions options;
  options.max_buffered_bytes = 16u << 20;
  TestServer server(behaviour, options);
  HttpClient slow(server.port());
  slow.Send(PostRequest(kCompletions, R"({"prompt": "0123456789", "stream": true, "max_tokens": 30000})"));
  HttpClient quick(server.port());
  for (int i = 0; i < 20; ++i) {
    const HttpReply reply = quick.Post(kCompletions, R"({"prompt": "ab", "max_tokens": 4})");
    EXPECT_EQ(Json(reply)["choices"][0]["text"], "abab");
  }
  slow.ReadHead();
  const std::string text = StreamText(ReadEvents(slow));
  EXPECT_EQ(text.size(), 30000u);
  EXPECT_EQ(text.substr(29990), "0123456789");
}

// Long before its write times out: what would wait for it is bounded. The other's tokens come all the while.
TEST(Streams, AClientThatIsTooFarBehindIsDropped) {
  ServerOptions options;
  options.max_buffered_bytes = 64u << 10;
  FakeGenerator::Behaviour behaviour;
  behaviour.max_model_len = 10000000;
  TestServer server(behaviour, options);
  HttpClient silent(server.port());
  silent.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
  HttpClient quick(server.port());
  int rounds = 0;
  do {
    EXPECT_EQ(Json(quick.Post(kCompletions, R"({"prompt": "ab", "max_tokens": 4})"))["choices"][0]["text"],
              "abab");
  } while (server.generator.cancelled() == 0 && ++rounds < 10000);
  EXPECT_TRUE(server.generator.WaitForCancelled(1));
  EXPECT_EQ(quick.Get("/health").status, 200);
}

TEST(Streams, AClientThatTakesNothingIsDropped) {
  ServerOptions options;
  options.write_timeout = std::chrono::milliseconds(100);
  FakeGenerator::Behaviour behaviour;
  behaviour.max_model_len = 10000000;
  TestServer server(behaviour, options);
  HttpClient client(server.port());
  client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
  EXPECT_TRUE(server.generator.WaitForCancelled(1));
}

TEST(Streams, ManyAtOnceEachGetTheirOwn) {
  FakeGenerator::Behaviour behaviour;
  behaviour.step = std::chrono::microseconds(200);
  TestServer server(behaviour);
  constexpr int kThreads = 8;
  constexpr int kEach = 8;
  std::vector<std::thread> threads;
  std::vector<int> right(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::unique_ptr<HttpClient>> clients;
      for (int i = 0; i < kEach; ++i) {
        clients.push_back(std::make_unique<HttpClient>(server.port()));
        clients.back()->Send(PostRequest(
            kCompletions,
            absl::StrCat(R"({"prompt": "<)", t, ".", i, R"(>", "max_tokens": 50, "stream": true})")));
      }
      for (int i = 0; i < kEach; ++i) {
        std::string want;
        while (want.size() < 50) absl::StrAppend(&want, "<", t, ".", i, ">");
        want.resize(50);
        clients[static_cast<size_t>(i)]->ReadHead();
        right[static_cast<size_t>(t)] += StreamText(ReadEvents(*clients[static_cast<size_t>(i)])) == want;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : right) EXPECT_EQ(count, kEach);
}

TEST(Streams, AConnectionGoesOnAfterAStream) {
  TestServer server(Replies("hello"));
  HttpClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
    EXPECT_EQ(client.ReadHead().headers.at("connection"), "keep-alive");
    EXPECT_EQ(StreamText(ReadEvents(client)), "hello");
  }
  EXPECT_EQ(client.Get("/version").status, 200);
}

// Without chunks the end of the connection is the end of the stream.
TEST(Streams, ToHttp10EndWithTheConnection) {
  TestServer server(Replies("hi"));
  HttpClient client(server.port());
  const std::string body = R"({"prompt": "a", "stream": true})";
  client.Send(
      absl::StrCat("POST /v1/completions HTTP/1.0\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
  const HttpReply reply = client.Read();
  EXPECT_EQ(reply.headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(reply.headers.at("connection"), "close");
  EXPECT_NE(reply.body.find("data: [DONE]\n\n"), std::string::npos);
}

}  // namespace
}  // namespace ternion
