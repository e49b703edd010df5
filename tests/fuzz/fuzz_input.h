#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ternion {

// What libFuzzer hands over, as text.
inline std::string_view AsText(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace ternion
