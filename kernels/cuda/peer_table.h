#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/peer_exchange.h"

namespace ternion::cuda {

// A table whose rows are split over the members, as this device sees it; passed to kernels by value.
struct PeerTable {
  const BFloat16* of[kMostPeers] = {};
  int64_t begin[kMostPeers + 1] = {};  // the first row of each member's, and the end
  int ranks = 0;
  int64_t cols = 0;

  int64_t rows() const { return begin[ranks]; }
};

// PeerExchange::EmbedRows; rows_device [out.rows()], drawn may be null where no row is negative.
void PeerEmbedRows(const Stream& stream, const PeerTable& table, const int32_t* rows_device,
                   const int32_t* drawn, TensorView<float> out);

}  // namespace ternion::cuda
