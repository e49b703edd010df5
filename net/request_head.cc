#include "net/request_head.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// "HTTP/1.1", whatever the digits.
bool NamesVersion(std::string_view text) {
  return text.size() == 8 && text.substr(0, 5) == "HTTP/" && IsDigit(text[5]) && text[6] == '.' &&
         IsDigit(text[7]);
}

bool IsVisible(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool IsAbsolute(std::string_view target) {
  return absl::StartsWithIgnoreCase(ToAbsl(target), "http://") ||
         absl::StartsWithIgnoreCase(ToAbsl(target), "https://");
}

std::optional<HttpError> CheckRequestLine(std::string_view line) {
  const size_t method_end = line.find(' ');
  const size_t target_end = line.rfind(' ');
  if (method_end == line.npos || method_end == target_end) {
    return MakeHttpError(400, "the first line must be METHOD TARGET HTTP/1.1");
  }
  const std::string_view method = line.substr(0, method_end);
  const std::string_view target = line.substr(method_end + 1, target_end - method_end - 1);
  const std::string_view version = line.substr(target_end + 1);
  if (!NamesVersion(version)) return MakeHttpError(400, "the first line must end in HTTP/1.1");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return MakeHttpError(505, absl::StrCat("this server speaks HTTP/1.1, not ", ToAbsl(version)));
  }
  if (!IsVisible(target)) return MakeHttpError(400, "the target must be visible ASCII without spaces");
  if (method == "CONNECT") return MakeHttpError(501, "this server is no proxy");
  const bool known_form = target[0] == '/' || IsAbsolute(target) || (target == "*" && method == "OPTIONS");
  if (!known_form) return MakeHttpError(400, "the target must begin with / or http://");
  return std::nullopt;
}

}  // namespace

bool RequestHead::Push(std::string_view bytes) {
  for (size_t end; (end = bytes.find('\n', seen_)) != bytes.npos;) {
    const std::string_view line = bytes.substr(line_begin_, end - line_begin_);
    seen_ = line_begin_ = end + 1;
    if (seen_ > most_bytes_) return CheckRest(bytes);
    if (line.empty() || line.back() != '\r') return Refuse(400, "lines must end in CR LF");
    if (TakeLine(line.substr(0, line.size() - 1))) return true;
  }
  seen_ = bytes.size();
  return CheckRest(bytes);
}

// The line that has not ended, and the whole so far.
bool RequestHead::CheckRest(std::string_view bytes) {
  if (bytes.find('\0', line_begin_) != bytes.npos) return Refuse(400, "the header holds a NUL byte");
  if (lines_ == 0 && bytes.size() - line_begin_ > kMostRequestLine) {
    return Refuse(414, absl::StrCat("the request line is longer than ", kMostRequestLine, " bytes"));
  }
  if (bytes.size() <= most_bytes_) return false;
  return Refuse(431, absl::StrCat("the header is larger than ", most_bytes_, " bytes"));
}

// True when there is no need for more.
bool RequestHead::TakeLine(std::string_view line) {
  if (line.find('\0') != line.npos) return Refuse(400, "the header holds a NUL byte");
  if (line.find('\r') != line.npos) return Refuse(400, "the header holds a CR without LF");
  if (line.empty()) {
    if (lines_ == 0) leading_bytes_ = line_begin_;
    return lines_ > 0;
  }
  ++lines_;
  if (lines_ == 1) {
    if (line.size() > kMostRequestLine) {
      return Refuse(414, absl::StrCat("the request line is longer than ", kMostRequestLine, " bytes"));
    }
    fault_ = CheckRequestLine(line);
    return fault_.has_value();
  }
  if (line[0] == ' ' || line[0] == '\t') return Refuse(400, "a header field may not be folded over lines");
  if (lines_ - 1 > kMostFields) {
    return Refuse(431, absl::StrCat("the header has more than ", kMostFields, " fields"));
  }
  return false;
}

bool RequestHead::Refuse(int status, std::string_view message) {
  fault_ = MakeHttpError(status, message);
  return true;
}

}  // namespace ternion
