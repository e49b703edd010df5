#pragma once

#include <cstddef>

namespace ternion {

// Bytes of a text: [begin, end).
struct TextRange {
  size_t begin;
  size_t end;

  friend bool operator==(const TextRange&, const TextRange&) = default;
};

}  // namespace ternion
