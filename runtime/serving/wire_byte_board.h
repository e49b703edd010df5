#pragma once

#include <array>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/process_grid.h"
#include "parallel/tensor_parallel.h"
#include "runtime/serving/serving_metrics.h"

namespace ternion {

// The wire bytes of all ranks as rank 0 last heard of them, for ternion:wire_bytes_total. Thread-safe.
class WireByteBoard {
 public:
  // `hosts`: of every rank. A tensor-parallel group that spans hosts exchanges over the network, as does a rank whose peer in
  // the next stage is on another.
  WireByteBoard(const ProcessGrid& grid, const std::vector<std::string>& hosts);

  void Set(int rank, const WireCount& count);
  void Show(ServingMetrics& metrics) const;

 private:
  struct Rank {
    bool group_on_network = false;
    bool next_on_network = false;
    WireCount count;
  };

  mutable std::mutex mutex_;
  std::vector<Rank> ranks_;
};

// The payload of a kWireBytesFrame. Nothing when it is malformed.
std::string EncodeWireCount(const WireCount& count);
std::optional<WireCount> DecodeWireCount(std::string_view bytes);

}  // namespace ternion
