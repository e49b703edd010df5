#include "kernels/cpu/attention_tile.h"

#include <algorithm>

namespace ternion::cpu {

std::vector<AttentionTile> TilesOf(const AttentionStep& step, absl::Span<const KvSlice> slices) {
  std::vector<AttentionTile> tiles;
  for (const KvSlice& slice : slices) {
    for (int begin = 0, end; begin < step.heads.query_heads; begin = end) {
      const int kv_head = step.heads.LocalKv(begin);
      for (end = begin; end < step.heads.query_heads && step.heads.LocalKv(end) == kv_head;) ++end;
      const int64_t rows_of_tile = std::max<int64_t>(1, kTileQueries / (end - begin));
      for (int64_t row = 0; row < slice.rows; row += rows_of_tile) {
        tiles.push_back({&slice, kv_head, begin, end - begin, row, std::min(rows_of_tile, slice.rows - row)});
      }
    }
  }
  return tiles;
}

}  // namespace ternion::cpu
