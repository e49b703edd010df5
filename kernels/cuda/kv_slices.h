#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/kv.h"

namespace ternion::cuda {

// Attention merges its results chunk by chunk of this many absolute positions, so it is part of CUDA's
// numerics (kernels/cuda/attention.cu).
inline constexpr int kChunkBlocks = 4;
inline constexpr int kChunkTokens = kChunkBlocks * kKvBlockTokens;

// Tokens of one slice that walk through their whole context.
struct alignas(16) WalkPiece {
  int32_t row;       // of the step, of the first token
  int32_t tokens;    // 1 to kWalkTokens
  int32_t position;  // of the first token
  int32_t table;     // where the slice's block table begins in DeviceSlices::tables
};
inline constexpr int kWalkTokens = 64;

// One chunk of the context of some tokens of one slice. The pieces of the same tokens follow each other.
struct alignas(16) SplitPiece {
  int32_t row;
  int32_t tokens;  // 1 to kSplitTokens
  int32_t position;
  int32_t settled;  // positions before this one were written by earlier steps
  int32_t chunk;    // positions from chunk * kChunkTokens on
  int32_t record;  // where the first token's partial result goes, if it sees several chunks; then the others'
  int32_t count;   // of the step's pieces, in the first one
  int32_t unused;
  int32_t blocks[kChunkBlocks];  // of the cache: the chunk's
};
inline constexpr int kSplitTokens = 16;

// Where a row's partial results are: of its chunk c record first + c * stride.
struct RowRecords {
  int32_t first;  // -1: its slice is not split, or its piece has one chunk alone
  int32_t stride;
};

// A step's slices as kernels read them. All arrays lie at addresses that stay the same from step to step,
// unless KvSlices::shape changes, so that recorded kernels find the step's own values there. They are copied
// there before the step's first kernel starts: a kernel may read them before it waits for the kernel before
// it.
struct DeviceSlices {
  const int32_t* row_position = nullptr;  // [rows]: the token's absolute position; -1: the row is in no slice
  const int32_t* row_slice = nullptr;     // [rows]: which slice the row belongs to; -1: none
  const RowRecords* row_records = nullptr;  // [rows]
  const int32_t* table_begin = nullptr;     // [slices]: where the slice's block table begins in `tables`
  const int32_t* tables = nullptr;          // all slices' block tables, one after the other
  int64_t rows = 0;                         // rows that slices may cover: one more than the last one's number

  // What Attention does, whatever its heads. Kernels are launched for AttentionPlan's numbers; pieces beyond
  // the step's own have no tokens.
  const WalkPiece* walks = nullptr;  // the longest context first
  const SplitPiece* splits = nullptr;
};

// Upper bounds, part of KvSlices::shape.
struct AttentionPlan {
  int64_t walks = 0;
  int64_t splits = 0;
  int64_t split_tokens = 0;  // of the largest SplitPiece
  int64_t split_blocks = 0;  // of a chunk that a SplitPiece sees: 1, 2 or 4
  int64_t records = 0;
  bool whole_slices = true;  // no walks, and every SplitPiece has all tokens of its slice
};

// Owns them.
class UploadedSlices {
 public:
  KvSlices Upload(absl::Span<const KvSlice> slices_host, StagingRing& staging);

  const DeviceSlices& device() const { return device_; }
  const AttentionPlan& plan() const { return plan_; }
  // That `slices` are those of the last upload, lie in tensors of `rows` rows, and have all their blocks in a
  // cache of `blocks` blocks.
  void CheckCache(const KvSlices& slices, int64_t rows, int64_t blocks) const;

 private:
  GrowingMemory memory_;
  std::vector<char> bytes_;  // what is uploaded
  DeviceSlices device_;
  AttentionPlan plan_;
  uint64_t shape_ = 0;
  int32_t least_block_ = 0;
  int32_t most_block_ = -1;
  bool complete_ = true;  // every block table reaches its slice's last position
};

}  // namespace ternion::cuda
