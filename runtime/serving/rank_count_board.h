#pragma once

#include <array>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ternary.h"
#include "parallel/process_grid.h"
#include "parallel/tensor_parallel.h"
#include "runtime/serving/serving_metrics.h"

namespace ternion {

// What a rank counts, since the start.
struct RankCounts {
  WireCount wire;
  WeightSkips weights;

  bool operator==(const RankCounts&) const = default;
};

// The counts of all ranks as rank 0 last heard of them, for ternion:wire_bytes_total and ternion:weights_skipped_ratio.
// Thread-safe.
class RankCountBoard {
 public:
  // `hosts`: of every rank. A tensor-parallel group that spans hosts exchanges over the network, as does a rank whose peer in
  // the next stage is on another.
  RankCountBoard(const ProcessGrid& grid, const std::vector<std::string>& hosts);

  void Set(int rank, const RankCounts& counts);
  void Show(ServingMetrics& metrics) const;

 private:
  struct Rank {
    bool group_on_network = false;
    bool next_on_network = false;
    RankCounts counts;
  };

  mutable std::mutex mutex_;
  std::vector<Rank> ranks_;
};

// The payload of a kCountsFrame. Nothing when it is malformed.
std::string EncodeRankCounts(const RankCounts& counts);
std::optional<RankCounts> DecodeRankCounts(std::string_view bytes);

}  // namespace ternion
