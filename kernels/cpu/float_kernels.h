#pragma once

#include <stdint.h>

// The inner loops of cpu/simd, as tables of functions, one table for each instruction set. Rows are
// contiguous; n counts channels. This header is compiled for every instruction set, so it defines nothing.
namespace ternion::cpu {

enum class Isa;

struct RowKernels {
  void (*widen_bf16)(const uint16_t* x, int64_t n, float* y);
  // out[s] = the halving tree's sum of x^2 over channels [s * segment, (s + 1) * segment).
  void (*sum_squares)(const float* x, int segment, int64_t segments, float* out);
  void (*normalize)(const float* x, float root, const float* weight, int64_t n,
                    float* y);  // x / root * weight
  void (*multiply)(const float* x, const float* weight, int64_t n, float* y);
  void (*scale)(float factor, int64_t n, float* x);
  void (*add)(const float* y, int64_t n, float* x);
  void (*add_int32)(const int32_t* y, int64_t n, int32_t* x);
  void (*dequantize)(const int32_t* sums, float row_scale, const float* weight_scale, int64_t n, float* y);
  void (*silu_multiply)(const float* gate, const float* up, int64_t n, float* y);  // silu(gate) * up
  void (*rotate)(const float* cos, const float* sin, int64_t half, float* a, float* b);
};

struct QuantizeKernels {
  float (*abs_max)(const float* x, int64_t n);  // NaN if any is
  float (*abs_sum)(const float* x,
                   int64_t n);  // halving trees of 32 channels, added in order; n a multiple of 32
  // codes = clip(rint(x * factor), low, 127 or 7); NaN gives 0.
  void (*quantize_int8)(const float* x, float factor, int64_t n, int8_t* codes);
  void (*quantize_int4)(const float* x, float factor, int64_t n, int8_t* codes);
  // Minimum and maximum, -0 below +0; NaN counts as 0.
  void (*range)(const float* x, int64_t n, float* minimum, float* maximum);
  // codes = clip(rint((x - minimum) * factor), low, high); NaN gives 0.
  void (*quantize)(const float* x, float minimum, float factor, int low, int high, int64_t n, int8_t* codes);
  void (*pack_int4)(const int8_t* codes, int64_t bytes, uint8_t* packed);
  void (*unpack_int4)(const uint8_t* packed, int64_t bytes, int8_t* codes);
  // The upper halves of the bits of |x|, which are ordered as |x| is.
  void (*high_halves)(const float* x, int64_t n, int16_t* halves);
  int64_t (*count_at_least)(const int16_t* halves, int16_t bound, int64_t n);
  void (*zero_below)(float threshold, int64_t n, float* x);
};

struct HalfKernels {
  void (*narrow)(const float* x, int64_t n, uint16_t* y);  // nearest even, overflow to infinity, as F16C
  void (*widen)(const uint16_t* x, int64_t n, float* y);
};

// One block of kAttentionTokens positions and `queries` rows of head_dim channels. `padded` is head_dim
// rounded up to kAttentionLanes: the stride of values and of weighted sums, whose padding is zero.
inline constexpr int kAttentionTokens = 64;
inline constexpr int kAttentionLanes = 16;
// Channels of a score that are added before they meet the others: shorter chains round less.
inline constexpr int kScoreSegment = 16;
struct AttentionKernels {
  // scores[q][j] = (sum over d of query[q][d] * keys[d][j]) * scale.
  void (*scores)(const float* query, const float* keys, int head_dim, int64_t queries, float scale,
                 float* scores);
  // For each row: most = max of the first used[q] scores, weights = exp(score - most) in place, 0 from
  // used[q] on, total = their sum in ascending order.
  void (*weights)(const int* used, int64_t queries, float* scores, float* most, float* total);
  // sums[q][d] += weights[q][j] * values[j][d] for j = begin .. end - 1 in ascending order.
  void (*weighted_sums)(const float* weights, const float* values, int begin, int end, int padded,
                        int64_t queries, float* sums);
  // Merges a block's (most, total, sums) of one row into the running ones of the blocks before it.
  void (*merge)(float most, float total, const float* sums, int padded, float* running_most,
                float* running_total, float* running_sums);
  void (*divide)(const float* x, float by, int64_t n, float* y);
};

// Packed keys or values of one head in a block. Codes lie in units of 16 lanes x 32 codes: word w of lane i is word
// 16 w + i of the unit, and code k of a lane has the bits from bits * k on of its words. What a lane and a code stand for
// is told in packed_head.h.
inline constexpr int kPackedLanes = 16;
inline constexpr int kPackedDepth = 32;
inline constexpr int kPackedGroup = 32;  // channels of a group
struct PackedCodes {
  const uint32_t* codes;
  const float* scales;  // [64]; grouped: [groups][minimum, step][64]
  int bits;             // 8, 4 or 3
  bool grouped;         // codes count steps from a minimum (4 or 3 bits); else they are two's complement
  int head_dim;         // a multiple of 16
};
struct PackedQuery {
  const float* rows;  // [queries, head_dim]
  const float* sums;  // [queries, head_dim / kScoreSegment], each in ascending order; for grouped keys
  float factor;
};
struct PackedAttentionKernels {
  // scores[q][j] = the sum over d of rows[q][d] * keys[d][j], in the order of Backend::Attention, times `factor`.
  void (*scores)(const PackedCodes& keys, const PackedQuery& query, int64_t queries, float* scores);
  // sums[q][d] += weights[q][j] * value[j][d] for all 64 j in ascending order; value = the code alone, unless grouped.
  void (*weighted_sums)(const PackedCodes& values, const float* weights, int64_t queries, float* sums);
};

struct HeadKernels {
  // logits[t][v] for `tokens` rows of x [tokens, h] and `words` rows of table [words, h]; `stride` is logits'
  // own.
  void (*logits)(const float* x, int64_t tokens, const uint16_t* table, int64_t words, int64_t h,
                 int64_t stride, float* logits);
  // The same of IEEE halves.
  void (*half_logits)(const float* x, int64_t tokens, const uint16_t* table, int64_t words, int64_t h,
                      int64_t stride, float* logits);
};

// One row; the layout is told in wire_int8.cc and wire_int4.cc.
struct WireKernels {
  void (*encode_int8)(const float* x, int64_t n, uint8_t* wire);
  void (*encode_int4)(const float* x, int64_t n, uint8_t* wire);
  void (*decode_int8)(const uint8_t* wire, bool add, int64_t n, float* x);
  void (*decode_int4)(const uint8_t* wire, bool add, int64_t n, float* x);
};
inline constexpr int64_t kInt8Group = 128;
inline constexpr int64_t kInt4Group = 32;

struct FloatKernels {
  const RowKernels* rows;
  const QuantizeKernels* quantize;
  const HalfKernels* half;
  const AttentionKernels* attention;
  const PackedAttentionKernels* packed_attention;
  const HeadKernels* head;
  const WireKernels* wire;
};

const FloatKernels& KernelsFor(Isa isa);

namespace portable {
extern const RowKernels kRowKernels;
extern const QuantizeKernels kQuantizeKernels;
extern const HalfKernels kHalfKernels;
extern const AttentionKernels kAttentionKernels;
extern const PackedAttentionKernels kPackedAttentionKernels;
extern const HeadKernels kHeadKernels;
extern const WireKernels kWireKernels;
}  // namespace portable
namespace avx2 {
extern const RowKernels kRowKernels;
extern const QuantizeKernels kQuantizeKernels;
extern const HalfKernels kHalfKernels;
extern const AttentionKernels kAttentionKernels;
extern const PackedAttentionKernels kPackedAttentionKernels;
extern const HeadKernels kHeadKernels;
extern const WireKernels kWireKernels;
}  // namespace avx2
namespace avx512 {
extern const RowKernels kRowKernels;
extern const QuantizeKernels kQuantizeKernels;
extern const HalfKernels kHalfKernels;
extern const AttentionKernels kAttentionKernels;
extern const PackedAttentionKernels kPackedAttentionKernels;
extern const HeadKernels kHeadKernels;
extern const WireKernels kWireKernels;
}  // namespace avx512

}  // namespace ternion::cpu
