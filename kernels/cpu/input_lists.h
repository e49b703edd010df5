#pragma once

#include <cstdint>

#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd/ternary_kernels.h"
#include "kernels/tensor.h"

namespace ternion::cpu {

// Activations as the kernels of a kByInput matrix read them: every token's non-zero inputs, in quads. Where
// few are zero, a token's list is all inputs, in the order of their lines: that is a stream, which memory
// serves best.
class InputLists {
 public:
  InputLists(TensorView<const int8_t> codes, const TernaryKernels& kernels);

  int64_t tokens() const { return codes_.rows(); }
  int64_t most_quads() const { return most_quads_; }

  int64_t quads(int64_t token) { return quads_[token]; }
  const uint32_t* offsets(int64_t token) {  // [4 * quads] byte offsets of lines
    return all(token) ? all_offsets_.data() : offsets_.data() + token * stride_;
  }
  const int8_t* values(int64_t token) { return values_.data() + token * stride_; }  // [4 * quads]
  int32_t sum(int64_t token) { return sums_[token]; }                               // of the values
  bool all(int64_t token) { return quads_[token] == all_quads_; }

 private:
  void List(int64_t token, const TernaryKernels& kernels);
  void ListAll(int64_t token);

  TensorView<const int8_t> codes_;
  int64_t step_;
  int64_t stride_;
  int64_t all_quads_;
  int64_t most_quads_ = 0;
  Scratch<uint32_t> offsets_;      // [tokens, stride]
  Scratch<uint32_t> all_offsets_;  // [4 * all_quads], filled when a token lists all
  Scratch<int8_t> values_;         // [tokens, stride]
  Scratch<int64_t> quads_;         // [tokens]
  Scratch<int32_t> sums_;          // [tokens]
};

}  // namespace ternion::cpu
