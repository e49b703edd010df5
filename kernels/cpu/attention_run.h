#pragma once

#include <cstdint>
#include <optional>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/packed_attention.h"
#include "kernels/cpu/scratch.h"

namespace ternion::cpu {

// Softmax of a tile's queries over some blocks, before the division: borrowed memory.
struct PartialSoftmax {
  float* most;   // [queries]
  float* total;  // [queries]
  float* sums;   // [queries, padded]

  // Floats of one, for a tile of `queries`.
  static int64_t Size(int64_t queries, int padded) { return queries * (2 + padded); }
  static PartialSoftmax At(float* memory, int64_t queries) {
    return {memory, memory + queries, memory + 2 * queries};
  }
};

// One thread's work on a tile.
class AttentionTileRun {
 public:
  AttentionTileRun(const AttentionStep& step, const AttentionTile& tile);

  // Softmax over block `index` alone, of the queries that see it: from FirstQuery(index) on.
  void Block(int64_t index, PartialSoftmax block);
  // Merges block `index` into that of the blocks before it; block 0 is stored as it is.
  void Merge(int64_t index, PartialSoftmax block, PartialSoftmax running) const;
  // Divides, and writes the rows of out.
  void Finish(PartialSoftmax running) const;

 private:
  int64_t FirstQuery(int64_t index) const;
  void RoundQueries();
  // Of the queries from `first` on.
  void Scores(const float* keys, int64_t first, float* scores);
  void AddValues(const float* values, int64_t first, float* sums);
  // As floats: [head_dim, 64], [64, padded].
  const float* Keys(int64_t index);
  const float* Values(int64_t index);

  const AttentionStep& step_;
  const AttentionTile& tile_;
  const int padded_;
  Scratch<float> query_;   // [queries, head_dim]
  Scratch<float> scores_;  // [queries, 64], then weights
  Scratch<int> used_;      // [queries] slots of the block that a query sees
  Scratch<float> block_;   // keys [head_dim, 64], then values [64, padded]; empty where the cache is packed
  std::optional<PackedAttention> packed_;
};

}  // namespace ternion::cpu
