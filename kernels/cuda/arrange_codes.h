#pragma once

#include <cstdint>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/ternary_layout.h"

namespace ternion::cuda {

// Activation codes as TernaryPrefill reads them: rows padded with zeros, cut into chunks of 128 bytes, two for each unit
// of 256 inputs. Chunk 2 u + c holds of unit u the inputs that are bits 4 c .. 4 c + 3 of the weights' bytes
// (kernels/cuda/ternary_layout.h): 16-byte piece 2 s + h, byte 4 q + b is input 256 u + 128 h + 32 q + 4 (4 c + s) + b, so
// that 32 bytes are the k's of one wgmma in the order of its A fragment. Piece p of token t lies in place p ^ (t & 7), as
// the 128-byte swizzle of shared memory wants it.
struct ArrangedCodes {
  const int8_t* chunks = nullptr;  // [2 * Units(inputs), tokens, 128]
  const int32_t* sums = nullptr;   // [sum_parts, tokens]: a token's sum of codes is the sum of its parts
  int64_t tokens = 0;              // padded
  int sum_parts = 0;
};
inline constexpr int kChunkBytes = 128;

// codes [tokens, inputs]; padded_tokens is a multiple of 8. The result lies in Purpose::kCodes.
ArrangedCodes ArrangeCodes(CudaBackend& backend, const int8_t* codes, int64_t tokens, int64_t inputs,
                           int64_t padded_tokens);

}  // namespace ternion::cuda
