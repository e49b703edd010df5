#pragma once

#include <string>
#include <string_view>

namespace ternion {

// `text` as a JSON string; what is not UTF-8 in it becomes U+FFFD.
std::string QuoteJson(std::string_view text);

}  // namespace ternion
