// A row on the wire as int8: for each group of up to 128 channels two bytes of scale (bf16, little-endian),
// then a byte a channel. A warp takes a group, a lane every 32nd channel, so that both sides are read and
// written in whole stretches wherever a row begins. Bound by memory.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/wire.cuh"

namespace ternion::cuda {
namespace {

constexpr int kGroup = 128;
constexpr int kHeader = 2;
constexpr int kOfLane = kGroup / kWarp;

__global__ void __launch_bounds__(kWireThreads)
    EncodeKernel(const float* x, int64_t cols, int64_t row_bytes, uint8_t* wire) {
  StartNext();
  WaitForPrevious();
  const WireGroup group = GroupOfWarp(cols, kGroup, kHeader + kGroup);
  if (group.n <= 0) return;
  x += group.row * cols + group.channel;
  wire += group.row * row_bytes + group.offset;
  float mine[kOfLane];
  uint32_t most = 0;
#pragma unroll
  for (int j = 0; j < kOfLane; ++j) {
    const int i = Lane() + j * kWarp;
    mine[j] = i < group.n ? x[i] : 0.0f;
    most = max(most, MagnitudeBits(mine[j]));
  }
  most = __reduce_max_sync(kAllLanes, most);
  const uint32_t header = Bf16Up(__uint_as_float(most) / 127.0f);
  const float scale = WidenBf16(header);
  if (Lane() < kHeader) wire[Lane()] = static_cast<uint8_t>(header >> 8 * Lane());
#pragma unroll
  for (int j = 0; j < kOfLane; ++j) {
    const int i = Lane() + j * kWarp;
    if (i < group.n) wire[kHeader + i] = static_cast<uint8_t>(ClippedRintByte(mine[j] / scale, -127, 127));
  }
}

__global__ void __launch_bounds__(kWireThreads)
    DecodeKernel(const uint8_t* wire, int64_t cols, int64_t row_bytes, bool add, float* x) {
  StartNext();
  WaitForPrevious();
  const WireGroup group = GroupOfWarp(cols, kGroup, kHeader + kGroup);
  if (group.n <= 0) return;
  x += group.row * cols + group.channel;
  wire += group.row * row_bytes + group.offset;
  const float scale = LoadBf16(wire);
#pragma unroll
  for (int j = 0; j < kOfLane; ++j) {
    const int i = Lane() + j * kWarp;
    if (i >= group.n) continue;
    const float value = static_cast<float>(static_cast<int8_t>(wire[kHeader + i])) * scale;
    x[i] = add ? x[i] + value : value;
  }
}

}  // namespace

void CudaBackend::EncodeInt8(TensorView<const float> x, TensorView<uint8_t> wire) {
  CHECK(wire.rows() == x.rows() && wire.cols() == WireRowBytesInt8(x.cols()), "EncodeInt8 shapes");
  if (x.empty()) return;
  Launch(stream_, EncodeKernel, WarpsByGroups(x.rows(), CeilDivide(x.cols(), kGroup)), x.data(), x.cols(),
         wire.cols(), wire.data());
}

void CudaBackend::DecodeInt8(TensorView<const uint8_t> wire, bool add, TensorView<float> x) {
  CHECK(wire.rows() == x.rows() && wire.cols() == WireRowBytesInt8(x.cols()), "DecodeInt8 shapes");
  if (x.empty()) return;
  Launch(stream_, DecodeKernel, WarpsByGroups(x.rows(), CeilDivide(x.cols(), kGroup)), wire.data(), x.cols(),
         wire.cols(), add, x.data());
}

}  // namespace ternion::cuda
