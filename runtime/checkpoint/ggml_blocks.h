#pragma once

#include <cstdint>

namespace ternion {

// The blocks of ggml's types (docs/numerics.md, GGUF). Blocks may be unaligned.

constexpr int64_t kI2SBytes = 32;      // 128 trits
constexpr int64_t kI2STailBytes = 32;  // after a tensor's blocks; a float32 scale comes first
constexpr int64_t kTq1Bytes = 54;      // 256 trits, five a byte; fp16 scale at the end
constexpr int64_t kTq2Bytes = 66;      // 256 trits, four a byte; fp16 scale at the end
constexpr int64_t kQ8Bytes = 34;       // 32 values: fp16 scale, int8 [32]
constexpr int64_t kQ6KBytes =
    210;  // 256 values: low 4 bits [128], high 2 bits [64], int8 scales [16], fp16 scale

// trit + 1 of one block.
void DecodeI2S(const uint8_t* block, uint8_t* codes);  // codes [128]
void DecodeTq1(const uint8_t* block, uint8_t* codes);  // codes [256]
void DecodeTq2(const uint8_t* block, uint8_t* codes);  // codes [256]

// The values of `count` blocks.
void DecodeF32(const uint8_t* blocks, int64_t count, float* out);
void DecodeF16(const uint8_t* blocks, int64_t count, float* out);
void DecodeBF16(const uint8_t* blocks, int64_t count, float* out);
void DecodeQ8(const uint8_t* blocks, int64_t count, float* out);   // out [count * 32]
void DecodeQ6K(const uint8_t* blocks, int64_t count, float* out);  // out [count * 256]

}  // namespace ternion
