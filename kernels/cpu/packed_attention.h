#pragma once

#include <cstdint>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/packed_head.h"
#include "kernels/cpu/scratch.h"

namespace ternion::cpu {

// A tile's scores and weighted sums over blocks of a packed format, whose codes go from the block's bytes into the
// arithmetic. One thread's work, as AttentionTileRun is.
class PackedAttention {
 public:
  // `query`: [queries, head_dim].
  PackedAttention(const AttentionStep& step, const AttentionTile& tile, const float* query);

  // Turns to block `index`, of which the tile's last query sees the first `seen` slots. The others may hold anything.
  void Open(int64_t index, int seen);
  // Of the open block and the queries from `first` on: [queries - first, 64]. Slots that a query does not see have any
  // score and a weight of 0. `weights` are undefined afterwards.
  void Scores(int64_t first, float* scores);
  void AddValues(int64_t first, float* weights, float* sums);

 private:
  PackedHead Head(int64_t index) const;
  void Prefetch(int64_t index) const;
  // Position 0 has codes of its own where the format has more bits for it.
  bool at_first() const { return index_ == 0 && Head(0).has_first(); }
  void FirstScores(const PackedQuery& query, int64_t queries, float* scores);
  void AddFirstValue(int64_t queries, float* weights, float* sums);
  const float* scales(PackedHead::Part part) { return scales_.data() + part * scale_count_; }

  const AttentionStep& step_;
  const AttentionTile& tile_;
  const float* query_;
  const int64_t scale_count_;  // of keys, and of values
  Scratch<float> query_sums_;  // [queries, head_dim / kScoreSegment]
  Scratch<float> scales_;      // PackedHead's, of keys, then of values
  int64_t index_ = 0;
};

}  // namespace ternion::cpu
