#pragma once

#include <string>
#include <string_view>

namespace ternion {

// Server-sent events, as far as OpenAI's streams use them: one data line per event.
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
// A comment, which clients skip: proof of life.
inline constexpr std::string_view kSseKeepAlive = ": keep-alive\n\n";

// `json` holds no line break.
void AppendSseEvent(std::string* out, std::string_view json);

}  // namespace ternion
