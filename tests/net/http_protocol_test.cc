#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

using nlohmann::json;

TEST(Routes, AnswerGetAndHead) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.Get("/health").status, 200);
  EXPECT_EQ(Json(client.Get("/version?x=1"))["version"], "1.2.3");
  const json models = Json(client.Get("/v1/models"));
  EXPECT_EQ(models["object"], "list");
  EXPECT_EQ(models["data"][0]["id"], "demo");
  EXPECT_EQ(models["data"][0]["object"], "model");
  EXPECT_EQ(models["data"][0]["max_model_len"], 4096);
  const HttpReply whole = client.Get("/v1/models");
  client.Send("HEAD /v1/models HTTP/1.1\r\nHost: test\r\n\r\n");
  const HttpReply head = client.Read(/*head_only=*/true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-length"), std::to_string(whole.body.size()));
  EXPECT_EQ(client.Get("/health").status, 200);
}

TEST(Routes, UnknownOnesAre404) {
  TestServer server;
  HttpClient client(server.port());
  for (const char* target : {"//", "/v1", "/v1/completions/", "/v1/models/demo"}) {
    const HttpReply reply = client.Get(target);
    EXPECT_EQ(reply.status, 404) << target;
    EXPECT_EQ(Json(reply)["error"]["type"], "invalid_request_error");
    EXPECT_TRUE(Json(reply)["error"]["param"].is_null());
  }
}

TEST(Routes, AnotherMethodIs405WithAllow) {
  TestServer server;
  HttpClient client(server.port());
  const HttpReply get = client.Get(kCompletions);
  EXPECT_EQ(get.status, 405);
  EXPECT_EQ(get.headers.at("allow"), "POST");
  client.Send("DELETE /health HTTP/1.1\r\nHost: test\r\n\r\n");
  const HttpReply other = client.Read();
  EXPECT_EQ(other.status, 405);
  EXPECT_EQ(other.headers.at("allow"), "GET, HEAD");
  client.Send("HEAD /v1/completions HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_EQ(client.Read(/*head_only=*/true).status, 405);
  EXPECT_EQ(client.Get("/health").status, 200);
}

TEST(Keys, AreNeededEverywhereButForHealth) {
  ServerOptions options;
  options.api_keys = {"first", "second"};
  TestServer server({}, options);
  HttpClient client(server.port());
  EXPECT_EQ(client.Get("/health").status, 200);
  for (const char* header : {"", "Authorization: Bearer wrong\r\n", "Authorization: Bearer firs\r\n",
                             "Authorization: Bearer \r\n", "Authorization: first\r\n"}) {
    const HttpReply reply = client.Get("/v1/models", header);
    EXPECT_EQ(reply.status, 401) << header;
    EXPECT_EQ(reply.headers.at("www-authenticate"), "Bearer");
    EXPECT_EQ(Json(reply)["error"]["code"], "invalid_api_key");
  }
  EXPECT_EQ(client.Get("/v1/models", "Authorization: Bearer first\r\n").status, 200);
  EXPECT_EQ(client.Get("/v1/models", "authorization: bearer second\r\n").status, 200);
  EXPECT_EQ(HttpClient(server.port()).Post(kCompletions, R"({"prompt": "a"})").status, 401);
}

TEST(Metrics, AreTextAndNeedAKeyUnlessTheyAreOpen) {
  for (const bool open : {false, true}) {
    ServerOptions options;
    options.api_keys = {"key"};
    options.metrics_open = open;
    TestServer server({}, options);
    HttpClient client(server.port());
    EXPECT_EQ(client.Get("/metrics").status, open ? 200 : 401);
    const HttpReply reply = client.Get("/metrics", "Authorization: Bearer key\r\n");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    EXPECT_EQ(reply.body, "one 1\n");
    EXPECT_EQ(client.Post("/metrics", "", "Authorization: Bearer key\r\n").status, 405);
  }
}

TEST(RequestIds, AreEchoedOrMade) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(client.Get("/health", "X-Request-Id: abc-1\r\n").headers.at("x-request-id"), "abc-1");
  const std::string made = client.Get("/health").headers.at("x-request-id");
  EXPECT_EQ(made.size(), 32u);
  EXPECT_NE(client.Get("/health").headers.at("x-request-id"), made);
  EXPECT_EQ(client.Get("/health", "X-Request-Id: not fit\r\n").headers.at("x-request-id").size(), 32u);
}

TEST(Bodies, ThatAreNotJsonAre400AndTheConnectionGoesOn) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("{\"prompt\": \"\xC3\x28\"}"), std::string(100000, '['),
        std::string(R"({"prompt": 5})"), std::string("null")}) {
    const HttpReply reply = client.Post(kCompletions, body);
    EXPECT_EQ(reply.status, 400);
    EXPECT_EQ(Json(reply)["error"]["type"], "invalid_request_error");
    EXPECT_EQ(reply.headers.at("connection"), "keep-alive");
  }
  EXPECT_EQ(client.Post(kCompletions, R"({"prompt": "a"})").status, 200);
}

TEST(Bodies, AboveTheLimitAre413BeforeTheyAreRead) {
  ServerOptions options;
  options.max_body_bytes = 1000;
  TestServer server({}, options);
  HttpClient told(server.port());
  told.Send("POST /v1/completions HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n");
  const HttpReply reply = told.Read();
  EXPECT_EQ(reply.status, 413);
  EXPECT_EQ(reply.headers.at("connection"), "close");
  // A client that sends its body all the same still gets the answer.
  HttpClient stubborn(server.port());
  stubborn.Send(PostRequest(kCompletions, std::string(3000000, ' ')));
  EXPECT_EQ(stubborn.Read().status, 413);
  HttpClient chunked(server.port());
  chunked.Send("POST /v1/completions HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 3; ++i) chunked.Send(absl::StrCat("190\r\n", std::string(400, ' '), "\r\n"));
  EXPECT_EQ(chunked.Read().status, 413);
  HttpClient huge(server.port());
  huge.Send("POST /v1/completions HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999999999999999\r\n\r\n");
  EXPECT_EQ(huge.Read().status, 400);
}

TEST(Bodies, MayComeInChunks) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  client.Send("POST /v1/completions HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (const std::string part : {"{\"prom", "pt\": \"a\"}"}) {
    client.Send(absl::StrCat(absl::Hex(part.size()), "\r\n", part, "\r\n"));
  }
  client.Send("0\r\n\r\n");
  EXPECT_EQ(client.Read().status, 200);
}

TEST(Headers, AboveTheLimitAre431) {
  TestServer server;
  HttpClient one(server.port());
  EXPECT_EQ(one.Get("/health", absl::StrCat("X-Big: ", std::string(20000, 'x'), "\r\n")).status, 431);
  HttpClient endless(server.port());
  endless.Send("GET /health HTTP/1.1\r\n");
  for (int i = 0; i < 1000; ++i) endless.Send(absl::StrCat("X-", i, ": aaaaaaaaaaaaaaaaaaaaaaa\r\n"));
  EXPECT_EQ(endless.Read().status, 431);
  HttpClient target(server.port());
  EXPECT_EQ(target.Get(std::string(20000, '/')).status, 414);
}

TEST(SlowClients, Get408OrAreLeft) {
  ServerOptions options;
  options.request_timeout = std::chrono::milliseconds(100);
  options.idle_timeout = std::chrono::milliseconds(200);
  TestServer server({}, options);
  HttpClient header(server.port());
  header.Send("GET /health HT");
  EXPECT_EQ(header.Read().status, 408);
  HttpClient body(server.port());
  body.Send("POST /v1/completions HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_EQ(body.Read().status, 408);
  HttpClient silent(server.port());
  EXPECT_TRUE(silent.ReadsEnd());
  HttpClient idle(server.port());
  EXPECT_EQ(idle.Get("/health").status, 200);
  EXPECT_TRUE(idle.ReadsEnd());
}

TEST(Expect, IsAnsweredBeforeTheBodyAndNotForWhatIsRefused) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  const std::string body = R"({"prompt": "a"})";
  const std::string length =
      absl::StrCat("Host: test\r\nExpect: 100-continue\r\nContent-Length: ", body.size(), "\r\n\r\n");
  client.Send(absl::StrCat("POST /v1/completions HTTP/1.1\r\n", length));
  EXPECT_EQ(client.Read().status, 100);
  client.Send(body);
  EXPECT_EQ(client.Read().status, 200);
  client.Send(absl::StrCat("POST /nowhere HTTP/1.1\r\n", length));
  EXPECT_EQ(client.Read().status, 404);
  EXPECT_TRUE(client.ReadsEnd());
}

TEST(Pipelining, AnswersInOrder) {
  TestServer server;
  HttpClient client(server.port());
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += PostRequest(kCompletions, absl::StrCat(R"({"prompt": "<)", i, R"(>", "max_tokens": 4)",
                                                       i % 2 == 0 ? R"(, "stream": true})" : "}"));
    requests += "GET /health HTTP/1.1\r\nHost: test\r\nX-Request-Id: id" + std::to_string(i) + "\r\n\r\n";
  }
  client.Send(requests);
  for (int i = 0; i < 50; ++i) {
    const std::string want = absl::StrCat("<", i, "><").substr(0, 4);
    if (i % 2 == 0) {
      ASSERT_EQ(client.ReadHead().status, 200);
      EXPECT_EQ(StreamText(ReadEvents(client)), want);
    } else {
      EXPECT_EQ(Json(client.Read())["choices"][0]["text"], want);
    }
    EXPECT_EQ(client.Read().headers["x-request-id"], absl::StrCat("id", i));
  }
}

TEST(Pipelining, RequestsInPiecesAreWhole) {
  TestServer server(Replies("x"));
  HttpClient client(server.port());
  for (const char byte :
       PostRequest(kCompletions, R"({"prompt": "a"})") + "GET /version HTTP/1.1\r\nHost: t\r\n\r\n") {
    client.Send(std::string(1, byte));
  }
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(client.Read().status, 200);
}

TEST(Connections, CloseWhenTheClientAsksAndForHttp10) {
  TestServer server;
  HttpClient asks(server.port());
  EXPECT_EQ(asks.Get("/health", "Connection: close\r\n").headers.at("connection"), "close");
  EXPECT_TRUE(asks.ReadsEnd());
  HttpClient old(server.port());
  old.Send("GET /health HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.Read().status, 200);
  EXPECT_TRUE(old.ReadsEnd());
  HttpClient old_but_kept(server.port());
  old_but_kept.Send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(old_but_kept.Read().headers["connection"], "keep-alive");
}

}  // namespace
}  // namespace ternion
