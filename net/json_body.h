#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ternion {

inline constexpr int kMostJsonDepth = 64;

// A request's body as JSON. kInvalidArgument with the byte offset: broken JSON, text that is not UTF-8,
// numbers that no double holds, nesting deeper than kMostJsonDepth (found before anything is allocated). Of
// duplicate keys the last one wins.
absl::StatusOr<nlohmann::json> ParseJsonBody(std::string_view body);

}  // namespace ternion
