// 5 to 16 tokens, of small matrices up to 64, 16 at a time: by mma.m16n8k32 of unsigned weight codes and signed activation
// codes. As in TernaryDecode a block takes neighbouring tiles of 16 outputs and its warps divide the inputs among them,
// whole units each; a warp streams its share of every tile through a ring of its own and adds to the block's sums. Its
// share of the codes it keeps in registers: they are read once, as they lie, and leave shared memory to the weights.
//
// A wide row is divided among the blocks of a cluster, each of which finishes some of the tiles that they have in common.
// Bound by reading the weights, small matrices by the way from the codes to the outputs: a ring is half full before the
// kernels before this one are done, so that the codes need not queue behind weights.
#include <algorithm>

#include "kernels/cuda/ternary_epilogue.cuh"
#include "kernels/cuda/ternary_few.cuh"

namespace ternion::cuda {
namespace {

using namespace few;  // NOLINT: this file's own

constexpr int kGroupTiles = 2;  // token tiles of a block, at most

// A block's outputs: a thread takes four outputs of one token at a time.
template <int kTokenTiles, int kMatrices>
class FewOutputs {
 public:
  // Fetches the scales, and what the epilogue reads of y.
  __device__ FewOutputs(const FewWork& work, const FewPart& part)
      : work_(work),
        part_(part),
        first_(static_cast<int64_t>(part.tiles.first) * kTileOutputs),
        columns_(part.tiles.count * kTileOutputs),
        left_(static_cast<int>(min(static_cast<int64_t>(columns_), work.rows.matmul.outputs - first_))) {
    if (work.epilogue == Epilogue::kSums) return;
    const MatmulWork& matmul = work.rows.matmul;
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll 1
    for (int i = thread; i < left_; i += static_cast<int>(blockDim.x)) {
      CopyFloat(scales(0) + i, matmul.weight_scale + first_ + i);
      if (kMatrices == 2) CopyFloat(scales(1) + i, work.rows.up_scale + first_ + i);
    }
    if (thread < part.tokens) {
      CopyFloat(scales(kMatrices) + thread, matmul.row_scale + part.first_token + thread);
    }
    if (work.shape.before == 0) return;
#pragma unroll 1
    for (int i = thread; i < part.own * kQuads; i += static_cast<int>(blockDim.x)) {
      const Quad quad(*this, i);
      if (quad.exists) CopyFour(before(i), matmul.y + quad.place);
    }
  }

  // When all threads' copies and all warps' sums are there.
  __device__ void Store(const int* sums) const {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < part_.own * kQuads; i += static_cast<int>(blockDim.x)) {
      const Quad quad(*this, i);
      if (!quad.exists) continue;
      const int* const of_quad = sums + quad.sum;
      if (work_.epilogue == Epilogue::kSums) {
        StoreFour(work_.rows.matmul.sums + quad.place, quad.column, of_quad[0], of_quad[4], of_quad[8],
                  of_quad[12]);
        continue;
      }
      float y[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        float f[kMatrices];
#pragma unroll
        for (int m = 0; m < kMatrices; ++m) {
          f[m] = Dequantized(of_quad[m * kTileWords + 4 * k], scales(kMatrices)[quad.token],
                             scales(m)[quad.column + k]);
        }
        y[k] = Finished<kMatrices>(work_.epilogue, f, Before(i, quad, k));
      }
      StoreFour(work_.rows.matmul.y + quad.place, quad.column, y[0], y[1], y[2], y[3]);
    }
  }

 private:
  static constexpr int kTokens = kTokenTiles * kTileTokens;
  static constexpr int kQuads = kTokens * kTileOutputs / 4;  // of a tile
  static constexpr int kTileWords = kTokenTiles * kTileSums;

  // Four neighbouring outputs of one token.
  struct Quad {
    int token;
    int column;     // of the cluster's, the first output's
    int sum;        // where the first output's lies; the others' are four words apart
    int64_t place;  // in y
    bool exists;

    __device__ Quad(const FewOutputs& outputs, int index) {
      const int of_tile = index % 4, tile = index / kQuads;
      token = index / 4 % kTokens;
      column = (tile * outputs.work_.shape.slices + outputs.part_.slice) * kTileOutputs + of_tile * 4;
      sum = (tile * kMatrices * kTokenTiles + token / kTileTokens) * kTileSums +
            (of_tile / 2 * 2 + token % 2) * kNumberPitch + of_tile % 2 * 16 + token % kTileTokens / 2;
      place =
          (outputs.part_.first_token + token) * outputs.work_.rows.matmul.outputs + outputs.first_ + column;
      exists = token < outputs.part_.tokens && column < outputs.left_;
    }
  };

  // Of a matrix; behind those of the matrices come the rows'.
  __device__ float* scales(int matrix) const {
    return reinterpret_cast<float*>(DynamicShared() + work_.shape.scales) + matrix * columns_;
  }
  __device__ float* before(int index) const {
    return reinterpret_cast<float*>(DynamicShared() + work_.shape.before) + index * 4;
  }
  __device__ float Before(int index, const Quad& quad, int k) const {
    if (!Reads<kMatrices>(work_.epilogue)) return 0;
    if (work_.shape.before != 0) return before(index)[k];
    return quad.column + k < left_ ? work_.rows.matmul.y[quad.place + k] : 0;
  }
  template <typename T>
  __device__ void StoreFour(T* to, int column, T a, T b, T c, T d) const {
    struct alignas(16) Four {
      T v[4];
    };
    const Four four = {{a, b, c, d}};
    if (work_.vectors) {
      *reinterpret_cast<Four*>(to) = four;
      return;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (column + k < left_) to[k] = four.v[k];
    }
  }

  const FewWork& work_;
  const FewPart& part_;
  const int64_t first_;
  const int columns_;
  const int left_;  // columns that are outputs
};

// Adds a warp's sums of a tile, less the codes' own, to `sums` of the cluster's block `owner`.
template <int kTokenTiles>
__device__ __forceinline__ void GiveSums(const TileSums<kTokenTiles>& tile,
                                         const int (&code_sums)[kTokenTiles][2], int slices, int owner,
                                         int* sums) {
  const auto give = [&](const auto& add) {
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        add(n * kTileSums + i * kNumberPitch, tile.total(n, i) - code_sums[n][i % 2]);
      }
    }
  };
  if (slices > 1) {
    const uint32_t peer = PeerAddress(sums, owner);
    give([&](int place, int sum) { AddToPeer(peer + place * 4, sum); });
  } else {
    give([&](int place, int sum) { atomicAdd(sums + place, sum); });
  }
}

// A warp's share of every tile of the cluster. `sums` are the block's.
template <int kTokenTiles, int kMatrices, int kUnits>
__device__ __forceinline__ void MultiplyTiles(const FewWork& work, const FewPart& part,
                                              const UnitCodes<kTokenTiles> (&codes)[kUnits],
                                              const int (&code_sums)[kTokenTiles][2],
                                              FewRing<kMatrices, kUnits>& ring, int* sums) {
  constexpr int kTileWords = kTokenTiles * kTileSums;
  const int slices = work.shape.slices;
  int owner = 0;
  int* to = sums + Lane();
#pragma unroll 1
  for (int tile = 0; tile < part.tiles.count; ++tile) {
#pragma unroll 1
    for (int m = 0; m < kMatrices; ++m) {
      const uint4* const weights = ring.Wait() + Lane();
      TileSums<kTokenTiles> mine;
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        if (u >= part.units.count) break;
        mine.Add(weights[u * 2 * kWarp], weights[u * 2 * kWarp + kWarp], codes[u]);
      }
      ring.Release();
      GiveSums<kTokenTiles>(mine, code_sums, slices, owner, to + m * kTileWords);
    }
    if (++owner == slices) owner = 0, to += kMatrices * kTileWords;
  }
}

template <int kTokenTiles, int kUnits>
__device__ __forceinline__ void LoadCodes(const MatmulWork& matmul, const FewPart& part,
                                          UnitCodes<kTokenTiles> (&codes)[kUnits]) {
  const int last = part.units.first + part.units.count - 1;
  if (matmul.inputs % 16 == 0 && reinterpret_cast<uintptr_t>(matmul.codes) % 16 == 0) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) codes[u].Load(matmul, part, min(part.units.first + u, last), true);
  } else {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) codes[u].Load(matmul, part, min(part.units.first + u, last), false);
  }
}

// Sums of a warp's codes: lane 4 g + q gets those of tokens 2 q, 2 q + 1 of each tile.
template <int kTokenTiles, int kUnits>
__device__ __forceinline__ void SumCodes(const FewPart& part, const UnitCodes<kTokenTiles> (&codes)[kUnits],
                                         int (&code_sums)[kTokenTiles][2]) {
  TileSums<kTokenTiles> ones;
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    if (u < part.units.count) ones.AddOnes(codes[u]);
  }
#pragma unroll
  for (int n = 0; n < kTokenTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) code_sums[n][i] = ones.plain_total(n, i);
  }
}

// Warps of a block that have up to kUnits units each.
template <int kUnits>
constexpr int kMostWarps = kUnits == 4 ? 8 : 16;

// Blocks (x, y): cluster by cluster, tokens from 8 kTokenTiles y on.
template <int kTokenTiles, int kMatrices, int kUnits>
__global__ void __launch_bounds__(kMostWarps<kUnits>* kWarp, 1)
    FewKernel(const __grid_constant__ FewWork work) {
  StartNext();
  const FewPart part(work, kTokenTiles * kTileTokens);
  FewRing<kMatrices, kUnits> ring(work, part);
  int* const sums = reinterpret_cast<int*>(DynamicShared() + work.shape.sums);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < part.own * kMatrices * kTokenTiles * kTileSums;
       i += static_cast<int>(blockDim.x)) {
    sums[i] = 0;
  }
  const bool alone = work.shape.slices == 1;
  if (alone) {
    __syncthreads();
  } else {
    ArriveAtCluster();
  }
  WaitForPrevious();
  UnitCodes<kTokenTiles> codes[kUnits];
  LoadCodes<kTokenTiles, kUnits>(work.rows.matmul, part, codes);
  const FewOutputs<kTokenTiles, kMatrices> outputs(work, part);
  int code_sums[kTokenTiles][2];
  SumCodes<kTokenTiles, kUnits>(part, codes, code_sums);
  ring.FillStages(work.shape.early, work.shape.stages);
  if (!alone) WaitForCluster();
  MultiplyTiles<kTokenTiles, kMatrices, kUnits>(work, part, codes, code_sums, ring, sums);
  WaitForCopies();
  if (alone) {
    __syncthreads();
  } else {
    ArriveAtCluster();
    WaitForCluster();
  }
  outputs.Store(sums);
}

constexpr int64_t kReserve = 1024;  // of a block's shared memory, the driver's
constexpr int64_t kAlignment = 128;
constexpr int64_t kMostSlices = 8;
constexpr int64_t kMostShare = 32;  // units of a block
constexpr int64_t kSmallShare = 12;
constexpr int64_t kMostStages = 4;
constexpr int64_t kEarlyStages = 2;

int64_t Aligned(int64_t bytes) { return CeilDivide(bytes, kAlignment) * kAlignment; }

// Whether all rows of the result are aligned to four outputs.
bool HasVectors(const MatmulWork& work) {
  const void* const to = work.y != nullptr ? static_cast<const void*>(work.y) : work.sums;
  return work.outputs % 4 == 0 && reinterpret_cast<uintptr_t>(to) % 16 == 0;
}

int64_t TokenGroups(const MatmulWork& work) { return CeilDivide(work.tokens, kGroupTiles * kTileTokens); }

// How a matmul is cut, before it is known how many clusters there are.
struct FewPlan {
  int slices;
  int units;  // of a warp, at most: 1, 2 or 4
  int warps;
  int64_t clusters;  // wanted

  // At least so many are to be had: a cluster of more than two blocks has to find its multiprocessors in one part of the
  // chip.
  int64_t sure_clusters() const { return slices <= 2 ? clusters : CeilDivide(clusters * 3, 4); }
};

FewPlan PlanOf(const CudaBackend& backend, const RowsWork& work) {
  const int64_t tiles = Tiles(work.matmul.outputs), units = Units(work.matmul.inputs);
  const int64_t processors = backend.multiprocessors(), groups = TokenGroups(work.matmul);
  FewPlan plan = {1, 2, 0, 0};
  while (CeilDivide(units, plan.slices) > kMostShare) plan.slices *= 2;
  const int64_t share = CeilDivide(units, plan.slices);
  // What a warp gives to the sums costs as much as half a unit; but with one or two tiles its latency counts.
  if (share <= kSmallShare && tiles * work.matrices() * groups <= 2 * processors) plan.units = 1;
  if (share > 24) plan.units = 4;
  plan.warps = static_cast<int>(CeilDivide(share, plan.units));
  // Two blocks share a multiprocessor where one has too few warps.
  const bool two = plan.units == 2 && plan.warps <= 8 && groups == 1 && tiles >= 2 * processors;
  if (two) plan.warps = static_cast<int>(std::min<int64_t>(share, plan.warps + plan.warps % 2));
  plan.clusters = std::max<int64_t>(1, processors * (two ? 2 : 1) / plan.slices);
  return plan;
}

FewShape ShapeOf(const CudaBackend& backend, const RowsWork& work, Epilogue epilogue, const FewPlan& plan,
                 int64_t clusters) {
  const int64_t tiles = Tiles(work.matmul.outputs), matrices = work.matrices();
  const int64_t token_tiles = work.matmul.tokens <= kTileTokens ? 1 : kGroupTiles;
  FewShape shape = {};
  shape.slices = plan.slices;
  shape.clusters = static_cast<int>(std::min(tiles, clusters));
  shape.warps = plan.warps;
  shape.tile_units = static_cast<int>(Units(work.matmul.inputs));
  shape.tiles = Division::Of(tiles, shape.clusters);
  shape.units = Division::Of(shape.tile_units, plan.slices * plan.warps);
  const int64_t most_tiles = shape.tiles.most(), own = CeilDivide(most_tiles, plan.slices);
  const int64_t sums = own * matrices * token_tiles * kTileSums * 4;
  const int64_t scales = Aligned((matrices * most_tiles * kTileOutputs + token_tiles * kTileTokens) * 4);
  const bool keeps =
      epilogue != Epilogue::kSums && epilogue != Epilogue::kStore && matrices == 1 && HasVectors(work.matmul);
  const int64_t before = keeps ? own * token_tiles * kTileTokens * kTileOutputs * 4 : 0;
  const int64_t stage = plan.warps * plan.units * kUnitBytes, items = most_tiles * matrices;
  const int64_t most = static_cast<int64_t>(backend.properties().sharedMemPerBlockOptin) - 2 * kReserve;
  const int64_t stages = std::min({kMostStages, items, (most - sums - scales - before) / stage});
  shape.stages = static_cast<int>(std::max<int64_t>(stages, 0));
  shape.early = static_cast<int>(std::min(kEarlyStages, stages));
  shape.ring = static_cast<int>(Aligned(plan.warps * shape.stages * 8));
  shape.sums = shape.ring + static_cast<int>(shape.stages * stage);
  shape.scales = shape.sums + static_cast<int>(sums);
  shape.before = keeps ? shape.scales + static_cast<int>(scales) : 0;
  shape.bytes = shape.scales + static_cast<int>(scales + before);
  return shape;
}

LaunchShape LaunchOf(const FewShape& shape, int64_t groups) {
  return {dim3(static_cast<unsigned>(shape.clusters * shape.slices), static_cast<unsigned>(groups)),
          dim3(static_cast<unsigned>(shape.warps * kWarp)), static_cast<size_t>(shape.bytes), shape.slices};
}

// How many clusters of this shape run at a time: others would wait for one of them to end.
int64_t ClustersAtOnce(const CudaBackend& backend, void (*kernel)(FewWork), const FewShape& shape) {
  cudaLaunchAttribute cluster = {};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = static_cast<unsigned>(shape.slices);
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(shape.slices * backend.multiprocessors()));
  config.blockDim = dim3(static_cast<unsigned>(shape.warps * kWarp));
  config.dynamicSmemBytes = static_cast<size_t>(shape.bytes);
  config.attrs = &cluster;
  config.numAttrs = 1;
  int clusters = 0;
  CUDA_CHECK(cudaOccupancyMaxActiveClusters(&clusters, reinterpret_cast<const void*>(kernel), &config));
  return clusters;
}

template <int kTokenTiles, int kMatrices, int kUnits>
void LaunchFew(CudaBackend& backend, const RowsWork& rows, Epilogue epilogue, const FewPlan& plan) {
  const auto kernel = FewKernel<kTokenTiles, kMatrices, kUnits>;
  FewShape shape = ShapeOf(backend, rows, epilogue, plan, plan.sure_clusters());
  AllowSharedMemory(kernel, static_cast<size_t>(shape.bytes));
  if (plan.sure_clusters() < plan.clusters) {
    const int64_t clusters = ClustersAtOnce(backend, kernel, shape);
    shape = ShapeOf(backend, rows, epilogue, plan, std::clamp(clusters, plan.sure_clusters(), plan.clusters));
    AllowSharedMemory(kernel, static_cast<size_t>(shape.bytes));
  }
  Launch(backend.launch_stream(), kernel, LaunchOf(shape, TokenGroups(rows.matmul)),
         FewWork{rows, epilogue, HasVectors(rows.matmul), shape});
}

template <int kTokenTiles, int kMatrices>
void LaunchUnits(CudaBackend& backend, const RowsWork& rows, Epilogue epilogue) {
  const FewPlan plan = PlanOf(backend, rows);
  if (plan.units == 1) return LaunchFew<kTokenTiles, kMatrices, 1>(backend, rows, epilogue, plan);
  if (plan.units == 2) return LaunchFew<kTokenTiles, kMatrices, 2>(backend, rows, epilogue, plan);
  LaunchFew<kTokenTiles, kMatrices, 4>(backend, rows, epilogue, plan);
}

}  // namespace

bool TernaryFewFits(const CudaBackend& backend, const RowsWork& work) {
  constexpr int64_t kMostBytes[] = {0, 0, 24 << 20, 10 << 20, 3 << 20};  // of weights, by groups of tokens
  const MatmulWork& matmul = work.matmul;
  const int64_t groups = TokenGroups(matmul);
  if (groups > 4 || Units(matmul.inputs) > kMostSlices * kMostShare) return false;
  const FewPlan plan = PlanOf(backend, work);
  if (plan.slices > 1 && backend.properties().major < 9) return false;
  const FewShape shape = ShapeOf(backend, work, Epilogue::kAdd, plan, plan.sure_clusters());
  if (shape.stages < std::min(2, shape.tiles.most())) return false;
  return groups == 1 || work.matrices() * PackedBytes(matmul.outputs, matmul.inputs) <= kMostBytes[groups];
}

void TernaryFew(CudaBackend& backend, const RowsWork& work, Epilogue epilogue) {
  const bool one_tile = work.matmul.tokens <= kTileTokens;
  if (work.matrices() == 2) {
    return one_tile ? LaunchUnits<1, 2>(backend, work, epilogue) : LaunchUnits<2, 2>(backend, work, epilogue);
  }
  one_tile ? LaunchUnits<1, 1>(backend, work, epilogue) : LaunchUnits<2, 1>(backend, work, epilogue);
}

}  // namespace ternion::cuda
