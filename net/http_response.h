#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http_error.h"

namespace ternion {

struct HttpResponse {
  int status = 200;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string_view content_type = "application/json";
};

// An error as a response, with the header that its status asks for: Retry-After at 429 and where the error knows one,
// WWW-Authenticate at 401.
HttpResponse ErrorResponse(const HttpError& error);

// How a response is put on the wire, as its request asks.
struct Framing {
  bool keep_alive = false;
  bool head_only = false;  // HEAD: headers of the body, without the body
  bool chunked = true;     // streams: false for HTTP/1.0, where the connection's end is the stream's
  std::string request_id;  // X-Request-Id
  std::string cors = {};   // header lines for browsers
};

std::string Serialize(const HttpResponse& response, const Framing& framing);
// The head of an SSE response with status 200; AppendStreamBytes and AppendStreamEnd follow.
std::string SerializeStreamHead(const Framing& framing);
void AppendStreamBytes(std::string* out, std::string_view bytes, const Framing& framing);
void AppendStreamEnd(std::string* out, const Framing& framing);

}  // namespace ternion
