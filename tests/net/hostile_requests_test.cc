// What clients should not send, as raw bytes, and the status that each gets.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

constexpr int kSilence = 0;  // closed without an answer

struct Hostile {
  std::string name;
  std::string bytes;
  int status;
};

const std::string kHost = "Host: test\r\n";
const std::string kEnd = "\r\n";
const std::string kJson = R"({"prompt": "a", "max_tokens": 1})";  // 32 bytes, hexadecimal 20

std::string Line(const std::string& line) { return line + "\r\n" + kHost + kEnd; }

std::string Fields(const std::string& fields) { return "GET /health HTTP/1.1\r\n" + fields + kEnd; }

// `fields` and what follows the head.
std::string PostOf(const std::string& fields, const std::string& body = kJson) {
  return "POST /v1/completions HTTP/1.1\r\n" + kHost + fields + kEnd + body;
}

std::string Chunked(const std::string& body, const std::string& fields = "") {
  return PostOf("Transfer-Encoding: chunked\r\n" + fields, body);
}

std::string Nul(std::string text) {
  for (char& c : text) {
    if (c == '~') c = '\0';
  }
  return text;
}

std::vector<Hostile> RequestLines() {
  return {
      {"a word", "hello\r\n\r\n", 400},
      {"HTTP/0.9", "GET /health\r\n", 400},
      {"no method", Line(" /health HTTP/1.1"), 400},
      {"no target", Line("GET  HTTP/1.1"), 400},
      {"two spaces", Line("GET  /health HTTP/1.1"), 400},
      {"a space in the target", Line("GET /hea lth HTTP/1.1"), 400},
      {"a tab for a space", Line("GET\t/health HTTP/1.1"), 400},
      {"a space behind the version", Line("GET /health HTTP/1.1 "), 400},
      {"a version without a point", Line("GET /health HTTP/11"), 400},
      {"a version in lower case", Line("GET /health http/1.1"), 400},
      {"HTTP/1.2", Line("GET /health HTTP/1.2"), 505},
      {"HTTP/3.0", Line("GET /health HTTP/3.0"), 505},
      {"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"a method that is no token", Line("G@T /health HTTP/1.1"), 400},
      {"a method in lower case", Line("get /health HTTP/1.1"), 405},
      {"an unknown method", Line("BREW /health HTTP/1.1"), 405},
      {"TRACE", Line("TRACE /health HTTP/1.1"), 405},
      {"CONNECT", Line("CONNECT example.com:443 HTTP/1.1"), 501},
      {"an asterisk", Line("GET * HTTP/1.1"), 400},
      {"a target without a slash", Line("GET health HTTP/1.1"), 400},
      {"a target of another scheme", Line("GET ftp://test/health HTTP/1.1"), 400},
      {"a target with a NUL", Nul(Line("GET /hea~lth HTTP/1.1")), 400},
      {"a target with a control character", Line("GET /hea\x7flth HTTP/1.1"), 400},
      {"a target that is not ASCII", Line("GET /h\xc3\xa9 HTTP/1.1"), 400},
      {"a target that climbs", Line("GET /../health HTTP/1.1"), 404},
      {"a coded slash", Line("GET /v1%2fmodels HTTP/1.1"), 404},
      {"a target of 9,000 bytes", Line("GET /" + std::string(9000, 'a') + " HTTP/1.1"), 414},
      {"a line without an end", std::string(9000, 'a'), 414},
      {"a method of 9,000 bytes", Line(std::string(9000, 'A') + " /health HTTP/1.1"), 414},
      {"TLS", Nul("\x16\x03\x01\x02~\x01~\x01\xfc\x03\x03") + std::string(200, '\x7f'), 400},
  };
}

std::vector<Hostile> HeaderFields() {
  return {
      {"no Host", Fields(""), 400},
      {"two Hosts", Fields("Host: a\r\nHost: b\r\n"), 400},
      {"the same Host twice", Fields("Host: a\r\nhost: a\r\n"), 400},
      {"a Host with a slash", Fields("Host: a/b\r\n"), 400},
      {"a Host with a user", Fields("Host: me@a\r\n"), 400},
      {"two Hosts in one", Fields("Host: a, b\r\n"), 400},
      {"two Hosts in HTTP/1.0", "GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"a folded field", Fields(kHost + "X-A: b\r\n c\r\n"), 400},
      {"a field folded by a tab", Fields(kHost + "X-A: b\r\n\tc\r\n"), 400},
      {"a folded first field", Fields(" X-A: b\r\n" + kHost), 400},
      {"bare LF", "GET /health HTTP/1.1\nHost: test\n\n", 400},
      {"bare LF behind one field", Fields(kHost + "X-A: b\nX-C: d\r\n"), 400},
      {"a bare CR", Fields(kHost + "X-A: b\rX-C: d\r\n"), 400},
      {"CR CR LF", Fields("Host: test\r\r\n"), 400},
      {"a NUL in a value", Nul(Fields(kHost + "X-A: ~\r\n")), 400},
      {"a NUL in a name", Nul(Fields(kHost + "X~: a\r\n")), 400},
      {"a control character in a value", Fields(kHost + "X-A: \x01\r\n"), 400},
      {"no colon", Fields(kHost + "X-A\r\n"), 400},
      {"no name", Fields(kHost + ": a\r\n"), 400},
      {"a space before the colon", Fields("Host : test\r\n"), 400},
      {"a space in a name", Fields(kHost + "X A: b\r\n"), 400},
      {"a name that is not ASCII", Fields(kHost + "X-\xc3\xa9: a\r\n"), 400},
      {"a header of 20,000 bytes", Fields(kHost + "X-A: " + std::string(20000, 'a') + "\r\n"), 431},
      {"a header without an end", "GET /health HTTP/1.1\r\nX-A: " + std::string(20000, 'a'), 431},
      {"two keys", Fields(kHost + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400},
      {"an unknown expectation", PostOf("Expect: tea\r\nContent-Length: 32\r\n"), 417},
      {"two expectations", PostOf("Expect: 100-continue, tea\r\nContent-Length: 32\r\n"), 417},
      {"empty lines alone", std::string(20000, '\r') + "\n", 414},
  };
}

std::vector<Hostile> Lengths() {
  return {
      {"a length and chunks", PostOf("Content-Length: 32\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
       400},
      {"chunks and a length", Chunked("0\r\n\r\n", "Content-Length: 32\r\n"), 400},
      {"two lengths", PostOf("Content-Length: 32\r\nContent-Length: 33\r\n"), 400},
      {"the same length twice", PostOf("Content-Length: 32\r\nContent-Length: 32\r\n"), 400},
      {"two lengths in one", PostOf("Content-Length: 32, 32\r\n"), 400},
      {"a length with a sign", PostOf("Content-Length: +32\r\n"), 400},
      {"a length below zero", PostOf("Content-Length: -1\r\n"), 400},
      {"a hexadecimal length", PostOf("Content-Length: 0x20\r\n"), 400},
      {"a length with a fraction", PostOf("Content-Length: 32.0\r\n"), 400},
      {"an empty length", PostOf("Content-Length: \r\n"), 400},
      {"a length of 2^64", PostOf("Content-Length: 18446744073709551616\r\n"), 400},
      {"a length of 2^64 - 1", PostOf("Content-Length: 18446744073709551615\r\n"), 413},
      {"a length above the limit", PostOf("Content-Length: 8388609\r\n", ""), 413},
      {"a length above the limit of HTTP/1.0",
       "POST /v1/completions HTTP/1.0\r\nContent-Length: 8388609\r\n\r\n", 413},
      {"no length", PostOf("", ""), 400},
      {"a body shorter than its length", PostOf("Content-Length: 40\r\n"), kSilence},
      {"a body in gzip", PostOf("Content-Encoding: gzip\r\nContent-Length: 32\r\n"), 415},
  };
}

std::vector<Hostile> Chunks() {
  return {
      {"a size that is none", Chunked("zz\r\n"), 400},
      {"no size", Chunked("\r\n"), 400},
      {"a size below zero", Chunked("-1\r\n"), 400},
      {"a size with 0x", Chunked("0x20\r\n" + kJson + "\r\n0\r\n\r\n"), 400},
      {"a size of 2^64", Chunked("10000000000000000\r\n"), 400},
      {"a size above the limit", Chunked("800001\r\n"), 413},
      {"a size of 2^64 - 1", Chunked("ffffffffffffffff\r\n"), 413},
      {"a size that ends in LF", Chunked("20\n" + kJson + "\r\n0\r\n\r\n"), 400},
      {"a chunk longer than its size", Chunked("1f\r\n" + kJson + "\r\n0\r\n\r\n"), 400},
      {"an extension without an end", Chunked("20;" + std::string(20000, 'a')), 400},
      {"a trailer without an end", Chunked("20\r\n" + kJson + "\r\n0\r\nX-A: " + std::string(20000, 'a')),
       400},
      {"a coding that is not known", PostOf("Transfer-Encoding: gzip\r\n"), 501},
      {"two codings", PostOf("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501},
      {"chunked twice", PostOf("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 501},
      {"chunked in two fields", Chunked("0\r\n\r\n", "Transfer-Encoding: chunked\r\n"), 400},
      {"chunked, misspelt", PostOf("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), 501},
      {"identity", PostOf("Transfer-Encoding: identity\r\n"), 501},
      {"chunks in HTTP/1.0", "POST /v1/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400},
      {"no chunk", Chunked("0\r\n\r\n"), 400},
  };
}

std::string ManyFields() {
  std::string fields = kHost;
  for (int i = 0; i < 200; ++i) absl::StrAppend(&fields, "X-", i, ": a\r\n");
  return fields;
}

std::vector<Hostile> All() {
  std::vector<Hostile> all = {{"200 fields", Fields(ManyFields()), 431}};
  for (const auto& some : {RequestLines(), HeaderFields(), Lengths(), Chunks()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

// Faults of the message itself end the connection; what is wrong with its meaning alone does not.
bool Ends(int status) { return status != 404 && status != 405 && status != kSilence; }

TEST(HostileRequests, GetTheirStatus) {
  TestServer server(Replies("x"));
  EXPECT_EQ(HttpClient(server.port()).Post(kCompletions, kJson).status, 200);
  for (const Hostile& hostile : All()) {
    SCOPED_TRACE(hostile.name);
    HttpClient client(server.port());
    client.Send(hostile.bytes);
    if (hostile.status == kSilence) client.EndSending();
    const HttpReply reply = client.Read();
    EXPECT_EQ(reply.status, hostile.status) << reply.body;
    if (reply.status == 0) continue;
    EXPECT_TRUE(Json(reply).contains("error")) << reply.body;
  }
  EXPECT_EQ(HttpClient(server.port()).Post(kCompletions, kJson).status, 200);
}

// Nothing behind such a request is taken for another one: its answer would go to the wrong place.
TEST(HostileRequests, AreTheirConnectionsLast) {
  TestServer server(Replies("x"));
  for (const Hostile& hostile : All()) {
    SCOPED_TRACE(hostile.name);
    if (!Ends(hostile.status) || hostile.name == "no length" || hostile.name == "no chunk") continue;
    HttpClient client(server.port());
    client.Send(hostile.bytes + "GET /version HTTP/1.1\r\nHost: test\r\n\r\n");
    client.EndSending();
    EXPECT_NE(client.Read().status, 200);
    EXPECT_TRUE(client.ReadsEnd());
  }
}

// Unusual, and right.
TEST(HostileRequests, AreNotThese) {
  TestServer server(Replies("x"));
  const Hostile sound[] = {
      {"an absolute target", Line("GET http://test/health HTTP/1.1"), 200},
      {"an absolute target without a path", Line("GET HTTPS://test HTTP/1.1"), 200},
      {"an absolute target with a query", Line("GET http://test/version?a=/b HTTP/1.1"), 200},
      {"an absolute target of a query alone", Line("GET http://test?a=/nothing HTTP/1.1"), 200},
      {"OPTIONS of all", Line("OPTIONS * HTTP/1.1"), 204},
      {"OPTIONS of a route", Line("OPTIONS /health HTTP/1.1"), 405},
      {"an empty Host", Fields("Host:\r\n"), 200},
      {"a Host of IPv6", Fields("Host: [::1]:8000\r\n"), 200},
      {"an empty line in front", "\r\n" + Fields(kHost), 200},
      {"values in Latin-1", Fields(kHost + "X-A: \xe9\r\n"), 200},
      {"an upgrade, not taken", Fields(kHost + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"),
       200},
      {"a body that nobody asked for", Fields(kHost + "Content-Length: 3\r\n") + "abc", 200},
      {"a NUL in a body", PostOf("Content-Length: 1\r\n", Nul("~")), 400},
      {"extensions and a trailer", Chunked("20;a=b;c=\"d\"\r\n" + kJson + "\r\n0\r\nX-A: b\r\n\r\n"), 200},
      {"zeros before a size", Chunked("00000020\r\n" + kJson + "\r\n000\r\n\r\n"), 200},
      {"identity as the content's coding", PostOf("Content-Encoding: identity\r\nContent-Length: 32\r\n"),
       200},
      {"an expectation in HTTP/1.0",
       "POST /v1/completions HTTP/1.0\r\nExpect: tea\r\nContent-Length: 32\r\n\r\n" + kJson, 200},
  };
  for (const Hostile& request : sound) {
    SCOPED_TRACE(request.name);
    HttpClient client(server.port());
    client.Send(request.bytes);
    const HttpReply reply = client.Read();
    EXPECT_EQ(reply.status, request.status) << reply.body;
  }
}

TEST(HostileRequests, OfOneByteAtATimeGetTheSame) {
  TestServer server(Replies("x"));
  const Hostile slow[] = {{"a folded field", Fields(kHost + "X-A: b\r\n c\r\n"), 400},
                          {"a chunk too long", Chunked("1f\r\n" + kJson + "\r\n0\r\n\r\n"), 400},
                          {"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
                          {"a sound request", Chunked("20\r\n" + kJson + "\r\n0\r\n\r\n"), 200}};
  for (const Hostile& request : slow) {
    SCOPED_TRACE(request.name);
    HttpClient client(server.port());
    for (const char byte : request.bytes) {
      if (!client.Send(std::string(1, byte))) break;
    }
    EXPECT_EQ(client.Read().status, request.status);
  }
}

}  // namespace
}  // namespace ternion
