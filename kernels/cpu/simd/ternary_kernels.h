#pragma once

#include <cstdint>

// The inner loops of the ternary matmul, once per instruction set (kernels/CMakeLists.txt). Sums are exact
// integers, so every set gives the same bits. Weights are codes 0, 1, 2 (trit + 1): the kernels sum code *
// activation and subtract the activations' own sum once. Lines of 64 bytes are those of
// kernels/cpu/ternary_layout.h.
namespace ternion::cpu {

// out[t][r] = row r . codes of token t - code_sums[t].
struct RowDots {
  const uint8_t* rows;  // [row_count, groups, 64]
  int64_t row_count;
  int64_t groups;
  const int8_t* codes;       // [tokens, groups * 256]
  const int32_t* code_sums;  // [tokens]
  int64_t tokens;
  int32_t* out;  // [tokens, out_stride], of which row_count columns are written
  int64_t out_stride;
};

// out[i] = row list[i] . codes - code_sum, for one token.
struct ListedRowDots {
  const uint8_t* rows;  // [any, groups, 64]
  const int32_t* list;  // [listed] rows
  int64_t listed;
  int64_t groups;
  int64_t line_step;    // a row's lines are read in steps of this, prime to groups: scattered, as only some
                        // rows are
  const int8_t* codes;  // [groups * 256]
  int32_t code_sum;
  int32_t* out;  // [listed]
};

// Inputs that ListInputs makes a list of. The first is line first_line of a strip, each next one is line_step lines
// further, modulo lines.
struct InputCodes {
  const int8_t* codes;  // [n]
  int64_t n;
  int64_t first_line;
  int64_t line_step;
  int64_t lines;
};

// Lines of a strip and what they are multiplied with: an activation code each, zero where the last quad is padded.
struct LineList {
  const uint8_t* strip;     // [any, 64]
  const uint32_t* offsets;  // [4 * quads] byte offsets of the lines; null: they are the first 4 * quads lines
  const int8_t* values;     // [4 * quads]
  int64_t quads;            // at most kMaxListedQuads
};

// out[o] = sum over the listed inputs of code(input, o) * value - code_sum, for one token.
struct ListedInputDots {
  LineList list;
  LineList next;  // what is read afterwards, to be fetched ahead: no quads, or with offsets as `list` is
  int32_t code_sum;
  int64_t outputs;  // 1 to 256
  int32_t* out;     // [outputs]
};
// A sum of bytes (at most 170) times codes (at least -128) stays within 32 bits up to here.
inline constexpr int64_t kMaxListedQuads = 16384;

// float32 epilogue of a gated unit: g = float(gate) * (row_scale * gate_scale), u likewise.
struct GateRow {
  const int32_t* gate;  // [n]
  const int32_t* up;    // [n]
  float row_scale;
  const float* gate_scale;  // [n]
  const float* up_scale;    // [n]
  int64_t n;
  float* y;  // [n]
};

struct TernaryKernels {
  int32_t (*sum_codes)(const int8_t* codes, int64_t n);
  int64_t (*count_inputs)(const int8_t* codes, int64_t n);  // those that are not zero
  void (*dot_rows)(const RowDots& work);
  void (*dot_listed_rows)(const ListedRowDots& work);
  // Lists the non-zero codes: the byte offset of their line and their value. Both arrays hold n + 16 entries;
  // the list is padded with zeros to whole quads, whose number is returned.
  int64_t (*list_inputs)(const InputCodes& inputs, uint32_t* offsets, int8_t* values);
  void (*dot_listed_inputs)(const ListedInputDots& work);
  // y = silu(g) * u.
  void (*silu_gate)(const GateRow& row);
};

namespace portable {
const TernaryKernels& GetTernaryKernels();
}
namespace avx2 {
const TernaryKernels& GetTernaryKernels();
}
namespace avx512 {
const TernaryKernels& GetTernaryKernels();
}

}  // namespace ternion::cpu
