#pragma once

#include <cstdint>

#include "kernels/cpu/float_kernels.h"
#include "kernels/kv.h"
#include "kernels/tensor.h"

namespace ternion::cpu {

// One head of a packed block, as this backend lays it out:
//   codes of K, codes of V    each head_dim / 8 units of 16 lanes x 32 codes (float_kernels.h)
//   scales of K, of V         each [parts][kKvBlockTokens] halves: a scale, or a minimum and a step of every group
//   first codes of K, of V    each head_dim bits: the fourth bits of the codes at position 0, where those have one more
// Unit u of K has channels 8 u .. 8 u + 7: lane i of it has code 4 c + g of channel 8 u + c and token 16 g + i. Unit 2 u + h
// of V has channels 16 u .. 16 u + 15: lane i of it has code j of channel 16 u + i and token 32 h + j. So scores vectorize
// over tokens and weighted sums over channels, with 16 codes a shift.
class PackedHead {
 public:
  enum Part { kKeys = 0, kValues = 1 };

  PackedHead(KvFormat format, int head_dim, uint8_t* data);

  int head_dim() const { return head_dim_; }
  bool grouped() const { return packing_.group > 0; }
  // Whether position 0 has a bit more.
  bool has_first() const { return packing_.first_bits > packing_.bits; }
  // Rows of scales.
  int parts() const { return grouped() ? 2 * ((head_dim_ + packing_.group - 1) / packing_.group) : 1; }
  // [parts, kKvBlockTokens]; those of V follow those of K.
  Float16* scales(Part part) const;
  // For the kernels, with these scales.
  PackedCodes Codes(Part part, const float* scales) const;

  // The token's codes, in their lowest bits: [head_dim]. `first`: it is position 0.
  void Write(Part part, int token, bool first, const int8_t* codes) const;
  // The codes at position 0, as numbers: [head_dim].
  void ReadFirst(Part part, float* numbers) const;

 private:
  // Where the lane of a code begins, and which of its codes it is.
  struct Place {
    uint32_t* lane;
    int code;
  };
  Place PlaceOf(Part part, int token, int channel) const;
  int64_t code_bytes() const { return int64_t{kKvBlockTokens} * head_dim_ * packing_.bits / 8; }
  uint8_t* first(Part part) const;

  KvPacking packing_;
  int head_dim_;
  uint8_t* data_;
};

}  // namespace ternion::cpu
