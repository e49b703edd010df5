#pragma once

#include <string_view>
#include <variant>

#include "net/http_response.h"

namespace ternion {

enum class Route { kCompletions, kChatCompletions, kModels, kHealth, kVersion, kMetrics, kDrain };

// The route of a request line, or the answer to one that has none: 404, or 405 with Allow. The target's query
// is ignored. HEAD goes where GET goes.
std::variant<Route, HttpResponse> FindRoute(std::string_view method, std::string_view target);

}  // namespace ternion
