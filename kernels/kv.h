#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace ternion {

// Tokens of one KV block. Attention adds block by block of this many absolute positions, so it is part of the
// numerics and not a tuning knob (docs/numerics.md).
inline constexpr int kKvBlockTokens = 64;

enum class KvFormat : uint8_t { kF32, kF16 };

// The KV cache of one layer on one rank: `blocks` blocks, each holding for every local KV head
//   K as [head_dim, kKvBlockTokens]   (a channel's tokens lie together), then
//   V as [kKvBlockTokens, head_dim]   (a token's channels lie together).
// Memory is zero where nothing was written.
struct KvLayer {
  void* data = nullptr;
  KvFormat format = KvFormat::kF32;
  int64_t blocks = 0;
  int kv_heads = 0;
  int head_dim = 0;
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
