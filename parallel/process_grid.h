#pragma once

#include "absl/status/status.h"

namespace ternion {

// Where a rank stands in the tp x pp grid: rank = stage * tp + tp_rank, so that the ranks of one tensor-parallel
// group are neighbours (one host, where a host holds that many).
struct ProcessGrid {
  int tp = 1;
  int pp = 1;
  int rank = 0;

  int stage() const { return rank / tp; }
  int tp_rank() const { return rank % tp; }
  int size() const { return tp * pp; }
  bool first_stage() const { return stage() == 0; }
  bool last_stage() const { return stage() == pp - 1; }
  int RankOf(int at_stage, int at_tp_rank) const { return at_stage * tp + at_tp_rank; }
  // The rank that samples: the first of the last stage.
  int sampler_rank() const { return RankOf(pp - 1, 0); }
};

// kInvalidArgument unless world == tp * pp, with the numbers.
absl::Status CheckWorld(int world, int tp, int pp);

}  // namespace ternion
