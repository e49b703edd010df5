#pragma once

#include <string>
#include <string_view>

namespace ternion {

// 32 random hex digits.
std::string MakeRequestId();
// A client's X-Request-Id where it is fit to be sent back (1 to 128 printable ASCII characters), else a new
// one.
std::string RequestIdFrom(std::string_view sent);

}  // namespace ternion
