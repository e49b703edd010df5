#include "net/router.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

struct Entry {
  std::string_view path;
  bool is_post;
  Route route;
};

constexpr Entry kEntries[] = {
    {"/v1/completions", true, Route::kCompletions},
    {"/v1/chat/completions", true, Route::kChatCompletions},
    {"/tokenize", true, Route::kTokenize},
    {"/detokenize", true, Route::kDetokenize},
    {"/v1/models", false, Route::kModels},
    {"/health", false, Route::kHealth},
    {"/version", false, Route::kVersion},
    {"/metrics", false, Route::kMetrics},
    {"/status", false, Route::kStatus},
    {"/", false, Route::kPage},
    {"/drain", true, Route::kDrain},
};

HttpResponse MethodNotAllowed(std::string_view method, const Entry& entry) {
  const std::string allow = entry.is_post ? "POST" : "GET, HEAD";
  HttpResponse response = ErrorResponse(MakeHttpError(
      405, absl::StrCat(ToAbsl(entry.path), " does not take ", ToAbsl(method), "; it takes ", allow)));
  response.headers.emplace_back("Allow", allow);
  return response;
}

// Of "/path?query" and, as proxies are asked, of "http://host/path?query".
std::string_view PathOf(std::string_view target) {
  if (const size_t scheme = target.find("://"); !target.starts_with('/') && scheme != target.npos) {
    const size_t path = target.find_first_of("/?", scheme + 3);
    target = path == target.npos || target[path] == '?' ? "/" : target.substr(path);
  }
  return target.substr(0, target.find('?'));
}

}  // namespace

std::variant<Route, HttpResponse> FindRoute(std::string_view method, std::string_view target) {
  const std::string_view path = PathOf(target);
  if (path == "*") return HttpResponse{204, "", {{"Allow", "GET, HEAD, POST"}}};
  for (const Entry& entry : kEntries) {
    if (entry.path != path) continue;
    const bool fits = entry.is_post ? method == "POST" : method == "GET" || method == "HEAD";
    if (!fits) return MethodNotAllowed(method, entry);
    return entry.route;
  }
  return ErrorResponse(MakeHttpError(404, absl::StrCat("no such route: ", ToAbsl(path))));
}

}  // namespace ternion
