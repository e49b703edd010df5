#pragma once

#include <cstdint>

#include "kernels/cuda/device.cuh"
#include "kernels/ternary.h"

namespace ternion::cuda {

// How PackedTernary::data lies on the GPU, one form for decode and prefill. W [outputs, inputs] is cut into tiles of 16
// outputs and units of 256 inputs; both are padded up with weights of trit 0. Codes are trit + 1 (0, 1, 2), kept as two
// bit planes: code = plane0 + 2 * plane1.
//
//   data [tile][unit][plane][lane] of 16 bytes: 1,024 bytes a unit
//
// Lane l = 4 g + q (g < 8, q < 4) holds four 32-bit words e = 0 .. 3. Word e: output 16 * tile + g + 8 * (e & 1), inputs
// 256 * unit + 128 * (e >> 1) + 32 * q + k for k < 32, input k at bit 8 * (k % 4) + k / 4.
//
// So a lane's four words are the A fragment of mma.m16n8k256.b1, and of a word pair the bits j, j + 8, j + 16, j + 24
// (j < 8) are inputs 4 j .. 4 j + 3: a shift and a mask make the four bytes of one register of mma.m16n8k32 (u8) or
// wgmma, whose activations are then four neighbouring bytes of the row.
inline constexpr int kTileOutputs = 16;
inline constexpr int kUnitInputs = 256;
inline constexpr int kUnitBytes = 1024;
inline constexpr int kPlaneBytes = 512;

inline int64_t Tiles(int64_t outputs) { return CeilDivide(outputs, kTileOutputs); }
inline int64_t Units(int64_t inputs) { return CeilDivide(inputs, kUnitInputs); }
inline int64_t PackedBytes(int64_t outputs, int64_t inputs) {
  return Tiles(outputs) * Units(inputs) * kUnitBytes;
}

// What becomes of the sums of a matmul, v = codes . W^T exactly. f = float32(v) * (row_scale * weight_scale).
enum class Epilogue {
  kSums,       // int32 out = v
  kStore,      // y = f
  kAdd,        // y = y + f
  kGateRelu2,  // y holds g: y = g > 0 ? (g * g) * f : +0
  kGateSilu,   // y holds g: y = (g / (1 + exp(-g))) * f
};

// One matmul's operands. Pointers are the device's.
struct MatmulWork {
  const uint8_t* weights = nullptr;  // as above
  int64_t outputs = 0;
  int64_t inputs = 0;
  const int8_t* codes =
      nullptr;  // [tokens, inputs], row-major; rows may lie unaligned where inputs % 16 != 0
  int64_t tokens = 0;
  int32_t* sums = nullptr;              // [tokens, outputs], kSums
  float* y = nullptr;                   // [tokens, outputs], the others
  const float* row_scale = nullptr;     // [tokens]
  const float* weight_scale = nullptr;  // [outputs]
};

}  // namespace ternion::cuda
