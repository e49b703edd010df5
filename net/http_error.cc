#include "net/http_error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "nlohmann/json.hpp"
#include "runtime/serving/retry_after.h"

namespace ternion {
namespace {

constexpr char kParamPayload[] = "ternion/param";
constexpr char kCodePayload[] = "ternion/code";

absl::Status WithParam(absl::StatusCode code, std::string_view param, std::string_view message) {
  return BlameParam(param, absl::Status(code, absl::StrCat(ToAbsl(param), ": ", ToAbsl(message))));
}

std::string_view TypeOf(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "service_unavailable_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kFailedPrecondition:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

nlohmann::ordered_json OrNull(const std::string& text) {
  return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
}

}  // namespace

HttpError MakeHttpError(int status, std::string_view message, std::string_view param, std::string_view code) {
  return {
      status,      std::string(message), std::string(TypeOf(status)), std::string(param), std::string(code),
      std::nullopt};
}

absl::Status ParamError(std::string_view param, std::string_view message) {
  return WithParam(absl::StatusCode::kInvalidArgument, param, message);
}

absl::Status UnsupportedParam(std::string_view param, std::string_view message) {
  return WithParam(absl::StatusCode::kUnimplemented, param, message);
}

absl::Status BlameParam(std::string_view param, absl::Status status) {
  if (!status.ok()) status.SetPayload(kParamPayload, absl::Cord(ToAbsl(param)));
  return status;
}

absl::Status WithErrorCode(absl::Status status, std::string_view code) {
  if (!status.ok() && !code.empty()) status.SetPayload(kCodePayload, absl::Cord(ToAbsl(code)));
  return status;
}

std::string ErrorCodeOf(const absl::Status& status) {
  return std::string(status.GetPayload(kCodePayload).value_or(absl::Cord()));
}

absl::Status ModelNotFound(std::string_view asked, std::string_view served) {
  return WithParam(absl::StatusCode::kNotFound, "model",
                   absl::StrCat("there is no ", ToAbsl(asked), " here; this server serves ", ToAbsl(served)));
}

HttpError ToHttpError(const absl::Status& status) {
  const auto param = status.GetPayload(kParamPayload);
  const std::optional<std::chrono::seconds> retry_after = RetryAfterOf(status);
  const bool waited = absl::IsDeadlineExceeded(status) && retry_after.has_value();
  HttpError error = MakeHttpError(waited ? 429 : HttpStatusOf(status.code()), std::string(status.message()),
                                  param.has_value() ? std::string(*param) : std::string(),
                                  absl::IsNotFound(status) ? "model_not_found" : ErrorCodeOf(status));
  error.retry_after = retry_after;
  return error;
}

std::string ErrorJson(const HttpError& error) {
  const nlohmann::ordered_json body = {{"error",
                                        {{"message", error.message},
                                         {"type", error.type},
                                         {"param", OrNull(error.param)},
                                         {"code", OrNull(error.code)}}}};
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace ternion
