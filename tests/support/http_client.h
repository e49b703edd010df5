#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ternion {

struct HttpReply {
  int status = 0;                              // 0: the server closed the connection without an answer
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
};

// A blocking HTTP/1.1 client that can also misbehave. Reads give up after 20 seconds. Its receive buffer is small, so
// that a server feels it when the client does not read.
class HttpClient {
 public:
  explicit HttpClient(uint16_t port, const std::string& address = "127.0.0.1");
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Raw bytes; false when the server has closed.
  bool Send(std::string_view bytes);
  // The next answer. `head_only`: of a HEAD request.
  HttpReply Read(bool head_only = false);
  HttpReply Get(std::string_view target, std::string_view headers = "");
  HttpReply Post(std::string_view target, std::string_view body, std::string_view headers = "");

  // Of a stream: its head, then one event's data (or comment) at a time; nothing at the stream's end.
  HttpReply ReadHead();
  std::optional<std::string> ReadEvent();

  // True when the server closes without sending another byte.
  bool ReadsEnd();
  // Says that nothing more will be sent; answers can still be read.
  void EndSending();
  void Close();
  // Ends with a reset instead of a goodbye.
  void Reset();

 private:
  bool Fill();
  std::optional<std::string> TakeUntil(std::string_view end);
  std::string TakeBytes(size_t bytes);
  std::optional<std::string> ReadChunk();

  int socket_ = -1;
  std::string buffer_;  // received, not yet taken
  std::string events_;  // of a stream: chunks' content, not yet taken
};

// "POST TARGET HTTP/1.1" with Host, Content-Length and `headers` (each line ending in \r\n).
std::string PostRequest(std::string_view target, std::string_view body, std::string_view headers = "");

}  // namespace ternion
