#include "runtime/serving/wire_byte_board.h"

#include <cstring>

namespace ternion {
namespace {

constexpr std::array<std::string_view, 2> kLinks = {"host", "network"};

}  // namespace

WireByteBoard::WireByteBoard(const ProcessGrid& grid, const std::vector<std::string>& hosts)
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

void WireByteBoard::Set(int rank, const WireCount& count) {
  const std::lock_guard lock(mutex_);
  ranks_[rank].count = count;
}

void WireByteBoard::Show(ServingMetrics& metrics) const {
  std::array<WireCount, 2> sums;  // by link
  {
    const std::lock_guard lock(mutex_);
    for (const Rank& rank : ranks_) {
      sums[rank.group_on_network].reduce += rank.count.reduce;
      sums[rank.group_on_network].gather += rank.count.gather;
      sums[rank.next_on_network].pipeline += rank.count.pipeline;
    }
  }
  for (size_t link = 0; link < kLinks.size(); ++link) {
    metrics.SetWireBytes("reduce", kLinks[link], sums[link].reduce);
    metrics.SetWireBytes("gather", kLinks[link], sums[link].gather);
    metrics.SetWireBytes("pipeline", kLinks[link], sums[link].pipeline);
  }
}

std::string EncodeWireCount(const WireCount& count) {
  const int64_t values[] = {count.reduce, count.gather, count.pipeline};
  return {reinterpret_cast<const char*>(values), sizeof(values)};
}

std::optional<WireCount> DecodeWireCount(std::string_view bytes) {
  int64_t values[3];
  if (bytes.size() != sizeof(values)) return std::nullopt;
  std::memcpy(values, bytes.data(), sizeof(values));
  return WireCount{values[0], values[1], values[2]};
}

}  // namespace ternion
