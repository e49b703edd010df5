#include "tests/support/http_client.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {

HttpClient::HttpClient(uint16_t port, const std::string& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  CHECK(getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) == 0, "not an address");
  socket_ = socket(found->ai_family, SOCK_STREAM, 0);
  const int small = 4096;
  setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  const timeval patience{20, 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  const int connected = connect(socket_, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  if (connected != 0) Close();
}

HttpClient::~HttpClient() { Close(); }

void HttpClient::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

void HttpClient::EndSending() { shutdown(socket_, SHUT_WR); }

void HttpClient::Reset() {
  const linger now{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  Close();
}

bool HttpClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool HttpClient::Fill() {
  char bytes[16384];
  const ssize_t received = recv(socket_, bytes, sizeof(bytes), 0);
  if (received <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(received));
  return true;
}

bool HttpClient::ReadsEnd() {
  char byte;
  return buffer_.empty() && recv(socket_, &byte, 1, 0) == 0;
}

std::optional<std::string> HttpClient::TakeUntil(std::string_view end) {
  size_t at = 0;
  while ((at = buffer_.find(end)) == buffer_.npos) {
    if (!Fill()) return std::nullopt;
  }
  std::string taken = buffer_.substr(0, at);
  buffer_.erase(0, at + end.size());
  return taken;
}

std::string HttpClient::TakeBytes(size_t bytes) {
  while (buffer_.size() < bytes && Fill()) {
  }
  std::string taken = buffer_.substr(0, bytes);
  buffer_.erase(0, bytes);
  return taken;
}

HttpReply HttpClient::ReadHead() {
  HttpReply reply;
  const std::optional<std::string> head = TakeUntil("\r\n\r\n");
  if (!head.has_value()) return reply;
  const std::vector<std::string> lines = absl::StrSplit(*head, "\r\n");
  CHECK(absl::SimpleAtoi(lines[0].substr(9, 3), &reply.status), "not a status line");
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<std::string, std::string> field = absl::StrSplit(lines[i], absl::MaxSplits(": ", 1));
    reply.headers[absl::AsciiStrToLower(field.first)] = field.second;
  }
  return reply;
}

std::optional<std::string> HttpClient::ReadChunk() {
  const std::optional<std::string> size = TakeUntil("\r\n");
  if (!size.has_value()) return std::nullopt;
  const size_t bytes = std::stoul(*size, nullptr, 16);
  std::string chunk = TakeBytes(bytes + 2);
  if (chunk.size() < bytes + 2) return std::nullopt;
  chunk.resize(bytes);
  return chunk;
}

HttpReply HttpClient::Read(bool head_only) {
  HttpReply reply = ReadHead();
  if (reply.status == 0 || reply.status == 100 || reply.status == 204 || head_only) return reply;
  if (reply.headers.count("content-length") != 0) {
    reply.body = TakeBytes(std::stoul(reply.headers["content-length"]));
  } else if (reply.headers.count("transfer-encoding") != 0) {
    for (auto chunk = ReadChunk(); chunk.has_value() && !chunk->empty(); chunk = ReadChunk())
      reply.body += *chunk;
  } else {
    while (Fill()) {
    }
    reply.body = TakeBytes(buffer_.size());
  }
  return reply;
}

std::optional<std::string> HttpClient::ReadEvent() {
  size_t at = 0;
  while ((at = events_.find("\n\n")) == events_.npos) {
    const std::optional<std::string> chunk = ReadChunk();
    if (!chunk.has_value() || chunk->empty()) return std::nullopt;
    events_ += *chunk;
  }
  std::string event = events_.substr(0, at);
  events_.erase(0, at + 2);
  return event.rfind("data: ", 0) == 0 ? event.substr(6) : event;
}

HttpReply HttpClient::Get(std::string_view target, std::string_view headers) {
  Send(absl::StrCat("GET ", ToAbsl(target), " HTTP/1.1\r\nHost: test\r\n", ToAbsl(headers), "\r\n"));
  return Read();
}

HttpReply HttpClient::Post(std::string_view target, std::string_view body, std::string_view headers) {
  Send(PostRequest(target, body, headers));
  return Read();
}

std::string PostRequest(std::string_view target, std::string_view body, std::string_view headers) {
  return absl::StrCat("POST ", ToAbsl(target), " HTTP/1.1\r\nHost: test\r\nContent-Length: ", body.size(),
                      "\r\n", ToAbsl(headers), "\r\n", ToAbsl(body));
}

}  // namespace ternion
