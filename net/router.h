#pragma once

#include <string_view>
#include <variant>

#include "net/http_response.h"

namespace ternion {

enum class Route {
  kCompletions,
  kChatCompletions,
  kTokenize,
  kDetokenize,
  kModels,
  kHealth,
  kVersion,
  kMetrics,
  kStatus,
  kPage,
  kDrain
};

// The route of a request line, or the answer to one that has none: 404, or 405 with Allow. The target's query
// is ignored, and so is its host where it has one. HEAD goes where GET goes. "*" (of OPTIONS) is answered 204.
std::variant<Route, HttpResponse> FindRoute(std::string_view method, std::string_view target);

}  // namespace ternion
