#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ternion {

// Byte-level BPE spells every byte as a printable character: those of Latin-1 that print stand for
// themselves, the other 68 bytes are U+0100, U+0101, ... in ascending order (GPT-2's table). "Ġ" is a space.

// One character for each byte.
std::string ToByteLevel(std::string_view bytes);
// Back again; nullopt when some character stands for no byte. `text` is UTF-8.
std::optional<std::string> FromByteLevel(std::string_view text);

}  // namespace ternion
