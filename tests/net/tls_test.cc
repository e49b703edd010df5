#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "net/tls_context.h"
#include "tests/net/server_fixture.h"
#include "tests/support/certificate.h"
#include "tests/support/tls_client.h"

namespace ternion {
namespace {

using testing::HasSubstr;

constexpr char kGet[] = "GET /version HTTP/1.1\r\nHost: test\r\n\r\n";
constexpr char kVersion[] = R"({"version":"1.2.3"})";

struct Tls : testing::Test {
  ServerOptions Options() const {
    ServerOptions options;
    options.tls_cert = first.cert;
    options.tls_key = first.key;
    return options;
  }

  TempFolder folder;
  Certificate first{folder.path(), "first"};
};

TEST_F(Tls, CarriesRequestsAndStreams) {
  TestServer server(Replies("hello"), Options());
  TlsClient client(server.port());
  ASSERT_TRUE(client.connected());
  EXPECT_EQ(client.subject(), "first");
  EXPECT_EQ(client.protocol(), "http/1.1");
  EXPECT_EQ(client.version(), "TLSv1.3");
  // Again on the same connection, where each stream's end has stopped a read.
  for (int round = 0; round < 5; ++round) {
    client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
    EXPECT_THAT(client.ReadUntil("0\r\n\r\n"), HasSubstr("data: [DONE]"));
    client.Send(PostRequest(kCompletions, R"({"prompt": "a"})"));
    EXPECT_THAT(client.ReadUntil("cached_tokens\":0}}}"), HasSubstr(R"("text":"hello")"));
    client.Send(kGet);
    EXPECT_THAT(client.ReadUntil(kVersion), HasSubstr("200 OK"));
  }
}

TEST_F(Tls, TakesLargeBodiesAndPipelinedRequests) {
  FakeGenerator::Behaviour behaviour = Replies("x");
  behaviour.max_model_len = 1 << 20;
  TestServer server(behaviour, Options());
  TlsClient client(server.port());
  client.Send(absl::StrCat(
      PostRequest(kCompletions, absl::StrCat(R"({"prompt": ")", std::string(300000, 'a'), R"("})")), kGet,
      kGet));
  EXPECT_THAT(client.ReadUntil("}}}"), HasSubstr(R"("prompt_tokens":300001)"));
  for (int i = 0; i < 2; ++i) EXPECT_THAT(client.ReadUntil(kVersion), HasSubstr("200 OK"));
}

TEST_F(Tls, SaysGoodbye) {
  TestServer server({}, Options());
  TlsClient client(server.port());
  client.Send("GET /version HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.ReadUntil(kVersion), HasSubstr("Connection: close"));
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(Tls, NoticesAClientThatLeaves) {
  TestServer server({}, Options());
  server.generator.Hold();
  {
    TlsClient client(server.port());
    client.Send(PostRequest(kCompletions, R"({"prompt": "a", "stream": true})"));
    ASSERT_TRUE(server.generator.WaitForRequests(1));
  }
  EXPECT_TRUE(server.generator.WaitForCancelled(1));
}

TEST_F(Tls, HasNoOldVersionsAndNoOtherProtocols) {
  TestServer server({}, Options());
  EXPECT_EQ(TlsClient(server.port(), {TLS1_2_VERSION, ""}).version(), "TLSv1.2");
  EXPECT_FALSE(TlsClient(server.port(), {TLS1_1_VERSION, ""}).connected());
  EXPECT_FALSE(TlsClient(server.port(), {TLS1_3_VERSION, "h2"}).connected());
  EXPECT_TRUE(TlsClient(server.port(), {TLS1_3_VERSION, ""}).connected());
}

TEST_F(Tls, TellsPlainClients) {
  TestServer server({}, Options());
  HttpClient plain(server.port());
  const HttpReply reply = plain.Get("/health");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(Json(reply)["error"]["message"], "this port speaks TLS: use https://");
  EXPECT_TRUE(plain.ReadsEnd());
  HttpClient noise(server.port());
  noise.Send("\xff\xff\xff\xff\xff\xff\xff");
  EXPECT_EQ(noise.Read().status, 0);
}

TEST_F(Tls, WaitsForAHandshakeOnlySoLong) {
  ServerOptions options = Options();
  options.handshake_timeout = std::chrono::milliseconds(50);
  TestServer server({}, options);
  HttpClient silent(server.port());
  EXPECT_EQ(silent.Read().status, 0);
  HttpClient slow(server.port());
  slow.Send("\x16\x03\x01");
  EXPECT_EQ(slow.Read().status, 0);
}

TEST_F(Tls, KeepsSlowRequestsToTheirLimit) {
  ServerOptions options = Options();
  options.request_timeout = std::chrono::milliseconds(50);
  TestServer server({}, options);
  TlsClient slow(server.port());
  slow.Send("GET /health HT");
  EXPECT_THAT(slow.ReadUntil("}}"), HasSubstr("408 Request Timeout"));
}

TEST_F(Tls, ShowsANewCertificateToNewClients) {
  TestServer server({}, Options());
  TlsClient before(server.port());
  EXPECT_EQ(before.subject(), "first");
  const Certificate second(folder.path(), "second");
  std::filesystem::copy_file(second.cert, first.cert, std::filesystem::copy_options::overwrite_existing);
  // The old key does not fit: nothing changes.
  const absl::Status refused = server.server->ReloadCertificate();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr(first.key));
  EXPECT_EQ(TlsClient(server.port()).subject(), "first");
  std::filesystem::copy_file(second.key, first.key, std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(server.server->ReloadCertificate().ok());
  EXPECT_EQ(TlsClient(server.port()).subject(), "second");
  before.Send(kGet);
  EXPECT_THAT(before.ReadUntil(kVersion), HasSubstr("200 OK"));
}

TEST_F(Tls, NamesTheFileThatIsWrong) {
  const Certificate second(folder.path(), "second");
  const Certificate rsa(folder.path(), "rsa", /*rsa=*/true);
  folder.Write("empty.pem", "");
  const std::string empty = (folder.path() / "empty.pem").string();
  const struct {
    std::string cert, key, wrong;
  } cases[] = {
      {"/no/such/file", first.key, "certificate /no/such/file: "},
      {first.cert, "/no/such/key", "key /no/such/key: "},
      {empty, first.key, "certificate " + empty + ": "},
      {first.cert, empty, "key " + empty + ": "},
      {first.cert, second.key, "key " + second.key + ": "},
      {first.key, first.key, "certificate " + first.key},
      {first.cert, rsa.key, "key " + rsa.key},
  };
  for (const auto& c : cases) {
    const auto loaded = TlsContext::Load(c.cert, c.key);
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("the TLS " + c.wrong));
  }
}

TEST(Plain, ServersHaveNoCertificateToReload) {
  TestServer server;
  EXPECT_EQ(server.server->ReloadCertificate().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace ternion
