#pragma once

#include <string>
#include <string_view>

namespace ternion::jinja {

// Python's str.upper and so on, of UTF-8 (Unicode 14's full mappings: "ß" becomes "SS"). One rule is left out: a final
// Greek sigma becomes an ordinary small one.
std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);
// The first character in title case, the rest in lower case.
std::string Capitalize(std::string_view text);

}  // namespace ternion::jinja
