#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/ternary.h"

namespace ternion {

// Reads a ternary matrix that the CPU backend has packed (kernels/cpu/ternary_layout.h) back by rows, so that another
// backend can pack it, or five trits can share a byte.
class PackedRows {
 public:
  // `data` as cpu::PackedBytes has it, which outlives this.
  PackedRows(TernaryLayout layout, int64_t inputs, const uint8_t* data);

  // trit + 1 of output channel `output`: [inputs]. Fast where outputs are read in ascending order.
  void Read(int64_t output, absl::Span<uint8_t> codes);

 private:
  void ReadRow(int64_t output, absl::Span<uint8_t> codes) const;
  void UnpackStrip(int64_t strip);

  const TernaryLayout layout_;
  const int64_t inputs_;
  const uint8_t* const data_;
  int64_t strip_ = -1;          // that which is unpacked
  std::vector<uint8_t> codes_;  // [256, inputs] of a kByInput matrix
};

// Ternary packing at 1.6 bits: byte b of a row holds the codes 5 b to 5 b + 4 as digits to the base 3, the first the lowest;
// the last byte of a row may have fewer.
constexpr int64_t FiveTritBytes(int64_t inputs) { return (inputs + 4) / 5; }
void PackFiveTrits(absl::Span<const uint8_t> codes, uint8_t* bytes);
// A byte over 242 gives codes of 3, which are no trits.
void UnpackFiveTrits(const uint8_t* bytes, absl::Span<uint8_t> codes);

}  // namespace ternion
