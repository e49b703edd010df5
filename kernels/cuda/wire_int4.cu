// A row on the wire as int4: for each group of n <= 32 channels two bytes of minimum and two of step (bf16,
// little-endian), then b = ceil(n / 2) bytes: byte i holds channel i low and channel i + b high, or 0 where
// the group has no such channel. A warp takes a group, a lane a channel. Bound by memory.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/wire.cuh"

namespace ternion::cuda {
namespace {

constexpr int kGroup = kWarp;
constexpr int kHeader = 4;
constexpr int kGroupBytes = kHeader + kGroup / 2;

// Integers that are ordered as the floats are. Its own inverse.
__device__ __forceinline__ int Ordered(int bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
__device__ __forceinline__ float FromOrdered(int order) { return __int_as_float(Ordered(order)); }

__global__ void __launch_bounds__(kWireThreads)
    EncodeKernel(const float* x, int64_t cols, int64_t row_bytes, uint8_t* wire) {
  StartNext();
  WaitForPrevious();
  const WireGroup group = GroupOfWarp(cols, kGroup, kGroupBytes);
  if (group.n <= 0) return;
  const bool here = Lane() < group.n;
  const float mine = here ? x[group.row * cols + group.channel + Lane()] : 0.0f;
  const int order = Ordered(__float_as_int(mine));
  const float low = FromOrdered(__reduce_min_sync(kAllLanes, here ? order : 0x7fffffff));
  const float high = FromOrdered(__reduce_max_sync(kAllLanes, here ? order : -0x7fffffff - 1));
  const uint32_t minimum_bits = Bf16Down(low);
  const float minimum = WidenBf16(minimum_bits);
  const uint32_t step_bits = Bf16Up((high - minimum) / 15.0f);
  const uint32_t code = here ? ClippedRintByte((mine - minimum) / WidenBf16(step_bits), 0, 15) & 15 : 0;

  // Lanes 0 .. 3 write the header, the next ones a byte of two codes each.
  const int bytes = (group.n + 1) / 2, i = Lane() - kHeader;
  const uint32_t first = __shfl_sync(kAllLanes, code, i & (kWarp - 1));
  const uint32_t second = __shfl_sync(kAllLanes, code, (i + bytes) & (kWarp - 1));
  const uint32_t header = minimum_bits | step_bits << 16;
  const uint32_t pair = first | (i + bytes < group.n ? second << 4 : 0u);
  if (i < bytes) {
    wire[group.row * row_bytes + group.offset + Lane()] =
        static_cast<uint8_t>(i < 0 ? header >> 8 * Lane() : pair);
  }
}

__global__ void __launch_bounds__(kWireThreads)
    DecodeKernel(const uint8_t* wire, int64_t cols, int64_t row_bytes, bool add, float* x) {
  StartNext();
  WaitForPrevious();
  const WireGroup group = GroupOfWarp(cols, kGroup, kGroupBytes);
  if (Lane() >= group.n) return;
  x += group.row * cols + group.channel + Lane();
  wire += group.row * row_bytes + group.offset;
  const int bytes = (group.n + 1) / 2;
  const float minimum = LoadBf16(wire), step = LoadBf16(wire + 2);
  const int code = Lane() < bytes ? wire[kHeader + Lane()] & 15 : wire[kHeader + Lane() - bytes] >> 4;
  const float value = minimum + static_cast<float>(code) * step;
  *x = add ? *x + value : value;
}

}  // namespace

void CudaBackend::EncodeInt4(TensorView<const float> x, TensorView<uint8_t> wire) {
  CHECK(wire.rows() == x.rows() && wire.cols() == WireRowBytesInt4(x.cols()), "EncodeInt4 shapes");
  if (x.empty()) return;
  Launch(stream_, EncodeKernel, WarpsByGroups(x.rows(), CeilDivide(x.cols(), kGroup)), x.data(), x.cols(),
         wire.cols(), wire.data());
}

void CudaBackend::DecodeInt4(TensorView<const uint8_t> wire, bool add, TensorView<float> x) {
  CHECK(wire.rows() == x.rows() && wire.cols() == WireRowBytesInt4(x.cols()), "DecodeInt4 shapes");
  if (x.empty()) return;
  Launch(stream_, DecodeKernel, WarpsByGroups(x.rows(), CeilDivide(x.cols(), kGroup)), wire.data(), x.cols(),
         wire.cols(), add, x.data());
}

}  // namespace ternion::cuda
