#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace ternion {

// Tokens of one KV block. Attention adds block by block of this many absolute positions, so it is part of the
// numerics and not a tuning knob (docs/numerics.md).
inline constexpr int kKvBlockTokens = 64;

// How K (after Rope) and V are rounded when they are written. Attention reads nothing else.
//   kF32, kF16                 as they are, or as halves.
//   kInt8, kInt4, kInt3        per token and head (BitNet a4.8, arXiv 2411.04965, section 3.2): m = 2^(bits-1) - 1,
//                              s = absmax / m rounded up to float16, code = clip(rint(x * (1 / s)), -m, m), value =
//                              code * s; s = 0 gives zeros. With kInt3 position 0 has 4 bits (the paper's BOS token).
//   kInt4G32, kInt3G32         per token and 32 channels of a head (the last group may be short): b = minimum rounded
//                              down to float16, s = (maximum - b) / (2^bits - 1) rounded up to float16,
//                              code = clip(rint((x - b) * (1 / s)), 0, 2^bits - 1), value = b + code * s.
// A scale beyond float16's range is its largest number. Values are float32 on the CPU, and rounded once more to float16
// on CUDA. The packed formats need a head_dim that is a multiple of 16.
enum class KvFormat : uint8_t { kF32, kF16, kInt8, kInt4, kInt3, kInt4G32, kInt3G32 };

// What a format stores of a token's K or V in a head.
struct KvPacking {
  int bits = 0;        // of a channel
  int first_bits = 0;  // at position 0
  int group = 0;  // channels that share a minimum and a step; 0: the head shares a scale, if there is one
};

constexpr KvPacking PackingOf(KvFormat format) {
  switch (format) {
    case KvFormat::kF32:
      return {32, 32, 0};
    case KvFormat::kF16:
      return {16, 16, 0};
    case KvFormat::kInt8:
      return {8, 8, 0};
    case KvFormat::kInt4:
      return {4, 4, 0};
    case KvFormat::kInt3:
      return {3, 4, 0};
    case KvFormat::kInt4G32:
      return {4, 4, 32};
    case KvFormat::kInt3G32:
      return {3, 3, 32};
  }
  return {};
}

// Codes and scales, not floats.
constexpr bool IsPacked(KvFormat format) { return format != KvFormat::kF32 && format != KvFormat::kF16; }

// Bytes of a KV head in a block of kKvBlockTokens tokens; a multiple of 32. Where position 0 has more bits, every block
// has room for one such token.
constexpr int64_t KvHeadBytes(KvFormat format, int64_t head_dim) {
  const KvPacking packing = PackingOf(format);
  int64_t bits = kKvBlockTokens * head_dim * packing.bits + head_dim * (packing.first_bits - packing.bits);
  if (packing.group > 0) {
    bits += kKvBlockTokens * ((head_dim + packing.group - 1) / packing.group) * 2 * 16;
  } else if (IsPacked(format)) {
    bits += int64_t{kKvBlockTokens} * 16;
  }
  const int64_t bytes = 2 * bits / 8;  // of keys and values
  return (bytes + 31) / 32 * 32;
}

// The KV cache of one layer on one rank: `blocks` blocks, each holding KvHeadBytes for every local KV head; of kF32 and
// kF16
//   K as [head_dim, kKvBlockTokens]   (a channel's tokens lie together), then
//   V as [kKvBlockTokens, head_dim]   (a token's channels lie together),
// of packed formats what suits the backend. Memory is zero where nothing was written. A block's bytes are its contents:
// they may be copied to another block of the same layer.
struct KvLayer {
  void* data = nullptr;
  KvFormat format = KvFormat::kF32;
  int64_t blocks = 0;
  int kv_heads = 0;
  int head_dim = 0;
  // 4: Attention rounds its queries, per token and head: a = absmax, value = rint(x * (7 / a)) * (a / 7) (a4.8's 4-bit Q);
  // 0: it does not.
  int query_bits = 0;
};

// One sequence's share of a step: rows [row_begin, row_begin + rows) of the step's tensors hold its tokens at the
// absolute positions position .. position + rows - 1. Position p lives in slot p % kKvBlockTokens of block
// block_table[p / kKvBlockTokens].
struct KvSlice {
  int64_t row_begin = 0;
  int64_t rows = 0;
  int64_t position = 0;
  absl::Span<const int32_t> block_table;
};

// A step's slices in a backend's hands (Backend::UploadSlices), valid until its next upload.
struct KvSlices {
  absl::Span<const KvSlice> host;  // the caller's, which must outlive this
  // Equal for two steps of equally many rows whose operations differ in the contents of memory alone: part of the key
  // of Backend::Replay.
  uint64_t shape = 0;
};

// Which query heads a rank owns, and which KV heads they read. Query head q of the model reads KV head
// q / (heads / kv_heads) of the model.
struct HeadShard {
  int query_begin = 0;     // first query head, model-wide
  int query_heads = 0;     // query heads here
  int kv_begin = 0;        // first KV head stored here, model-wide
  int kv_heads = 0;        // KV heads stored here
  int queries_per_kv = 1;  // heads / kv_heads of the model
  int head_dim = 0;

  // The local KV head that local query head q reads.
  int LocalKv(int q) const { return (query_begin + q) / queries_per_kv - kv_begin; }
};

}  // namespace ternion
