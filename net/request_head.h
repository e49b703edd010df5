#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "net/http_error.h"

namespace ternion {

// Looks over a request's head as its bytes come, before a parser sees it: what two programs could read in two ways (RFC 9112:
// bare LF and CR, folded lines, NUL) is refused, and so is what is too long, at the first byte that shows it.
class RequestHead {
 public:
  static constexpr size_t kMostRequestLine = 8192;  // bytes: RFC 9112 asks for at least 8000
  static constexpr size_t kMostFields = 128;

  explicit RequestHead(size_t most_bytes) : most_bytes_(most_bytes) {}

  // `bytes`: all that has come, those of earlier calls first. True once the head is whole or at fault.
  bool Push(std::string_view bytes);

  // 400: no HTTP/1; 414: the request line; 431: the head is too long or has too many fields; 501: CONNECT; 505: another
  // version of HTTP.
  const std::optional<HttpError>& fault() const { return fault_; }
  // Empty lines in front of the request line, which are to be passed over.
  size_t leading_bytes() const { return leading_bytes_; }

 private:
  bool Refuse(int status, std::string_view message);
  bool TakeLine(std::string_view line);
  bool CheckRest(std::string_view bytes);

  const size_t most_bytes_;
  size_t seen_ = 0;        // bytes that need no second look
  size_t line_begin_ = 0;  // of the line that is not whole yet
  size_t leading_bytes_ = 0;
  size_t lines_ = 0;  // whole ones, the request line and fields
  std::optional<HttpError> fault_;
};

}  // namespace ternion
