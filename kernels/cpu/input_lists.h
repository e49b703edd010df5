#pragma once

#include <cstdint>

#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd/ternary_kernels.h"
#include "kernels/tensor.h"

namespace ternion::cpu {

// Some tokens' activations as the kernels of a kByInput matrix read them, or one of the ranges that share a token's
// inputs between tasks. A token with many zeros has a list of its other inputs. One with few streams all lines in
// their own order, which memory serves best. The ranges of a token together cover its inputs once.
class InputLists {
 public:
  // codes [T, inputs]; inputs (or lines) [begin, end) of them.
  InputLists(TensorView<const int8_t> codes, int64_t begin, int64_t end, const TernaryKernels& kernels);

  int64_t tokens() const { return codes_.rows(); }
  LineList list(int64_t token, const uint8_t* strip) { return lists_[token].At(strip); }
  int32_t sum(int64_t token) { return lists_[token].sum; }  // of the range's codes
  // Of all tokens and all ranges together: inputs that no list holds.
  int64_t unread_inputs() const { return unread_inputs_; }

 private:
  struct List {
    const uint32_t* offsets;
    const int8_t* values;
    int64_t quads;
    int64_t first_byte;
    int32_t sum;

    LineList At(const uint8_t* strip) const { return {strip + first_byte, offsets, values, quads}; }
  };

  List ListNonZero(int64_t token, const TernaryKernels& kernels);
  List ListLines(int64_t token);

  TensorView<const int8_t> codes_;
  int64_t begin_;
  int64_t end_;
  int64_t stride_;
  Scratch<uint32_t> offsets_;  // [T, stride]
  Scratch<int8_t> values_;     // [T, stride]
  Scratch<List> lists_;        // [T]
  int64_t unread_inputs_ = 0;
};

}  // namespace ternion::cpu
