#include "parallel/sharding.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/backend.h"
#include "kernels/check.h"

namespace ternion {
namespace {

constexpr int64_t kMostSegment = 32;  // channels of a sum-of-squares segment

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t FfnSegments(const ModelShape& shape) { return shape.ffn / std::gcd(kMostSegment, shape.ffn); }

bool TpWorks(const ModelShape& shape, int tp) { return shape.heads % tp == 0 && tp <= FfnSegments(shape); }

std::string WorkingTpText(const ModelShape& shape) {
  const std::vector<int> working = WorkingTp(shape, shape.heads);
  return absl::StrCat("tp ", absl::StrJoin(working, ", "), working.size() == 1 ? " works" : " work");
}

HeadShard ShardHeads(const ModelShape& shape, int tp, int tp_rank) {
  HeadShard heads;
  heads.queries_per_kv = shape.heads / shape.kv_heads;
  heads.head_dim = shape.head_dim;
  heads.query_heads = shape.heads / tp;
  heads.query_begin = tp_rank * heads.query_heads;
  heads.kv_begin = heads.query_begin / heads.queries_per_kv;
  const int last_query = heads.query_begin + heads.query_heads - 1;
  heads.kv_heads = last_query / heads.queries_per_kv + 1 - heads.kv_begin;
  return heads;
}

}  // namespace

Range SplitEvenly(int64_t n, int64_t unit, int parts, int part) {
  CHECK(n >= 0 && unit > 0 && 0 <= part && part < parts, "no such part");
  const int64_t units = CeilDiv(n, unit);
  const auto begin_of = [&](int64_t p) { return std::min(n, CeilDiv(p * units, parts) * unit); };
  return {begin_of(part), begin_of(part + 1)};
}

absl::Status CheckSharding(const ModelShape& shape, int tp, int pp) {
  if (tp < 1 || pp < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("tp is ", tp, " and pp is ", pp, "; both must be at least 1"));
  }
  if (shape.heads % tp != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(shape.heads, " heads cannot be split over tp ", tp, "; ", WorkingTpText(shape)));
  }
  if (tp > FfnSegments(shape)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", shape.ffn, " FFN channels are ", FfnSegments(shape), " segments of ",
                     shape.ffn / FfnSegments(shape), ", too few for tp ", tp, "; ", WorkingTpText(shape)));
  }
  if (pp > shape.layers) {
    return absl::InvalidArgumentError(absl::StrCat(shape.layers, " layers cannot be split over pp ", pp,
                                                   "; pp 1 to ", shape.layers, " work"));
  }
  return absl::OkStatus();
}

LayerShard ShardLayer(const ModelShape& shape, int tp, int tp_rank) {
  CHECK(0 <= tp_rank && tp_rank < tp && TpWorks(shape, tp), "CheckSharding accepts this tp");
  LayerShard shard;
  shard.heads = ShardHeads(shape, tp, tp_rank);
  const int64_t begin = int64_t{shard.heads.query_begin} * shape.head_dim;
  shard.attention = {begin, begin + int64_t{shard.heads.query_heads} * shape.head_dim};
  shard.attention_segment = static_cast<int>(std::gcd(kMostSegment, int64_t{shape.head_dim}));
  shard.ffn_segment = static_cast<int>(std::gcd(kMostSegment, shape.ffn));
  shard.ffn = SplitEvenly(shape.ffn, shard.ffn_segment, tp, tp_rank);
  shard.vocab = SplitEvenly(shape.vocab, kVocabSegment, tp, tp_rank);
  return shard;
}

Range StageLayers(const ModelShape& shape, int pp, int stage) {
  CHECK(0 <= stage && stage < pp && pp <= shape.layers, "CheckSharding accepts this pp");
  if (pp == 1) return {0, shape.layers};
  // Quarters of a byte for each channel of the residual: a ternary weight takes one, a value of the table eight.
  const int64_t layer = int64_t{2} * (shape.heads + shape.kv_heads) * shape.head_dim + 3 * shape.ffn;
  const int64_t head = 8 * shape.vocab;
  const int64_t balanced = (shape.layers * layer - (pp - 1) * head + pp * layer / 2) / (pp * layer);
  const int64_t last = std::max(balanced, CeilDiv(int64_t{3} * shape.layers, int64_t{4} * pp));
  const Range even = SplitEvenly(shape.layers, 1, pp, pp - 1);
  const int64_t before = shape.layers - std::min(last, even.size());
  return stage == pp - 1 ? Range{before, shape.layers} : SplitEvenly(before, 1, pp - 1, stage);
}

std::vector<int> WorkingTp(const ModelShape& shape, int most) {
  std::vector<int> working;
  for (int tp = 1; tp <= std::min(most, shape.heads); ++tp) {
    if (TpWorks(shape, tp)) working.push_back(tp);
  }
  return working;
}

}  // namespace ternion
