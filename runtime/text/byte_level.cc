#include "runtime/text/byte_level.h"

#include <array>

#include "runtime/text/utf8.h"

namespace ternion {
namespace {

constexpr uint32_t kFirstStandIn = 0x100;
constexpr uint32_t kCharacters = kFirstStandIn + 68;

constexpr bool StandsForItself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Table {
  std::array<uint16_t, 256> character{};
  std::array<int16_t, kCharacters> byte{};  // -1: stands for no byte

  constexpr Table() {
    byte.fill(-1);
    uint32_t next = kFirstStandIn;
    for (uint32_t b = 0; b < 256; ++b) {
      const uint32_t c = StandsForItself(b) ? b : next++;
      character[b] = static_cast<uint16_t>(c);
      byte[c] = static_cast<int16_t>(b);
    }
  }
};
constexpr Table kTable;

}  // namespace

std::string ToByteLevel(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    const uint16_t c = kTable.character[static_cast<uint8_t>(byte)];
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else {
      text += static_cast<char>(0xC0 | c >> 6);
      text += static_cast<char>(0x80 | (c & 0x3F));
    }
  }
  return text;
}

std::optional<std::string> FromByteLevel(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t at = 0; at < text.size(); at += FirstUtf8(text.substr(at)).bytes) {
    const uint32_t c = FirstCodePoint(text.substr(at));
    if (c >= kCharacters || kTable.byte[c] < 0) return std::nullopt;
    bytes += static_cast<char>(kTable.byte[c]);
  }
  return bytes;
}

}  // namespace ternion
