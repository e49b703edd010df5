#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/kv.h"
#include "kernels/range.h"

namespace ternion {

// The numbers of a model that sharding depends on.
struct ModelShape {
  int64_t hidden = 0;
  int64_t ffn = 0;
  int layers = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int64_t vocab = 0;
};

// Part `part` of `parts` of n items, in whole units of `unit` items (the last unit may be short): unit u belongs to
// part floor(u * parts / units), so sizes differ by one unit at most. A part may be empty.
Range SplitEvenly(int64_t n, int64_t unit, int parts, int part);

// What rank `tp_rank` of `tp` owns of every layer.
struct LayerShard {
  HeadShard heads;
  Range attention;            // input channels of o_proj: query_heads * head_dim of them
  int attention_segment = 0;  // channels per sum-of-squares segment: gcd(32, head_dim)
  Range ffn;                  // rows of gate and up, input channels of down_proj
  int ffn_segment = 0;        // gcd(32, ffn)
  Range vocab;                // rows of the embedding and the head, in whole segments of 256 ids
};

// Refuses a tp that does not divide the heads, or has more ranks than FFN segments, or a pp over the layers, naming
// the values that work (kInvalidArgument).
absl::Status CheckSharding(const ModelShape& shape, int tp, int pp);
LayerShard ShardLayer(const ModelShape& shape, int tp, int tp_rank);
// Layers of stage `stage`. A decode step takes as long as reading the weights, and the last stage reads the head's table
// too: it has fewer layers for that, but three quarters of an even share at least, since prompts hardly use the head.
Range StageLayers(const ModelShape& shape, int pp, int stage);

// The tp that CheckSharding accepts, up to `most`.
std::vector<int> WorkingTp(const ModelShape& shape, int most);

}  // namespace ternion
