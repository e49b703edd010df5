#include "net/json_body.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

// Where the nesting becomes too deep; npos when it does not. Up to its first error, a text means the same to
// this scan as to the parser, so the parser never goes deeper.
size_t FindTooDeep(std::string_view body) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMostJsonDepth) return i;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return std::string_view::npos;
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJsonBody(std::string_view body) {
  if (const size_t at = FindTooDeep(body); at != body.npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body nests deeper than ", kMostJsonDepth, " levels at byte ", at));
  }
  try {
    return nlohmann::json::parse(body.begin(), body.end());
  } catch (const nlohmann::json::parse_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body is not JSON in UTF-8: syntax error at byte ", error.byte));
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError("the body holds a number that is too large");
  }
}

}  // namespace ternion
