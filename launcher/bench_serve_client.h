#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/bench_serve_stream.h"

// HTTP/1.1 to the server that `ternion bench serve` loads. Each request has a connection of its own, as a new
// client would; all of them live on one io_context and one thread.
namespace ternion {

struct ServerUrl {
  std::string host;
  std::string port;
  std::string path;  // before /v1, without a slash at its end
};

// "http://host:port", as well with a path, also one that ends in /v1. kInvalidArgument.
absl::StatusOr<ServerUrl> ParseServerUrl(std::string_view url);

// Where requests go and how long they may be silent.
struct LoadTarget {
  ServerUrl url;
  std::vector<boost::asio::ip::tcp::endpoint> endpoints;
  std::string api_key;                  // empty: none is sent
  std::chrono::milliseconds timeout{};  // without a byte, after which a request has failed
};

// kUnavailable when the name is not known.
absl::StatusOr<LoadTarget> ResolveTarget(const std::string& url);

struct HttpAnswer {
  int status = 0;
  std::string body;
};

// GET of a path below the URL's; blocks. kUnavailable when no server answers.
absl::StatusOr<HttpAnswer> HttpGet(const LoadTarget& target, std::string_view path);

// Sends `body` to /v1/completions and reads the stream that answers into `record`, whose `due` is set:
// seconds after `begin`, or below 0 for when it is sent. `done` is called on the io_context when nothing more
// happens to the record. The target and the record outlive the io_context.
void StartCompletion(boost::asio::io_context& io, const LoadTarget& target, std::string body,
                     std::chrono::steady_clock::time_point begin, RequestRecord& record,
                     std::function<void()> done);

}  // namespace ternion
