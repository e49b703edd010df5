// The load generator against a server with a fake engine, and against one that misbehaves.
#include "launcher/bench_serve_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

using nlohmann::json;
using testing::Each;
using testing::HasSubstr;
using End = RequestRecord::End;

// A server on a free port of the loopback interface that answers every request with the same pieces of bytes,
// a while apart, and closes.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::vector<std::string> pieces, std::chrono::milliseconds apart = {})
      : pieces_(std::move(pieces)), apart_(apart), socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    CHECK(bind(socket_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(socket_, 64) == 0,
          "listen");
    CHECK(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~ScriptedServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }

  uint16_t port() const { return port_; }

 private:
  void Run() {
    for (int client; (client = accept(socket_, nullptr, nullptr)) >= 0; close(client)) {
      std::string request;
      char bytes[4096];
      // Up to the end of a completion's body, or of a head without one.
      while (request.find("\"stream_options\":{\"include_usage\":true}}") == request.npos) {
        const ssize_t received = recv(client, bytes, sizeof(bytes), 0);
        if (received <= 0) break;
        request.append(bytes, static_cast<size_t>(received));
        if (request.rfind("GET", 0) == 0 && request.find("\r\n\r\n") != request.npos) break;
      }
      for (const std::string& piece : pieces_) {
        send(client, piece.data(), piece.size(), MSG_NOSIGNAL);
        std::this_thread::sleep_for(apart_);
      }
    }
  }

  const std::vector<std::string> pieces_;
  const std::chrono::milliseconds apart_;
  const int socket_;
  uint16_t port_ = 0;
  std::thread thread_;
};

LoadTarget Target(uint16_t port) {
  auto target = ResolveTarget(absl::StrCat("http://127.0.0.1:", port));
  EXPECT_TRUE(target.ok()) << target.status();
  target->timeout = std::chrono::seconds(20);
  return *std::move(target);
}

Workload MakeWorkload(int64_t requests, const std::string& output_len = "uniform:2:9") {
  WorkloadOptions options;
  options.requests = requests;
  options.input_len = "uniform:3:20";
  options.output_len = output_len;
  options.vocab = 127;  // the fake tokenizer's bytes that are ASCII
  const auto workload = Workload::Make(options);
  EXPECT_TRUE(workload.ok()) << workload.status();
  return *workload;
}

LoadOptions Closed(int64_t concurrency) {
  LoadOptions options;
  options.model = "demo";
  options.concurrency = concurrency;
  return options;
}

LoadResult RunAll(uint16_t port, const Workload& workload, const LoadOptions& options) {
  const LoadTarget target = Target(port);
  int64_t last = 0;
  LoadResult result = RunLoad(target, workload, options, [&](int64_t ended) { EXPECT_EQ(ended, ++last); });
  EXPECT_EQ(last, workload.requests());
  EXPECT_EQ(static_cast<int64_t>(result.records.size()), workload.requests());
  return result;
}

// One request to a server that answers so.
RequestRecord Ask(std::vector<std::string> pieces, std::chrono::milliseconds apart = {},
                  std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
  const ScriptedServer server(std::move(pieces), apart);
  LoadTarget target = Target(server.port());
  target.timeout = timeout;
  LoadResult result = RunLoad(target, MakeWorkload(1), Closed(1), [](int64_t) {});
  return result.records.at(0);
}

constexpr char kStreamHead[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
constexpr char kEvents[] =
    "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n"
    "data: {\"choices\":[{\"text\":\"b\",\"finish_reason\":\"length\"}]}\n\n"
    ": keep-alive\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":2}}\n\n"
    "data: [DONE]\n\n";

std::string Chunked(const std::string& text, size_t most) {
  std::string out;
  for (size_t at = 0; at < text.size(); at += most) {
    const std::string piece = text.substr(at, most);
    absl::StrAppend(&out, absl::Hex(piece.size()), ";name=value\r\n", piece, "\r\n");
  }
  return out + "0\r\n\r\n";
}

void ExpectTwoTokens(const RequestRecord& record) {
  EXPECT_EQ(record.end, End::kDone) << record.error;
  EXPECT_EQ(record.prompt_tokens, 4);
  EXPECT_EQ(record.completion_tokens, 2);
  EXPECT_EQ(record.itls.size(), 1u);
  EXPECT_GT(record.ttft, 0);
  EXPECT_GE(record.e2el, record.ttft);
}

TEST(ServerUrlTest, TakesAddressesOfHttpServers) {
  const auto parse = [](const std::string& text) {
    const auto url = ParseServerUrl(text);
    EXPECT_TRUE(url.ok()) << url.status();
    return absl::StrCat(url->host, " ", url->port, " ", url->path);
  };
  EXPECT_EQ(parse("http://localhost:8000"), "localhost 8000 ");
  EXPECT_EQ(parse("http://host/"), "host 80 ");
  EXPECT_EQ(parse("http://host:1/v1/"), "host 1 ");
  EXPECT_EQ(parse("http://host:1/models/a/v1"), "host 1 /models/a");
  EXPECT_EQ(parse("http://[::1]:8000/v1"), "::1 8000 ");
  EXPECT_EQ(parse("http://[fe80::2]"), "fe80::2 80 ");
}

TEST(ServerUrlTest, RefusesOthers) {
  for (const char* text : {"", "localhost:8000", "https://host", "ftp://host", "http://", "http://:80",
                           "http://host:x", "http://host:0", "http://host:65536", "http://host:",
                           "http://user:key@host:1", "http://h/?a", "http://a b", "http://::1:80"}) {
    const absl::Status status = ParseServerUrl(text).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("write http://HOST:PORT")) << text;
  }
  EXPECT_THAT(std::string(ParseServerUrl("https://host").status().message()), HasSubstr("TLS"));
}

TEST(CompletionBodyTest, IsARequest) {
  LoadOptions options = Closed(1);
  options.model = "a \"b\"";
  const Workload workload = MakeWorkload(3);
  const json body = json::parse(CompletionBody(workload, 2, options));
  EXPECT_EQ(body["model"], "a \"b\"");
  EXPECT_EQ(body["prompt"], json::parse(workload.Prompt(2)));
  EXPECT_EQ(body["max_tokens"], workload.output_len(2));
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["stream_options"]["include_usage"], true);
  options.ignore_eos = false;
  EXPECT_FALSE(json::parse(CompletionBody(workload, 2, options)).contains("ignore_eos"));
}

TEST(LoadTest, ClosedLoopGetsWhatItAskedFor) {
  TestServer server;
  const Workload workload = MakeWorkload(40);
  const LoadResult result = RunAll(server.port(), workload, Closed(4));
  EXPECT_EQ(result.peak, 4);
  EXPECT_FALSE(result.interrupted);
  for (int64_t i = 0; i < 40; ++i) {
    const RequestRecord& record = result.records[i];
    EXPECT_EQ(record.end, End::kDone) << record.error;
    EXPECT_EQ(record.prompt_tokens, workload.input_len(i));
    EXPECT_EQ(record.completion_tokens, workload.output_len(i));
    EXPECT_EQ(static_cast<int64_t>(record.itls.size()), workload.output_len(i) - 1);
    EXPECT_TRUE(record.counted_by_server);
    EXPECT_NEAR(std::accumulate(record.itls.begin(), record.itls.end(), record.ttft), record.e2el, 1e-9);
    EXPECT_LE(record.due + record.e2el, result.duration);
  }
  EXPECT_EQ(server.generator.requests().size(), 40u);
}

TEST(LoadTest, OpenLoopDoesNotWaitForAnswers) {
  TestServer server;
  server.generator.Hold();
  const Workload workload = MakeWorkload(30);
  LoadOptions options = Closed(0);
  options.rate = 200;
  std::thread releases([&] {
    EXPECT_TRUE(server.generator.WaitForRequests(30));
    server.generator.Release();
  });
  const LoadResult result = RunAll(server.port(), workload, options);
  releases.join();
  EXPECT_EQ(result.peak, 30);
  const std::vector<double> due = PoissonArrivals(200, 30, 0);
  for (size_t i = 0; i < due.size(); ++i) {
    EXPECT_EQ(result.records[i].end, End::kDone) << result.records[i].error;
    EXPECT_EQ(result.records[i].due, due[i]);
    EXPECT_GE(result.records[i].sent, due[i]);
  }
  // The first had to wait for the last.
  EXPECT_GE(result.records[0].ttft, due.back());
}

TEST(LoadTest, ManyAtOnce) {
  TestServer server;
  RaiseConnectionLimit();
  const LoadResult result = RunAll(server.port(), MakeWorkload(600, "2"), Closed(300));
  EXPECT_EQ(result.peak, 300);
  for (const RequestRecord& record : result.records) EXPECT_EQ(record.end, End::kDone) << record.error;
}

TEST(LoadTest, ASignalLeavesOutWhatRuns) {
  TestServer server;
  server.generator.Hold();
  const Workload workload = MakeWorkload(5);
  std::thread interrupts([&] {
    EXPECT_TRUE(server.generator.WaitForRequests(4));
    EXPECT_EQ(kill(getpid(), SIGINT), 0);
  });
  const LoadResult result = RunLoad(Target(server.port()), workload, Closed(4), [](int64_t) {});
  interrupts.join();
  EXPECT_TRUE(result.interrupted);
  EXPECT_TRUE(result.records.empty()) << "they were held";
  EXPECT_TRUE(server.generator.WaitForCancelled(4)) << "their connections are closed";
}

TEST(LoadTest, RefusedAndFailedAreApart) {
  FakeGenerator::Behaviour behaviour;
  behaviour.queue = 0;
  TestServer full(behaviour);
  for (const RequestRecord& record : RunAll(full.port(), MakeWorkload(3), Closed(1)).records) {
    EXPECT_EQ(record.end, End::kRefused);
    EXPECT_THAT(record.error, testing::StartsWith("HTTP 429: "));
  }
  TestServer loading;
  loading.generator.SetReady(absl::UnavailableError("rank 2 was lost"));
  const RequestRecord record = RunAll(loading.port(), MakeWorkload(1), Closed(1)).records[0];
  EXPECT_EQ(record.end, End::kFailed);
  EXPECT_THAT(record.error, HasSubstr("HTTP 503: rank 2 was lost"));
  EXPECT_GT(record.e2el, 0);
}

TEST(LoadTest, AFaultOfTheEngineFails) {
  FakeGenerator::Behaviour behaviour;
  behaviour.fail_after_tokens = 2;
  TestServer server(behaviour);
  const RequestRecord record = RunAll(server.port(), MakeWorkload(1, "5"), Closed(1)).records[0];
  EXPECT_EQ(record.end, End::kFailed);
  EXPECT_THAT(record.error, HasSubstr("the fake engine failed"));
}

TEST(LoadTest, SendsTheKey) {
  ServerOptions server_options;
  server_options.api_keys = {"secret"};
  TestServer server({}, server_options);
  LoadTarget target = Target(server.port());
  const auto end = [&] { return RunLoad(target, MakeWorkload(1), Closed(1), [](int64_t) {}).records[0].end; };
  EXPECT_EQ(end(), End::kFailed);
  EXPECT_EQ(HttpGet(target, "/v1/models")->status, 401);
  target.api_key = "secret";
  EXPECT_EQ(end(), End::kDone);
  const auto models = HttpGet(target, "/v1/models");
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_EQ(json::parse(models->body)["data"][0]["id"], "demo");
}

TEST(AnswerTest, ChunksCutAnywhere) {
  for (size_t most : {size_t{1}, size_t{7}, size_t{64}, size_t{10000}}) {
    ExpectTwoTokens(
        Ask({absl::StrCat(kStreamHead, "Transfer-Encoding: chunked\r\n\r\n", Chunked(kEvents, most))}));
  }
  std::vector<std::string> bytes;
  const std::string whole =
      absl::StrCat(kStreamHead, "Transfer-Encoding: chunked\r\n\r\n", Chunked(kEvents, 50));
  for (const char c : whole) bytes.emplace_back(1, c);
  ExpectTwoTokens(Ask(std::move(bytes)));
}

TEST(AnswerTest, LengthGivenOrUntilTheEnd) {
  ExpectTwoTokens(
      Ask({absl::StrCat(kStreamHead, "Content-Length: ", sizeof(kEvents) - 1, "\r\n\r\n", kEvents)}));
  ExpectTwoTokens(Ask({absl::StrCat(kStreamHead, "\r\n"), kEvents}));
}

// More than the reader takes at a time.
TEST(AnswerTest, LongEvents) {
  const std::string events = absl::StrCat(": ", std::string(300'000, 'x'), "\n\n", kEvents);
  const std::string chunked = absl::StrCat(kStreamHead, "Transfer-Encoding: chunked\r\n\r\n");
  ExpectTwoTokens(Ask({absl::StrCat(chunked, Chunked(events, 1 << 20))}));
  ExpectTwoTokens(Ask({absl::StrCat(chunked, Chunked(events, 3000))}));
  ExpectTwoTokens(Ask({absl::StrCat(kStreamHead, "Content-Length: ", events.size(), "\r\n\r\n", events)}));
}

TEST(AnswerTest, ATokenIsTimedWhenItComes) {
  constexpr std::chrono::milliseconds kApart{60};
  const std::string events = kEvents;
  const size_t second = events.find("\n\n") + 2;
  const RequestRecord record =
      Ask({absl::StrCat(kStreamHead, "\r\n"), events.substr(0, second), events.substr(second)}, kApart);
  ExpectTwoTokens(record);
  EXPECT_GE(record.ttft, 0.05);
  EXPECT_GE(record.itls[0], 0.05);
}

TEST(AnswerTest, DisconnectsFail) {
  EXPECT_THAT(Ask({}).error, HasSubstr("the server closed the connection"));
  EXPECT_THAT(Ask({"HTTP/1.1 200"}).error, HasSubstr("the server closed the connection"));
  const std::string events = kEvents;
  const std::string half = events.substr(0, events.find("\n\n") + 5);
  const RequestRecord record = Ask({absl::StrCat(kStreamHead, "Transfer-Encoding: chunked\r\n\r\n",
                                                 absl::Hex(half.size()), "\r\n", half, "\r\n")});
  EXPECT_EQ(record.end, End::kFailed);
  EXPECT_EQ(record.error, "the stream broke off: the server closed the connection");
}

TEST(AnswerTest, OtherAnswersFail) {
  EXPECT_EQ(Ask({"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nlost"}).error, "HTTP 502: lost");
  EXPECT_EQ(Ask({"HTTP/1.1 500 Oh\r\nContent-Length: 400\r\n\r\nlost"}).error, "HTTP 500: lost");
  EXPECT_EQ(Ask({"HTTP/1.1 429 Slow\r\n\r\n"}).end, End::kRefused);
  EXPECT_EQ(Ask({"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"}).error,
            "no token came: the answer ended without [DONE]");
  EXPECT_THAT(Ask({"SSH-2.0-OpenSSH_9.2\r\n"}).error, HasSubstr("no answer: "));
}

TEST(AnswerTest, SilenceEndsAtTheTimeout) {
  const std::chrono::milliseconds timeout{100};
  const RequestRecord record =
      Ask({absl::StrCat(kStreamHead, "\r\n"), kEvents}, std::chrono::milliseconds(400), timeout);
  EXPECT_EQ(record.end, End::kFailed);
  EXPECT_THAT(record.error, HasSubstr("--timeout"));
}

TEST(AnswerTest, NobodyListens) {
  uint16_t port = 0;
  { port = ScriptedServer({}).port(); }
  const LoadResult result = RunLoad(Target(port), MakeWorkload(2), Closed(1), [](int64_t) {});
  for (const RequestRecord& record : result.records) {
    EXPECT_EQ(record.end, End::kFailed);
    EXPECT_THAT(record.error, HasSubstr("cannot connect: Connection refused"));
  }
  EXPECT_THAT(std::string(HttpGet(Target(port), "/v1/models").status().message()),
              HasSubstr("start the server"));
}

}  // namespace
}  // namespace ternion
