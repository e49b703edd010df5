// A device's channels of rows before a row-parallel layer with a lossy wire: squares, weights, absmax and codes, a block a
// row, read once. Bound by memory.
#include "kernels/cuda/peer_share.cuh"

#include "kernels/check.h"

namespace ternion::cuda {
namespace {

template <int kFours>
__global__ void __launch_bounds__(kMostThreads)
    QuantizeShareRow(const __grid_constant__ RowWork work, float floor, float* squares) {
  extern __shared__ Four<float> shared[];
  StartNext();
  FetchWeights<kFours>(work, shared);
  WaitForPrevious();
  OwnChannels<kFours> row = LoadShare<kFours>(work, blockIdx.x);
  ScaleShare(work, shared, squares + blockIdx.x, row);
  StoreShareCodes(work, floor, blockIdx.x, row);
}

}  // namespace

bool QuantizeWholeShare(const CudaBackend& backend, const ShareRows& rows) {
  const RowWork work = WorkOf(rows);
  if (!RowFitsABlock(backend.properties(), work) || !FoursAligned(rows.x.cols(), work.x, work.codes))
    return false;
  if (rows.x.empty()) return true;
  ForFoursOfRow(backend.multiprocessors(), rows.x.rows(), work, [&](auto fours, const LaunchShape& shape) {
    // Never lowered for a shorter row, since a recorded launch may need it.
    AllowSharedMemory(QuantizeShareRow<fours()>, backend.properties().sharedMemPerBlockOptin - kStaticBytes);
    Launch(backend.launch_stream(), QuantizeShareRow<fours()>, shape, work, rows.floor, rows.squares.data());
  });
  return true;
}

}  // namespace ternion::cuda
