#include "net/cors.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

bool IsHeaderList(std::string_view text) {
  constexpr size_t kMostBytes = 1024;
  return text.size() <= kMostBytes && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == ',' || c == ' ';
         });
}

}  // namespace

std::string Cors::CheckOrigin(const std::string& origin) {
  if (origin == "*") return "";
  const size_t scheme = origin.find("://");
  const std::string_view host = scheme == origin.npos ? "" : std::string_view(origin).substr(scheme + 3);
  const bool fits = scheme != 0 && !host.empty() && host.find_first_of("/?#@, ") == host.npos;
  return fits ? "" : absl::StrCat(origin, " is no origin; write https://HOST[:PORT], or * for every page");
}

bool Cors::Allows(std::string_view origin) const {
  return std::any_of(origins_.begin(), origins_.end(),
                     [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

std::string Cors::HeaderLines(std::string_view origin) const {
  if (origins_.empty()) return "";
  // Caches must not give one page's answer to another.
  std::string lines = "Vary: Origin\r\n";
  if (!origin.empty() && Allows(origin)) {
    absl::StrAppend(&lines, "Access-Control-Allow-Origin: ", ToAbsl(origin),
                    "\r\nAccess-Control-Expose-Headers: X-Request-Id, Retry-After\r\n");
  }
  return lines;
}

std::optional<HttpResponse> Cors::Preflight(std::string_view origin, std::string_view asked_headers) const {
  if (origins_.empty()) return std::nullopt;
  if (!Allows(origin)) {
    return ErrorResponse(
        MakeHttpError(403, absl::StrCat("pages of ", ToAbsl(origin), " may not use this server")));
  }
  HttpResponse response{204, "", {}};
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST");
  response.headers.emplace_back("Access-Control-Allow-Headers",
                                !asked_headers.empty() && IsHeaderList(asked_headers)
                                    ? std::string(asked_headers)
                                    : "Authorization, Content-Type, X-Request-Id");
  response.headers.emplace_back("Access-Control-Max-Age", "600");
  return response;
}

}  // namespace ternion
