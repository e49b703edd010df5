#pragma once

#include <cstdint>
#include <string_view>

namespace ternion {

// How GGUF files store a tensor's values (ggml's types): rows of whole blocks, one after the other, then a tail.
struct GgmlType {
  uint32_t number;
  std::string_view name;
  int64_t values;  // of a block
  int64_t bytes;   // of a block
  int64_t tail_bytes = 0;
  // Ternary types: trit + 1 of a block's values (3: the file holds no trit there).            codes [values]
  void (*decode_trits)(const uint8_t* block, uint8_t* codes) = nullptr;
  // Types of tables and norms: the values of `count` blocks, exactly.                   out [count * values]
  void (*decode_floats)(const uint8_t* blocks, int64_t count, float* out) = nullptr;
};

// ggml's number of microsoft/BitNet's ternary type, whose one scale is in the tail. TQ1_0 and TQ2_0 have an fp16 scale
// at the end of every block.
constexpr uint32_t kGgmlI2S = 36;

// Null for a number that names no type here. Types without a decoder are known by name and size alone.
const GgmlType* FindGgmlType(uint32_t number);

}  // namespace ternion
