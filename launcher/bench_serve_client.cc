#include "launcher/bench_serve_client.h"

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr size_t kReadBytes = 8192;
constexpr size_t kMostErrorBody = size_t{64} << 10;
constexpr std::chrono::seconds kGetTimeout{10};

// The lines that all requests have; the line break that ends the head is left out.
std::string Head(const LoadTarget& target, std::string_view method, std::string_view path) {
  const ServerUrl& url = target.url;
  const bool v6 = url.host.find(':') != url.host.npos;
  const std::string host = v6 ? absl::StrCat("[", url.host, "]") : url.host;
  std::string head = absl::StrCat(ToAbsl(method), " ", url.path, ToAbsl(path), " HTTP/1.1\r\nHost: ", host,
                                  ":", url.port, "\r\nUser-Agent: ternion-bench\r\nConnection: close\r\n");
  if (!target.api_key.empty()) absl::StrAppend(&head, "Authorization: Bearer ", target.api_key, "\r\n");
  return head;
}

std::string Reason(const error_code& error) {
  if (error == beast::error::timeout) return "the server was silent for too long (--timeout)";
  if (error == http::error::end_of_stream || error == http::error::partial_message ||
      error == asio::error::eof) {
    return "the server closed the connection";
  }
  return error.message();
}

// One request, from connecting to the end of its answer.
class Exchange {
 public:
  Exchange(asio::io_context& io, const LoadTarget& target, Clock::time_point begin, RequestRecord& record)
      : target_(target), begin_(begin), record_(record), reader_(record), stream_(io) {
    parser_.body_limit(boost::none);
    parser_.eager(true);
    buffer_.reserve(kReadBytes);  // Beast reads as much as fits
  }

  asio::awaitable<void> Run(std::string body) {
    record_.sent = SinceBegin();
    if (record_.due < 0) record_.due = record_.sent;
    if (!co_await Send(std::move(body))) co_return;
    stream_.expires_after(target_.timeout);
    const auto [error, bytes] = co_await http::async_read_header(stream_, buffer_, parser_, kAwait);
    if (error) {
      co_return Fail(absl::StrCat(sent_ ? "no answer: " : "the request was not taken: ", Reason(error)));
    }
    parser_.get().result() == http::status::ok ? co_await ReadStream() : co_await ReadError();
  }

  void Fail(std::string_view error) {
    record_.end = RequestRecord::End::kFailed;
    record_.e2el = SinceDue();
    record_.error = error;
  }

 private:
  double SinceBegin() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  double SinceDue() const { return SinceBegin() - record_.due; }

  asio::awaitable<bool> Send(std::string body) {
    stream_.expires_after(target_.timeout);
    const auto [connected, endpoint] = co_await stream_.async_connect(target_.endpoints, kAwait);
    if (connected) {
      Fail(absl::StrCat("cannot connect: ", Reason(connected)));
      co_return false;
    }
    error_code ignored;
    stream_.socket().set_option(tcp::no_delay(true), ignored);
    const std::string head =
        absl::StrCat(Head(target_, "POST", "/v1/completions"), "Content-Type: application/json\r\n",
                     "Accept: text/event-stream\r\nContent-Length: ", body.size(), "\r\n\r\n");
    const std::array<asio::const_buffer, 2> message = {asio::buffer(head), asio::buffer(body)};
    const auto [written, bytes] = co_await asio::async_write(stream_, message, kAwait);
    // A server may refuse, and close, before it has read all: its answer may still be there.
    sent_ = !written;
    co_return true;
  }

  // The next bytes of the body; empty at its end, or with an error.
  asio::awaitable<std::string_view> ReadSome() {
    while (!parser_.is_done() && !error_) {
      auto& body = parser_.get().body();
      body.data = chunk_.data();
      body.size = chunk_.size();
      stream_.expires_after(target_.timeout);
      const auto [error, bytes] = co_await http::async_read_some(stream_, buffer_, parser_, kAwait);
      if (error && error != http::error::need_buffer) error_ = error;
      const size_t taken = chunk_.size() - body.size;
      if (taken > 0) co_return std::string_view(chunk_.data(), taken);
    }
    co_return std::string_view();
  }

  asio::awaitable<void> ReadStream() {
    SseReader events;
    bool fits = true;
    while (fits && !reader_.ended()) {
      const std::string_view bytes = co_await ReadSome();
      if (bytes.empty()) break;
      const double now = SinceDue();
      fits = events.Push(bytes, [&](std::string_view data) { reader_.Take(data, now); });
    }
    std::string how = "the answer ended without [DONE]";
    if (error_) how = Reason(error_);
    if (!fits) how = "an event is longer than 16 MiB";
    reader_.Finish(SinceDue(), how);
  }

  asio::awaitable<void> ReadError() {
    std::string body;
    while (body.size() < kMostErrorBody) {
      const std::string_view bytes = co_await ReadSome();
      if (bytes.empty()) break;
      body += bytes;
    }
    const unsigned status = parser_.get().result_int();
    Fail(absl::StrCat("HTTP ", status, ": ", ErrorText(body)));
    if (status == 429) record_.end = RequestRecord::End::kRefused;
  }

  const LoadTarget& target_;
  const Clock::time_point begin_;
  RequestRecord& record_;
  CompletionReader reader_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  http::response_parser<http::buffer_body> parser_;
  std::array<char, kReadBytes> chunk_;
  error_code error_;  // of the last read
  bool sent_ = false;
};

asio::awaitable<absl::StatusOr<HttpAnswer>> GetAnswer(const LoadTarget& target, std::string_view path) {
  beast::tcp_stream stream(co_await asio::this_coro::executor);
  const std::string server = absl::StrCat("http://", target.url.host, ":", target.url.port);
  stream.expires_after(kGetTimeout);
  const auto [connected, endpoint] = co_await stream.async_connect(target.endpoints, kAwait);
  if (connected) {
    co_return absl::UnavailableError(absl::StrCat("--url ", server, ": cannot connect: ", Reason(connected),
                                                  "; start the server, or correct the address"));
  }
  const std::string request = absl::StrCat(Head(target, "GET", path), "\r\n");
  co_await asio::async_write(stream, asio::buffer(request), kAwait);
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  const auto [error, bytes] = co_await http::async_read(stream, buffer, parser, kAwait);
  if (error) {
    co_return absl::UnavailableError(
        absl::StrCat("--url ", server, ": no HTTP server answers there: ", Reason(error)));
  }
  co_return HttpAnswer{static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
}

}  // namespace

absl::StatusOr<ServerUrl> ParseServerUrl(std::string_view url) {
  const auto bad = [url](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("--url ", ToAbsl(url), " ", ToAbsl(why), "; write http://HOST:PORT"));
  };
  constexpr std::string_view kScheme = "http://";
  if (absl::StartsWith(ToAbsl(url), "https://")) return bad("needs TLS, which bench serve does not speak");
  if (!absl::StartsWith(ToAbsl(url), ToAbsl(kScheme))) return bad("is no http:// address");
  std::string_view rest = url.substr(kScheme.size());
  ServerUrl server;
  const size_t slash = std::min(rest.find('/'), rest.size());
  server.path = std::string(rest.substr(slash));
  rest = rest.substr(0, slash);
  while (!server.path.empty() && server.path.back() == '/') server.path.pop_back();
  if (absl::EndsWith(server.path, "/v1")) server.path.resize(server.path.size() - 3);
  // An IPv6 address stands in brackets; what comes before an @ would be a password.
  const size_t bracket = rest.rfind(']');
  const size_t colon = rest.find(':', bracket == rest.npos ? 0 : bracket);
  server.port = colon == rest.npos ? "80" : std::string(rest.substr(colon + 1));
  rest = rest.substr(0, colon);
  if (!rest.empty() && rest.front() == '[' && rest.back() == ']') rest = rest.substr(1, rest.size() - 2);
  server.host = std::string(rest);
  if (server.host.empty()) return bad("names no host");
  const bool text = url.find_first_of("@?# \r\n\t") != url.npos;
  int port = 0;
  if (text || !absl::SimpleAtoi(server.port, &port) || port < 1 || port > 65535) {
    return bad("has no port from 1 to 65535, or signs that do not belong there");
  }
  return server;
}

absl::StatusOr<LoadTarget> ResolveTarget(const std::string& url) {
  LoadTarget target;
  TERNION_ASSIGN_OR_RETURN(target.url, ParseServerUrl(url));
  asio::io_context io;
  tcp::resolver resolver(io);
  error_code error;
  for (const auto& entry : resolver.resolve(target.url.host, target.url.port, error)) {
    target.endpoints.push_back(entry.endpoint());
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("--url ", url, ": cannot resolve ", target.url.host, ": ", error.message()));
  }
  return target;
}

absl::StatusOr<HttpAnswer> HttpGet(const LoadTarget& target, std::string_view path) {
  asio::io_context io(1);
  absl::StatusOr<HttpAnswer> answer = absl::UnknownError("");
  asio::co_spawn(
      io, GetAnswer(target, path),
      [&](const std::exception_ptr&, absl::StatusOr<HttpAnswer> result) { answer = std::move(result); });
  io.run();
  return answer;
}

void StartCompletion(asio::io_context& io, const LoadTarget& target, std::string body,
                     Clock::time_point begin, RequestRecord& record, std::function<void()> done) {
  auto exchange = std::make_shared<Exchange>(io, target, begin, record);
  asio::co_spawn(io, exchange->Run(std::move(body)),
                 [exchange, done = std::move(done)](const std::exception_ptr& failure) {
                   if (failure) exchange->Fail("out of memory or a fault of bench serve");
                   done();
                 });
}

}  // namespace ternion
