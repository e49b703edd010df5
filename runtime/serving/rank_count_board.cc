#include "runtime/serving/rank_count_board.h"

#include <cstring>

namespace ternion {
namespace {

constexpr std::array<std::string_view, 2> kLinks = {"host", "network"};
using Values = std::array<int64_t, 5>;

}  // namespace

RankCountBoard::RankCountBoard(const ProcessGrid& grid, const std::vector<std::string>& hosts)
    : ranks_(hosts.size()) {
  for (int rank = 0; rank < grid.size(); ++rank) {
    const int first = rank - rank % grid.tp;
    for (int peer = first; peer < first + grid.tp; ++peer) {
      if (hosts[peer] != hosts[rank]) ranks_[rank].group_on_network = true;
    }
    const int next = rank + grid.tp;
    ranks_[rank].next_on_network = next < grid.size() && hosts[next] != hosts[rank];
  }
}

void RankCountBoard::Set(int rank, const RankCounts& counts) {
  const std::lock_guard lock(mutex_);
  ranks_[rank].counts = counts;
}

void RankCountBoard::Show(ServingMetrics& metrics) const {
  std::array<WireCount, 2> sums;  // by link
  WeightSkips weights;
  {
    const std::lock_guard lock(mutex_);
    for (const Rank& rank : ranks_) {
      sums[rank.group_on_network].reduce += rank.counts.wire.reduce;
      sums[rank.group_on_network].gather += rank.counts.wire.gather;
      sums[rank.next_on_network].pipeline += rank.counts.wire.pipeline;
      weights.weights += rank.counts.weights.weights;
      weights.skipped += rank.counts.weights.skipped;
    }
  }
  for (size_t link = 0; link < kLinks.size(); ++link) {
    metrics.SetWireBytes("reduce", kLinks[link], sums[link].reduce);
    metrics.SetWireBytes("gather", kLinks[link], sums[link].gather);
    metrics.SetWireBytes("pipeline", kLinks[link], sums[link].pipeline);
  }
  if (weights.weights > 0) metrics.SetWeightSkips(weights);
}

std::string EncodeRankCounts(const RankCounts& counts) {
  const Values values = {counts.wire.reduce, counts.wire.gather, counts.wire.pipeline, counts.weights.weights,
                         counts.weights.skipped};
  return {reinterpret_cast<const char*>(values.data()), sizeof(values)};
}

std::optional<RankCounts> DecodeRankCounts(std::string_view bytes) {
  Values values;
  if (bytes.size() != sizeof(values)) return std::nullopt;
  std::memcpy(values.data(), bytes.data(), sizeof(values));
  return RankCounts{{values[0], values[1], values[2]}, {values[3], values[4]}};
}

}  // namespace ternion
