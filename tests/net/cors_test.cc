#include "net/cors.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

constexpr char kPage[] = "Origin: https://chat.example\r\n";
constexpr char kAsks[] = "Access-Control-Request-Method: POST\r\n";

HttpReply Options(HttpClient& client, const std::string& fields) {
  client.Send(absl::StrCat("OPTIONS /v1/completions HTTP/1.1\r\nHost: test\r\n", fields, "\r\n"));
  return client.Read();
}

ServerOptions WithOrigins(std::vector<std::string> origins) {
  ServerOptions options;
  options.api_keys = {"key"};
  options.cors_origins = std::move(origins);
  return options;
}

TEST(Cors, IsOffByDefault) {
  TestServer server;
  HttpClient client(server.port());
  EXPECT_EQ(Options(client, absl::StrCat(kPage, kAsks)).status, 405);
  const HttpReply reply = client.Get("/health", kPage);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.headers.count("access-control-allow-origin"), 0u);
  EXPECT_EQ(reply.headers.count("vary"), 0u);
}

// A browser asks without a key.
TEST(Cors, AnswersWhatABrowserAsksFirst) {
  TestServer server(Replies("x"), WithOrigins({"https://other.example", "https://chat.example"}));
  HttpClient client(server.port());
  const HttpReply reply = Options(
      client, absl::StrCat(kPage, kAsks, "Access-Control-Request-Headers: authorization,x-stainless-os\r\n"));
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.headers.at("access-control-allow-origin"), "https://chat.example");
  EXPECT_EQ(reply.headers.at("access-control-allow-methods"), "GET, HEAD, POST");
  EXPECT_EQ(reply.headers.at("access-control-allow-headers"), "authorization,x-stainless-os");
  EXPECT_EQ(reply.headers.at("vary"), "Origin");
  EXPECT_EQ(reply.headers.count("content-length"), 0u);
  EXPECT_EQ(client.Get("/health").status, 200) << "the connection goes on";
}

TEST(Cors, MarksEveryAnswerToSuchAPage) {
  TestServer server(Replies("x"), WithOrigins({"https://chat.example"}));
  HttpClient client(server.port());
  const std::string page = absl::StrCat(kPage, "Authorization: Bearer key\r\n");
  EXPECT_EQ(client.Get("/v1/models", page).headers.at("access-control-allow-origin"), "https://chat.example");
  const HttpReply refused = client.Get("/v1/models", kPage);
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers.at("access-control-allow-origin"), "https://chat.example");
  client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})", page));
  EXPECT_EQ(client.ReadHead().headers.at("access-control-expose-headers"), "X-Request-Id, Retry-After");
}

TEST(Cors, RefusesOtherPages) {
  TestServer server({}, WithOrigins({"https://chat.example"}));
  HttpClient client(server.port());
  for (const char* origin : {"https://evil.example", "http://chat.example", "https://chat.example:8443",
                             "https://chat.example.evil", "null"}) {
    const std::string fields = absl::StrCat("Origin: ", origin, "\r\n");
    EXPECT_EQ(Options(client, fields + kAsks).status, 403) << origin;
    const HttpReply reply = client.Get("/health", fields);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.headers.count("access-control-allow-origin"), 0u) << origin;
    EXPECT_EQ(reply.headers.at("vary"), "Origin");
  }
  EXPECT_EQ(Options(client, kPage).status, 401) << "no question of a browser";
}

TEST(Cors, MayAllowEveryPage) {
  TestServer server({}, WithOrigins({"*"}));
  HttpClient client(server.port());
  EXPECT_EQ(Options(client, absl::StrCat("Origin: null\r\n", kAsks)).status, 204);
  EXPECT_EQ(client.Get("/health", kPage).headers.at("access-control-allow-origin"), "https://chat.example");
}

TEST(Cors, KnowsOrigins) {
  for (const char* origin : {"*", "https://a", "http://localhost:3000", "https://[::1]:8000", "app://page"}) {
    EXPECT_EQ(Cors::CheckOrigin(origin), "") << origin;
  }
  for (const char* origin :
       {"", "a", "://a", "https://", "https://a/", "https://a/b", "https://me@a", "https://a, b"}) {
    EXPECT_NE(Cors::CheckOrigin(origin), "") << origin;
  }
}

}  // namespace
}  // namespace ternion
