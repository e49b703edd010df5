#pragma once

#include <cstdint>
#include <numeric>

#include "kernels/ternary.h"

// How a packed ternary matrix W [outputs, inputs] lies in memory on the CPU. Codes (trit + 1) take two bits;
// a line of 64 bytes holds 256 of them, byte j those of positions j, 64 + j, 128 + j and 192 + j in bits 0,
// 2, 4 and 6. So one mask of a loaded line gives 64 neighbouring positions, and no code is ever shifted
// across bytes.
//
// kByOutput: [outputs, groups, 64]. A line is 256 inputs of one output; the last group of a row is padded
// with
//            code 1 (trit 0), and activations are padded with 0.
// kByInput:  [strips, inputs, 64]. A line is 256 outputs (a strip) of one input, so a strip can be computed
// from the
//            lines of the non-zero inputs alone. Input k is line k * ScatterStep(inputs) mod inputs: taken in
//            the order of the inputs, the lines look random to the hardware's prefetchers, which otherwise
//            fetch the skipped lines along with the wanted ones (half of the lines came at 8 GB/s in order,
//            at 20 scattered).
namespace ternion::cpu {

inline constexpr int64_t kLineBytes = 64;
inline constexpr int64_t kLineCodes = 256;
inline constexpr int64_t kQuadInputs = 4;

constexpr int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A step near the golden section of n that visits all of [0, n): i -> i * step mod n is a permutation.
constexpr int64_t ScatterStep(int64_t n) {
  int64_t step = n * 618 / 1000 + 1;
  while (std::gcd(step, n) != 1) ++step;
  return step;
}

// The step back: i * ScatterStep(n) * ScatterBack(n) = i modulo n.
constexpr int64_t ScatterBack(int64_t n) {
  // Euclid's algorithm; a * ScatterStep(n) = r modulo n holds for both pairs.
  int64_t r = n, a = 0, next_r = ScatterStep(n), next_a = 1;
  while (next_r != 0) {
    const int64_t quotient = r / next_r, later_r = r - quotient * next_r, later_a = a - quotient * next_a;
    r = next_r, a = next_a, next_r = later_r, next_a = later_a;
  }
  return (a % n + n) % n;
}

// Lines of one row of a kByOutput matrix.
constexpr int64_t RowGroups(int64_t inputs) { return CeilDivide(inputs, kLineCodes); }
// Strips of a kByInput matrix.
constexpr int64_t Strips(int64_t outputs) { return CeilDivide(outputs, kLineCodes); }

constexpr int64_t PackedBytes(TernaryLayout layout, int64_t outputs, int64_t inputs) {
  return kLineBytes *
         (layout == TernaryLayout::kByOutput ? outputs * RowGroups(inputs) : Strips(outputs) * inputs);
}

// The first line of output channel `output` of a kByOutput matrix.            [groups, 64]
inline const uint8_t* PackedRow(const PackedTernary& w, int64_t output) {
  return static_cast<const uint8_t*>(w.data.data()) + output * RowGroups(w.inputs) * kLineBytes;
}
// The lines of outputs [256 * strip, 256 * strip + 256) of a kByInput matrix.   [inputs, 64]
inline const uint8_t* PackedStrip(const PackedTernary& w, int64_t strip) {
  return static_cast<const uint8_t*>(w.data.data()) + strip * w.inputs * kLineBytes;
}

}  // namespace ternion::cpu
