#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace ternion {

// An answer that is not a success, in the shape of OpenAI's error object. `param` and `code` may be empty
// (null).
struct HttpError {
  int status = 500;
  std::string message;
  std::string type;
  std::string param;
  std::string code;
  std::optional<std::chrono::seconds> retry_after;
};

// An error with the type that belongs to its HTTP status.
HttpError MakeHttpError(int status, std::string_view message, std::string_view param = "",
                        std::string_view code = "");

// kInvalidArgument that names the request's parameter; ToHttpError gives the name back. The message begins
// with it.
absl::Status ParamError(std::string_view param, std::string_view message);
// As ParamError, for a parameter that is right but that this version cannot honour: kUnimplemented.
absl::Status UnsupportedParam(std::string_view param, std::string_view message);

// Gives an error of another source the name of the parameter that it came from.
absl::Status BlameParam(std::string_view param, absl::Status status);
// Gives an error the `code` of its error object, which programs read; "" changes nothing.
absl::Status WithErrorCode(absl::Status status, std::string_view code);
std::string ErrorCodeOf(const absl::Status& status);  // "": none

// kNotFound: a request for another model than the one served.
absl::Status ModelNotFound(std::string_view asked, std::string_view served);

// kInvalidArgument, kUnimplemented, kFailedPrecondition 400; kUnauthenticated 401; kNotFound 404;
// kResourceExhausted 429, as is a kDeadlineExceeded that says when to try again: the request waited for its turn too long;
// kUnavailable 503; kDeadlineExceeded 504; else 500.
HttpError ToHttpError(const absl::Status& status);

// {"error": {"message", "type", "param", "code"}}
std::string ErrorJson(const HttpError& error);

}  // namespace ternion
