// The largest logit of each row: several blocks share a row, and the last of them to end compares what they found. Bound by
// reading the rows, for few of them by latency.
#include "kernels/cuda/arg_max.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

// A number and where it stands; nothing yet.
struct Largest {
  float value = -INFINITY;
  int32_t index = INT32_MAX;

  __device__ __forceinline__ void Take(float v, int32_t i) {
    if (v > value || (v == value && i < index)) {
      value = v;
      index = i;
    }
  }
  __device__ __forceinline__ void TakeWarp() {
#pragma unroll
    for (int half = kWarp / 2; half > 0; half /= 2) {
      const float v = __shfl_xor_sync(kAllLanes, value, half);
      Take(v, __shfl_xor_sync(kAllLanes, index, half));
    }
  }
};

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
// A row's parts: they fill half a device.
constexpr int kFewRows = 8, kPartsOfFew = 64, kPartsOfMany = 16;

struct ArgMaxWork {
  const float* logits = nullptr;
  int64_t vocab = 0;
  float* values = nullptr;      // [rows, parts]
  int32_t* indices = nullptr;   // [rows, parts]
  int32_t* arrivals = nullptr;  // [rows]: parts that are done
  int32_t* ids = nullptr;       // [rows], or
  Candidate* lists = nullptr;   // [rows, list], whose columns count from `first`
  int list = 0;
  int32_t first = 0;
};

// The largest of part x of row y, in thread 0.
template <bool kAligned>
__device__ __forceinline__ Largest LargestOfPart(const ArgMaxWork& work) {
  __shared__ float warp_values[kWarps];
  __shared__ int32_t warp_indices[kWarps];
  const float* const row = work.logits + blockIdx.y * work.vocab;
  Largest largest;
#pragma unroll 4
  for (int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 4; i < work.vocab;
       i += int64_t{gridDim.x} * kThreads * 4) {
    const Four<float> four = LoadFour<kAligned>(row + i, work.vocab - i);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (kAligned || i + j < work.vocab) largest.Take(four.v[j], static_cast<int32_t>(i + j));
    }
  }
  largest.TakeWarp();
  if (Lane() == 0) {
    warp_values[WarpIndex()] = largest.value;
    warp_indices[WarpIndex()] = largest.index;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kWarps; ++warp) largest.Take(warp_values[warp], warp_indices[warp]);
  }
  return largest;
}

// A block takes part x of row y; the row's last to end compares them all.
template <bool kAligned>
__global__ void __launch_bounds__(kThreads) LargestOfRow(ArgMaxWork work) {
  __shared__ bool last;
  StartNext();
  WaitForPrevious();
  Largest largest = LargestOfPart<kAligned>(work);
  const int parts = static_cast<int>(gridDim.x);
  float* const values = work.values + int64_t{blockIdx.y} * parts;
  int32_t* const indices = work.indices + int64_t{blockIdx.y} * parts;
  if (threadIdx.x == 0) {
    values[blockIdx.x] = largest.value;
    indices[blockIdx.x] = largest.index;
    __threadfence();
    last = atomicAdd(work.arrivals + blockIdx.y, 1) == parts - 1;
    if (last) work.arrivals[blockIdx.y] = 0;
    __threadfence();
  }
  __syncthreads();
  if (!last || threadIdx.x >= kWarp) return;
  largest = Largest();
  for (int part = Lane(); part < parts; part += kWarp) {
    largest.Take(__ldcg(values + part), __ldcg(indices + part));
  }
  largest.TakeWarp();
  if (largest.index == INT32_MAX) largest.index = 0;  // only NaN
  if (work.ids != nullptr) {
    if (Lane() == 0) work.ids[blockIdx.y] = largest.index;
    return;
  }
  for (int i = Lane(); i < work.list; i += kWarp) {
    const Candidate found = {largest.value, work.first + largest.index};
    work.lists[int64_t{blockIdx.y} * work.list + i] = i == 0 ? found : Candidate{-INFINITY, 0};
  }
}

void LaunchArgMax(CudaBackend& backend, TensorView<const float> logits, ArgMaxWork work) {
  if (logits.rows() == 0) return;
  const int64_t row_parts = logits.rows() <= kFewRows ? kPartsOfFew : kPartsOfMany;
  const int64_t parts = logits.rows() * row_parts;
  work.logits = logits.data();
  work.vocab = logits.cols();
  work.values = backend.Scratch<float>(Purpose::kPartials, 2 * parts);
  work.indices = reinterpret_cast<int32_t*>(work.values + parts);
  work.arrivals = backend.Scratch<int32_t>(Purpose::kCounters, logits.rows());
  const bool aligned = FoursAligned(work.vocab, work.logits);
  const dim3 grid(static_cast<unsigned>(row_parts), static_cast<unsigned>(logits.rows()));
  Launch(backend.launch_stream(), aligned ? LargestOfRow<true> : LargestOfRow<false>, {grid, dim3(kThreads)},
         work);
}

}  // namespace

void CudaBackend::ArgMax(TensorView<const float> logits, TensorView<int32_t> ids) {
  CHECK(ids.size() == logits.rows() && logits.cols() > 0, "ArgMax shapes");
  ArgMaxWork work;
  work.ids = ids.data();
  LaunchArgMax(*this, logits, work);
}

void ShortlistLargest(CudaBackend& backend, TensorView<const float> logits, int64_t first,
                      TensorView<Candidate> lists) {
  ArgMaxWork work;
  work.lists = lists.data();
  work.list = static_cast<int>(lists.cols());
  work.first = static_cast<int32_t>(first);
  LaunchArgMax(backend, logits, work);
}

}  // namespace ternion::cuda
