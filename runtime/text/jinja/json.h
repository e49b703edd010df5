#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

struct JsonStyle {
  std::optional<std::string> indent;  // of a level; absent: all in one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool ascii_only = false;
  bool sort_keys = false;
};

// Python's json.dumps. kInvalidArgument names the type of what JSON cannot hold.
absl::StatusOr<std::string> ToJson(const Value& value, const JsonStyle& style);

// A value that came from a client: all of its text is foreign. Integers beyond 64 bits become floats. `json` nests no
// deeper than its parser allows.
Value FromJson(const nlohmann::json& json);

}  // namespace ternion::jinja
