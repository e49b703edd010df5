#include "runtime/checkpoint/ggml_blocks.h"

#include <bit>
#include <cstring>

#include "runtime/checkpoint/floats.h"

namespace ternion {
namespace {

uint16_t Bits16(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

// Four bit pairs a byte, `width` values apart; the pair of the first `width` values lies at bit `first_shift`.
void DecodePairs(const uint8_t* bytes, int width, int first_shift, int step, uint8_t* codes) {
  for (int group = 0; group < 4; ++group) {
    const int shift = first_shift + step * group;
    for (int i = 0; i < width; ++i) *codes++ = (bytes[i] >> shift) & 3;
  }
}

// `digits` base-3 digits a byte, `width` values apart. A byte is the fraction digits / 3^5 scaled to 256 and rounded
// up, so each tripling pushes the next digit out at the top.
void DecodeDigits(const uint8_t* bytes, int width, int digits, uint8_t* codes) {
  uint8_t power = 1;
  for (int digit = 0; digit < digits; ++digit) {
    for (int i = 0; i < width; ++i) {
      const auto fraction = static_cast<uint8_t>(bytes[i] * power);
      *codes++ = static_cast<uint8_t>(fraction * 3 >> 8);
    }
    power = static_cast<uint8_t>(power * 3);
  }
}

}  // namespace

void DecodeI2S(const uint8_t* block, uint8_t* codes) { DecodePairs(block, 32, 6, -2, codes); }

void DecodeTq1(const uint8_t* block, uint8_t* codes) {
  DecodeDigits(block, 32, 5, codes);
  DecodeDigits(block + 32, 16, 5, codes + 160);
  DecodeDigits(block + 48, 4, 4, codes + 240);
}

void DecodeTq2(const uint8_t* block, uint8_t* codes) {
  DecodePairs(block, 32, 0, 2, codes);
  DecodePairs(block + 32, 32, 0, 2, codes + 128);
}

void DecodeF32(const uint8_t* blocks, int64_t count, float* out) {
  std::memcpy(out, blocks, static_cast<size_t>(count) * sizeof(float));
}

void DecodeF16(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = FromHalf(Bits16(blocks + 2 * i));
}

void DecodeBF16(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = FromBFloat16(Bits16(blocks + 2 * i));
}

void DecodeQ8(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t block = 0; block < count; ++block, blocks += kQ8Bytes) {
    const float scale = FromHalf(Bits16(blocks));
    for (int i = 0; i < 32; ++i) *out++ = scale * static_cast<float>(static_cast<int8_t>(blocks[2 + i]));
  }
}

// Sixteen values share a scale; eight groups of them, in four runs of 32 values, are half a block. Run r takes the low or
// the high four bits of the bytes [32 * (r mod 2), + 32), and bits 2r of the 32 bytes of high bits.
void DecodeQ6K(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t block = 0; block < count; ++block, blocks += kQ6KBytes) {
    const float block_scale = FromHalf(Bits16(blocks + 208));
    for (int group = 0; group < 16; ++group) {
      const int half = group / 8;
      const int run = group % 8 / 2;
      const int lane = 16 * (group % 2);
      const uint8_t* low = blocks + 64 * half + 32 * (run % 2) + lane;
      const uint8_t* high = blocks + 128 + 32 * half + lane;
      const float scale = block_scale * static_cast<float>(static_cast<int8_t>(blocks[192 + group]));
      for (int i = 0; i < 16; ++i) {
        const int value = (low[i] >> (4 * (run / 2)) & 15) | (high[i] >> (2 * run) & 3) << 4;
        *out++ = scale * static_cast<float>(value - 32);
      }
    }
  }
}

}  // namespace ternion
