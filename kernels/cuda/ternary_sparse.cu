// One token whose codes are mostly zeros: the weights of zero inputs are not read. A cluster of eight blocks takes a group
// of outputs; each block lists the non-zero inputs among its eighth, and its warps take 16 of the list at a time straight
// from memory into registers. int8 tensor cores sum what the words' bytes hold as they lie: a lane's four inputs are four
// of its instructions' inputs, and the byte of a word picks the column of the product, whose codes are zero but for that
// byte. The blocks' sums go to the owner of an output through shared memory. Bound by the way to the first weight, then by
// reading.
#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/read_once.cuh"
#include "kernels/cuda/ternary_epilogue.cuh"
#include "kernels/cuda/ternary_mma.cuh"
#include "kernels/cuda/ternary_sparse.h"

namespace ternion::cuda {
namespace {

constexpr int kRanks = 8;  // blocks of a cluster
constexpr int kWarps = 16;
constexpr int kThreads = kWarps * kWarp;
constexpr int kChunk = 16;  // inputs of a tensor-core instruction

struct SparseWork {
  MatmulWork matmul;
  Epilogue epilogue;
  int rank_inputs;  // of a block, a multiple of 16
};

// A block's shared memory but for the list.
template <int kColumns>
struct alignas(16) SharedParts {
  int4 sums[kWarps][kColumns][kWarp];                       // a warp's, of outputs 4 * place on
  int arrived[kRanks][kColumns * kColumnOutputs / kRanks];  // of the block's own outputs, by rank
  uint64_t all_arrived;
  int length;    // of the list
  int code_sum;  // of its codes
};

// The list's entries: an input, counted from the block's first, times 256, plus the byte of its code.
constexpr int64_t kEntryBytes = sizeof(uint32_t);

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

constexpr int kThreadCodes = 16;  // that a thread looks through at a time

constexpr int kFields = 4;  // of a byte: outputs

// Where `shared` lies in the block of this rank.
__device__ __forceinline__ uint32_t AddressIn(int rank, const void* shared) {
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(SharedAddress(shared)), "r"(rank));
  return address;
}

// 16 codes from `first` on, zeros beyond the block's `count`, a multiple of 4.
__device__ __forceinline__ void LoadCodes(const int8_t* codes, int first, int count, bool aligned,
                                          uint32_t (&words)[4]) {
  if (aligned && first + kThreadCodes <= count) {
    const uint4 all = *reinterpret_cast<const uint4*>(codes + first);
    words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    words[i] = first + 4 * i < count ? *reinterpret_cast<const uint32_t*>(codes + first + 4 * i) : 0;
  }
}

// Bit b: byte b of the word is not zero.
__device__ __forceinline__ unsigned NonZeroBytes(uint32_t word) {
  const uint32_t high = (((word & 0x7f7f7f7fu) + 0x7f7f7f7fu) | word) & 0x80808080u;
  return high * 0x00204081u >> 28;
}

// The list of the block's `count` codes. Every thread calls it.
__device__ __forceinline__ void MakeList(const int8_t* codes, int count, uint32_t* list, int* length,
                                         int* code_sum) {
  const bool aligned = reinterpret_cast<uintptr_t>(codes) % sizeof(uint4) == 0;
  int sum = 0;
  for (int begin = 0; begin < count; begin += kThreads * kThreadCodes) {
    const int first = begin + static_cast<int>(threadIdx.x) * kThreadCodes;
    uint32_t words[4];
    LoadCodes(codes, first, count, aligned, words);
    unsigned taken = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sum = __dp4a(static_cast<int>(words[i]), 0x01010101, sum);
      taken |= NonZeroBytes(words[i]) << 4 * i;
    }
    int end = __popc(taken);  // of this thread's among the warp's
#pragma unroll
    for (int step = 1; step < kWarp; step *= 2) {
      const int others = __shfl_up_sync(kAllLanes, end, step);
      if (Lane() >= step) end += others;
    }
    int place = 0;
    if (Lane() == kWarp - 1 && end != 0) place = atomicAdd(length, end);
    place = __shfl_sync(kAllLanes, place, kWarp - 1) + end - __popc(taken);
    for (; taken != 0; taken &= taken - 1) {
      const int at = __ffs(taken) - 1;
      const uint32_t low = (at & 4) != 0 ? words[1] : words[0], high = (at & 4) != 0 ? words[3] : words[2];
      const uint32_t code = ((at & 8) != 0 ? high : low) >> 8 * (at & 3) & 0xffu;
      list[place++] = static_cast<uint32_t>(first + at) << 8 | code;
    }
  }
  sum = WarpSum(sum);
  if (Lane() == 0 && sum != 0) atomicAdd(code_sum, sum);
}

template <int kColumns>
__device__ __forceinline__ void LoadWords(const uint8_t* from, uint32_t (&words)[kColumns]) {
  if constexpr (kColumns == 4) {
    const uint4 four = ReadOnce(from);
    words[0] = four.x, words[1] = four.y, words[2] = four.z, words[3] = four.w;
  } else {
    static_assert(kColumns == 2);
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
                 : "=r"(words[0]), "=r"(words[1])
                 : "l"(from));
  }
}

// 16 inputs of the list: lane 4 g + q has 4 q .. 4 q + 3 of them, of each the words of 8 g's outputs.
template <int kColumns>
class Chunk {
 public:
  // `weights`: the lane's words of the block's first input. What lies behind the list counts as zeros.
  __device__ __forceinline__ void Load(const uint8_t* weights, const uint32_t* list, int first, int length) {
    first += Lane() % 4 * 4;
    const uint4 four = *reinterpret_cast<const uint4*>(list + first);
    const uint32_t entries[4] = {four.x, four.y, four.z, four.w};
    codes_ = __byte_perm(__byte_perm(four.x, four.y, 0x0040), __byte_perm(four.z, four.w, 0x0040), 0x5410);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (first + i < length) {
        LoadWords<kColumns>(weights + (entries[i] >> 8) * (kColumns * kColumnBytes), words_[i]);
        continue;
      }
      codes_ &= ~(0xffu << 8 * i);
#pragma unroll
      for (int j = 0; j < kColumns; ++j) words_[i][j] = 0;
    }
  }

  // Field i of byte q of word j, times 4^i, is added to sums[j]: field 0 to [0], 0 to 2 to [1], 0 and 1 to [2], all to [3].
  // Column 2 b of the product is byte b, of rows g [0] and g + 8 [2], column 2 b + 1 the same of [1] and [3].
  __device__ __forceinline__ void AddTo(int (&sums)[kColumns][kFields]) const {
    const int g = Lane() / 4, byte = g / 2;
    uint32_t even[4], odd[4];  // the codes of the lane's column: input i's in its byte
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t pick = (0x4444u & ~(0xfu << 4 * byte)) + (static_cast<uint32_t>(i) << 4 * byte);
      even[i] = __byte_perm(codes_, 0, g % 2 == 0 ? pick : 0x4444u);
      odd[i] = __byte_perm(codes_, 0, g % 2 == 1 ? pick : 0x4444u);
    }
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const uint32_t x = words_[i][j], y = words_[i + 1][j];
        const uint32_t first[4] = {x & 0x03030303u, x & 0x0f0f0f0fu, y & 0x03030303u, y & 0x0f0f0f0fu};
        const uint32_t second[4] = {x & 0x3f3f3f3fu, x, y & 0x3f3f3f3fu, y};
        ByteMma(first, even[i], even[i + 1], sums[j]);
        ByteMma(second, odd[i], odd[i + 1], sums[j]);
      }
    }
  }

 private:
  uint32_t words_[4][kColumns];
  uint32_t codes_;
};

// The warp's chunks of the list. Warps enough are on their way: to fetch the next chunk ahead takes registers from the
// kernel after this one, and time.
template <int kColumns>
__device__ __forceinline__ void Multiply(const uint8_t* weights, const uint32_t* list, int length,
                                         int (&sums)[kColumns][kFields]) {
  for (int first = WarpIndex() * kChunk; first < length; first += kWarps * kChunk) {
    Chunk<kColumns> chunk;
    chunk.Load(weights, list, first, length);
    chunk.AddTo(sums);
  }
}

// What the epilogue of an output needs, fetched ahead: the weights' scale, then what earlier kernels made.
class OwnOutput {
 public:
  __device__ OwnOutput(const SparseWork& work, int64_t output, bool exists)
      : work_(work), output_(output), exists_(exists) {
    if (!exists || work.epilogue == Epilogue::kSums) return;
    weight_scale_ = work.matmul.weight_scale[output];
  }
  __device__ void Load() {
    if (!exists_ || work_.epilogue == Epilogue::kSums) return;
    row_scale_ = *work_.matmul.row_scale;
    if (Reads<1>(work_.epilogue)) before_ = work_.matmul.y[output_];
  }
  __device__ void Store(int sum) const {
    if (!exists_) return;
    if (work_.epilogue == Epilogue::kSums) {
      work_.matmul.sums[output_] = sum;
      return;
    }
    const float f[1] = {Dequantized(sum, row_scale_, weight_scale_)};
    work_.matmul.y[output_] = Finished<1>(work_.epilogue, f, before_);
  }

 private:
  const SparseWork& work_;
  const int64_t output_;
  const bool exists_;
  float row_scale_ = 0;
  float weight_scale_ = 0;
  float before_ = 0;
};

// The block's sums of four outputs to their owner.
template <int kColumns>
__device__ __forceinline__ void SendSums(SharedParts<kColumns>& parts, int rank) {
  constexpr int kOwn = kColumns * kColumnOutputs / kRanks;
  const int place = static_cast<int>(threadIdx.x);
  int4 all = {-parts.code_sum, -parts.code_sum, -parts.code_sum, -parts.code_sum};
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    const int4 of_warp = parts.sums[w][place / kWarp][place % kWarp];
    all.x += of_warp.x, all.y += of_warp.y, all.z += of_warp.z, all.w += of_warp.w;
  }
  const int owner = 4 * place / kOwn;
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.s32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
          AddressIn(owner, &parts.arrived[rank][4 * place % kOwn])),
      "r"(all.x), "r"(all.y), "r"(all.z), "r"(all.w), "r"(AddressIn(owner, &parts.all_arrived))
      : "memory");
}

// All blocks of the cluster expect theirs.
template <int kColumns>
__device__ __forceinline__ void Begin(SharedParts<kColumns>& parts) {
  if (threadIdx.x == 0) {
    parts.length = 0;
    parts.code_sum = 0;
    InitBarrier(&parts.all_arrived, 1);
    PublishBarriers();
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(SharedAddress(&parts.all_arrived)),
                 "r"(static_cast<uint32_t>(sizeof(parts.arrived)))
                 : "memory");
  }
  __syncthreads();
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}

#endif

template <int kColumns>
__global__ void __launch_bounds__(kThreads, 2) SparseKernel(const __grid_constant__ SparseWork work) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  constexpr int kOutputs = kColumns * kColumnOutputs, kOwn = kOutputs / kRanks;
  extern __shared__ __align__(128) uint8_t dynamic_parts[];
  StartNext();
  SharedParts<kColumns>& parts = *reinterpret_cast<SharedParts<kColumns>*>(dynamic_parts);
  uint32_t* const list = reinterpret_cast<uint32_t*>(&parts + 1);
  const int rank = static_cast<int>(blockIdx.x) % kRanks, group = static_cast<int>(blockIdx.x) / kRanks;
  const int thread = static_cast<int>(threadIdx.x), inputs = static_cast<int>(work.matmul.inputs);
  const int first = min(rank * work.rank_inputs, inputs);
  const int64_t output = int64_t{group} * kOutputs + rank * kOwn + thread;
  OwnOutput own(work, output, thread < kOwn && output < work.matmul.outputs);
  Begin(parts);
  WaitForPrevious();
  MakeList(work.matmul.codes + first, min(work.rank_inputs, inputs - first), list, &parts.length,
           &parts.code_sum);
  own.Load();
  __syncthreads();
  int sums[kColumns][kFields] = {};
  Multiply<kColumns>(work.matmul.weights + (int64_t{group} * inputs + first) * (kColumns * kColumnBytes) +
                         Lane() / 4 * (4 * kColumns),
                     list, parts.length, sums);
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    const int* const s = sums[j];
    parts.sums[WarpIndex()][j][Lane()] = {s[0], (s[2] - s[0]) >> 2, (s[1] - s[2]) >> 4, (s[3] - s[1]) >> 6};
  }
  __syncthreads();
  if (thread < kOutputs / 4) SendSums(parts, rank);
  if (thread >= kOwn) return;
  WaitBarrier(&parts.all_arrived, 0);
  int sum = 0;
#pragma unroll
  for (int r = 0; r < kRanks; ++r) sum += parts.arrived[r][thread];
  own.Store(sum);
#endif
}

template <int kColumns>
void LaunchSparse(CudaBackend& backend, const SparseWork& work) {
  const auto kernel = SparseKernel<kColumns>;
  const int64_t groups = CeilDivide(work.matmul.outputs, kColumns * kColumnOutputs);
  const size_t bytes = sizeof(SharedParts<kColumns>) + static_cast<size_t>(work.rank_inputs * kEntryBytes);
  AllowSharedMemory(kernel, bytes);
  Launch(backend.launch_stream(), kernel,
         {dim3(static_cast<unsigned>(groups * kRanks)), dim3(kThreads), bytes, kRanks}, work);
}

}  // namespace

ByInputCopy ByInputCopyOn(const CudaBackend& backend, TernaryLayout layout, int64_t outputs, int64_t inputs) {
  if (backend.properties().major < 9) return {};
  return ByInputCopyOf(layout, outputs, inputs);
}

const uint8_t* ByInput(const CudaBackend& backend, const PackedTernary& w) {
  if (ByInputCopyOn(backend, w.layout, w.outputs, w.inputs).columns == 0) return nullptr;
  return static_cast<const uint8_t*>(w.data.data()) + PackedBytes(w.outputs, w.inputs);
}

void TernarySparse(CudaBackend& backend, const MatmulWork& work, Epilogue epilogue) {
  CHECK(work.tokens == 1, "one token");
  const int64_t rank_inputs = CeilDivide(CeilDivide(work.inputs, kRanks), kChunk) * kChunk;
  const SparseWork sparse{work, epilogue, static_cast<int>(rank_inputs)};
  if (ByInputCopyOf(TernaryLayout::kByInput, work.outputs, work.inputs).columns == 4)
    return LaunchSparse<4>(backend, sparse);
  LaunchSparse<2>(backend, sparse);
}

}  // namespace ternion::cuda
