// Reads memory and does nothing else, in two ways: every thread loads 16 bytes at a time into registers, or one thread of
// a block keeps bulk copies to shared memory in flight. Which is faster depends on the size.
#include "kernels/cuda/read_bandwidth.h"

#include <algorithm>

#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/graph_timer.h"
#include "kernels/status.h"

namespace ternion::cuda {
namespace {

constexpr int kRepetitions = 7;
constexpr int64_t kPieceBytes = 16;
constexpr int kThreads = 256;
constexpr int kLoads = 4;  // of a thread at once
constexpr int64_t kBlockBytes = kThreads * kLoads * kPieceBytes;

// Bulk copies in flight: of a block, of a multiprocessor.
struct BulkShape {
  int stage_bytes;
  int stages;
  int blocks;
};
constexpr BulkShape kBulkShapes[] = {
    {4096, 24, 2}, {8192, 12, 2}, {16384, 6, 2}, {8192, 24, 1}, {16384, 12, 1}};

__global__ void __launch_bounds__(kThreads) LoadKernel(const uint4* data, int64_t pieces, uint32_t* sink) {
  StartNext();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kLoads + threadIdx.x;
  uint4 loaded[kLoads] = {};
#pragma unroll
  for (int i = 0; i < kLoads; ++i) {
    if (first + i * kThreads < pieces) loaded[i] = __ldcs(data + first + i * kThreads);
  }
  WaitForPrevious();
  uint32_t bits = 0;
#pragma unroll
  for (int i = 0; i < kLoads; ++i) bits |= loaded[i].x | loaded[i].y | loaded[i].z | loaded[i].w;
  if (bits != 0) *sink = bits;  // never: the memory is zero
}

#if __CUDA_ARCH__ >= 900

// Block b reads pieces b, b + blocks, b + 2 * blocks, ... of stage_bytes.
__device__ void ReadPieces(const char* data, int64_t bytes, const BulkShape& shape, char* stages,
                           uint64_t* barriers) {
  const int64_t pieces = CeilDivide(bytes, shape.stage_bytes);
  int64_t started = blockIdx.x;
  const auto start = [&](int stage) {
    const int64_t begin = started * shape.stage_bytes;
    const uint32_t size = static_cast<uint32_t>(min(int64_t{shape.stage_bytes}, bytes - begin));
    StartCopy(stages + stage * shape.stage_bytes, data + begin, size, &barriers[stage]);
    started += gridDim.x;
  };
  for (int stage = 0; stage < shape.stages && started < pieces; ++stage) start(stage);
  WaitForPrevious();
  int stage = 0;
  uint32_t phase = 0;
  for (int64_t piece = blockIdx.x; piece < pieces; piece += gridDim.x) {
    WaitBarrier(&barriers[stage], phase);
    if (started < pieces) start(stage);
    if (++stage == shape.stages) stage = 0, phase ^= 1;
  }
}

#endif

// Empty before Hopper.
__global__ void __launch_bounds__(kWarp) BulkKernel(const char* data, int64_t bytes, BulkShape shape) {
#if __CUDA_ARCH__ >= 900
  StartNext();
  extern __shared__ __align__(128) char stages[];
  __shared__ uint64_t barriers[24];  // the most stages of kBulkShapes
  if (threadIdx.x != 0) return;
  for (int i = 0; i < shape.stages; ++i) InitBarrier(&barriers[i], 1);
  PublishBarriers();
  ReadPieces(data, bytes, shape, stages, barriers);
#endif
}

}  // namespace

absl::StatusOr<double> ReadSeconds(CudaBackend& backend, int64_t bytes) {
  CHECK(bytes > 0, "there is something to read");
  const int64_t stride = CeilDivide(bytes, kPieceBytes) * kPieceBytes, copies = RotatedCopies(stride);
  TERNION_ASSIGN_OR_RETURN(const Buffer memory, backend.Allocate(static_cast<size_t>(copies * stride)));
  TERNION_ASSIGN_OR_RETURN(const Buffer sink, backend.Allocate(sizeof(uint32_t)));
  backend.Synchronize();
  const auto copy = [&](int i) { return static_cast<const char*>(memory.data()) + i % copies * stride; };
  const int launches = RotatedLaunches(copies, static_cast<double>(bytes) / 4e12);
  double best = MedianSeconds(backend, launches, kRepetitions, [&](int i) {
    const dim3 blocks(static_cast<unsigned>(CeilDivide(stride, kBlockBytes)));
    Launch(backend.launch_stream(), LoadKernel, {blocks, dim3(kThreads)},
           reinterpret_cast<const uint4*>(copy(i)), stride / kPieceBytes,
           static_cast<uint32_t*>(sink.data()));
  });
  if (backend.properties().major < 9) return best;
  for (const BulkShape& shape : kBulkShapes) {
    const size_t shared = static_cast<size_t>(shape.stages) * shape.stage_bytes;
    AllowSharedMemory(BulkKernel, shared);
    const dim3 blocks(static_cast<unsigned>(shape.blocks * backend.multiprocessors()));
    best = std::min(
        best, MedianSeconds(backend, launches, kRepetitions, [&](int i) {
          Launch(backend.launch_stream(), BulkKernel, {blocks, dim3(kWarp), shared}, copy(i), stride, shape);
        }));
  }
  return best;
}

}  // namespace ternion::cuda
