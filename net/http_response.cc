#include "net/http_response.h"

#include <ctime>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {
namespace {

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
  }
  CHECK(false, "an HTTP status without a phrase");
}

// RFC 9110, 5.6.7; not strftime, whose names follow the locale.
std::string HttpDate() {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t now = std::time(nullptr);
  std::tm t;
  gmtime_r(&now, &t);
  return absl::StrFormat("%s, %02d %s %d %02d:%02d:%02d GMT", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon],
                         t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

std::string CommonHead(int status, const Framing& framing) {
  return absl::StrCat("HTTP/1.1 ", status, " ", ToAbsl(ReasonPhrase(status)),
                      "\r\nServer: ternion\r\nDate: ", HttpDate(), "\r\nX-Request-Id: ", framing.request_id,
                      "\r\nConnection: ", framing.keep_alive ? "keep-alive" : "close", "\r\n", framing.cors);
}

}  // namespace

HttpResponse ErrorResponse(const HttpError& error) {
  HttpResponse response{error.status, ErrorJson(error), {}};
  if (error.status == 429 || error.retry_after.has_value()) {
    response.headers.emplace_back("Retry-After",
                                  absl::StrCat(error.retry_after.value_or(std::chrono::seconds(1)).count()));
  }
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

std::string Serialize(const HttpResponse& response, const Framing& framing) {
  std::string out = CommonHead(response.status, framing);
  for (const auto& [name, value] : response.headers) absl::StrAppend(&out, name, ": ", value, "\r\n");
  if (response.status == 204) return out + "\r\n";
  absl::StrAppend(&out, "Content-Type: ", ToAbsl(response.content_type),
                  "\r\nContent-Length: ", response.body.size(), "\r\n\r\n");
  if (!framing.head_only) out += response.body;
  return out;
}

std::string SerializeStreamHead(const Framing& framing) {
  return absl::StrCat(CommonHead(200, framing),
                      "Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n",
                      framing.chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
}

void AppendStreamBytes(std::string* out, std::string_view bytes, const Framing& framing) {
  if (!framing.chunked) {
    out->append(bytes);
  } else if (!bytes.empty()) {  // an empty chunk would end the stream
    absl::StrAppend(out, absl::Hex(bytes.size()), "\r\n", ToAbsl(bytes), "\r\n");
  }
}

void AppendStreamEnd(std::string* out, const Framing& framing) {
  if (framing.chunked) out->append("0\r\n\r\n");
}

}  // namespace ternion
