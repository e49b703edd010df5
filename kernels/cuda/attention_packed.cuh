#pragma once

#include "kernels/cuda/attention_packed_blocks.cuh"
#include "kernels/cuda/attention_packed_turn.cuh"
#include "kernels/cuda/attention_split.cuh"

// Splits (attention_split.cuh) over a packed cache. As many thread blocks as the device holds at a time take a run of tiles
// each: 16 (token, head) pairs of one KV head and one chunk of their context, the chunks in ascending order. What the cache
// has of a chunk is copied to shared memory as it is, keys and values by turns into one of three places, so that a whole
// chunk is on its way while another is worked on. Partial results are merged by a kernel of their own (attention_merge.cu).
//
// Bound by reading the cache or, below 8 bits, about as much by unpacking it.
namespace ternion::cuda {

// Shared memory: ChunkMemory without matrices, then the places of sides.
inline constexpr int kSidePlaces = 3;
template <int kDim, KvFormat kFormat>
int PackedTileBytes(int blocks, int dim) {
  const int side_bytes = SideLayout<kFormat>::Bytes(dim);
  const int beyond =
      SideLayout<kFormat>::Bytes(kDim) - side_bytes;  // PackedBlocks' units that are not the head's
  return ChunkMemory<kDim, 1>::Bytes(0) + kSidePlaces * blocks * side_bytes + beyond;
}

// Where a thread block is in its run of the step's tiles: the piece's number counts fastest, then the KV head, then what the
// piece's pairs are cut into.
struct TileCursor {
  int pieces, kv_heads;
  int piece, kv_head, subtile;
  int left;  // tiles of the run, this one among them

  __device__ TileCursor(const AttentionArguments& arguments, int subtiles)
      : pieces(arguments.slices.splits[0].count), kv_heads(arguments.heads.kv_heads) {
    const int64_t tiles = int64_t{pieces} * kv_heads * subtiles;
    const auto begin = static_cast<int>(tiles * blockIdx.x / gridDim.x);
    left = static_cast<int>(tiles * (blockIdx.x + 1) / gridDim.x) - begin;
    piece = begin % pieces;
    kv_head = begin / pieces % kv_heads;
    subtile = begin / pieces / kv_heads;
  }
  __device__ void Advance() {
    --left;
    if (++piece < pieces) return;
    piece = 0;
    if (++kv_head < kv_heads) return;
    kv_head = 0;
    ++subtile;
  }
};

// Brings one side after the other of chunks to the places in turn. On Hopper four lanes start a block's copy each.
class SideCopies {
 public:
  __device__ SideCopies(const AttentionArguments& arguments, int side_bytes, char* places, uint64_t* barriers)
      : arguments_(arguments), side_bytes_(side_bytes), places_(places), barriers_(barriers) {}

  __device__ char* Place(int side) const {
    return places_ + side % kSidePlaces * arguments_.key_matrices * side_bytes_;
  }
  // In one thread, before all threads meet.
  __device__ void Begin() const {
#if __CUDA_ARCH__ >= 900
    for (int i = 0; i < kSidePlaces; ++i) InitBarrier(barriers_ + i, kChunkBlocks);
    PublishBarriers();
#endif
  }
  // Every side that a tile of the run has, even if the run ends before it.
  template <KvSide kSide>
  __device__ __forceinline__ void Start(const TileCursor& at, int side) const {
    const SplitPiece* const piece = arguments_.slices.splits + at.piece;
#if __CUDA_ARCH__ >= 900
    if (at.left <= 0 || WarpIndex() != 0 || Lane() >= kChunkBlocks) return;
    uint64_t* const barrier = barriers_ + side % kSidePlaces;
    if (Lane() >= SeenBlocks(*piece)) return Arrive(barrier);
    StartCopy(Place(side) + Lane() * side_bytes_, Side<kSide>(*piece, at.kv_head, Lane()),
              static_cast<uint32_t>(side_bytes_), barrier);
#else
    if (at.left > 0) {
      const int blocks = SeenBlocks(*piece), units = side_bytes_ / kUnitBytes;
#pragma unroll 1
      for (int i = static_cast<int>(threadIdx.x); i < blocks * units; i += kGroupThreads) {
        const int block = i / units;
        CopyUnit(SharedAddress(Place(side) + i * kUnitBytes),
                 Side<kSide>(*piece, at.kv_head, block) + (i - block * units) * kUnitBytes);
      }
    }
    CommitCopies();
#endif
  }
  // Until it is there, when kLater sides after it were started. Before Hopper the thread's own share.
  template <int kLater>
  __device__ __forceinline__ void Await(int side) const {
#if __CUDA_ARCH__ >= 900
    WaitBarrier(barriers_ + side % kSidePlaces, static_cast<uint32_t>(side / kSidePlaces % 2));
#else
    AwaitCopies<kLater>();
#endif
  }
  // After threads wrote to a place, before the next copy to it.
  __device__ static void EndWrites() {
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
  }

 private:
  // Blocks of the piece's chunk that one of its tokens sees.
  __device__ static int SeenBlocks(const SplitPiece& piece) {
    return min(kChunkBlocks,
               (piece.position + piece.tokens - 1) / kKvBlockTokens + 1 - piece.chunk * kChunkBlocks);
  }
  template <KvSide kSide>
  __device__ const char* Side(const SplitPiece& piece, int kv_head, int block) const {
    return PackedBlock(arguments_, piece.blocks[block], kv_head, 2 * side_bytes_) +
           (kSide == KvSide::kKeys ? 0 : side_bytes_);
  }

  const AttentionArguments& arguments_;
  const int side_bytes_;
  char* const places_;
  uint64_t* const barriers_;
};

// A chunk's result, of a warp's quarter of the channels.
template <int kDim>
__device__ __forceinline__ void StorePackedTile(const AttentionArguments& arguments, const SplitPiece& piece,
                                                const QueryTile& tile, const WarpRows& rows,
                                                const PartialSoftmax<kDim / 32>& softmax) {
  const int first_channel = WarpIndex() * (kDim / 4);
  if (piece.position + piece.tokens <= kChunkTokens) {
    StoreResult(arguments, tile, rows, softmax, first_channel);
  } else {
    StorePartial(arguments, piece, tile, rows, softmax, first_channel);
  }
}

// A tile at the cursor, whose keys are side `side` and values the next one; `next`: the cursor behind it.
template <int kDim, KvFormat kFormat>
__device__ __forceinline__ void TakeTile(const AttentionArguments& arguments, const SideCopies& copies,
                                         const TileCursor& at, const TileCursor& next, int side,
                                         bool new_queries) {
  using Layout = SideLayout<kFormat>;
  const int dim = arguments.heads.head_dim;
  const ChunkMemory<kDim, 1> memory(0, 0);
  const SplitPiece piece = arguments.slices.splits[at.piece];
  const QueryTile tile =
      TileOf(arguments, piece.row, piece.tokens, piece.position, at.kv_head, at.subtile, kSplitRows);
  const SplitChunk chunk(piece, tile);
  const bool turn = arguments.cos_sin != nullptr;
  if (new_queries && turn) {
    TurnQueries<kDim>(arguments, memory.queries, tile);
  } else if (new_queries) {
    LoadQueries<kDim, kSplitRows, kGroupThreads>(memory.queries, arguments, tile);
  }
  copies.Await<1>(side);
  __syncthreads();  // keys and queries are there, the tile before is done with
  copies.Start<KvSide::kKeys>(next, side + 2);
  const PackedBlocks<kDim, kFormat> blocks = {copies.Place(side), copies.Place(side + 1), dim,
                                              chunk.first_block == 0};
  if (const int fresh = tile.position / kKvBlockTokens - chunk.first_block; turn && fresh < kChunkBlocks) {
    const FreshToken<kDim, kFormat> token(arguments, tile);
    copies.Await<1>(side + 1);
    __syncthreads();
    token.Pack(blocks.Keys(fresh), blocks.Values(fresh),
               PackedBlock(arguments, Pick(piece.blocks, fresh), tile.kv_head, 2 * Layout::Bytes(dim)),
               memory.bytes_of_weights());
    SideCopies::EndWrites();
  }

  const WarpRows rows(tile, 0);
  const bool visible = WarpIndex() < chunk.blocks;
  Scores scores;
  if (visible) ScoreChunk(memory, blocks, rows, chunk.first_block + WarpIndex(), scores);
  __syncthreads();  // the largest scores are there, keys done with
  copies.Start<KvSide::kValues>(next, side + 3);
  if (visible) StoreWeights(memory, rows, arguments.scale, scores);
  copies.Await<2>(side + 1);
  __syncthreads();  // weights and values are there
  if (const int seen = tile.LastPosition() + 1 - chunk.first_block * kKvBlockTokens;
      seen < chunk.blocks * kKvBlockTokens) {
    if (visible) blocks.Hide(WarpIndex(), seen - WarpIndex() * kKvBlockTokens);
    SideCopies::EndWrites();
    __syncthreads();
  }
  PartialSoftmax<kDim / 32> softmax;
  AddChunk(memory, blocks, rows, arguments.scale, chunk.blocks, softmax);
  StorePackedTile<kDim>(arguments, piece, tile, rows, softmax);
}

// As many thread blocks on a multiprocessor as its registers hold.
template <int kDim>
inline constexpr int kPackedTileBlocks{kDim > 128 ? 2 : 4};

// `subtiles`: of a piece and KV head.
template <int kDim, KvFormat kFormat>
__global__ void __launch_bounds__(kGroupThreads, kPackedTileBlocks<kDim>)
    PackedTiles(const __grid_constant__ AttentionArguments arguments, int subtiles) {
  StartNext();
  __shared__ uint64_t barriers[kSidePlaces];
  const SideCopies copies(arguments, SideLayout<kFormat>::Bytes(arguments.heads.head_dim),
                          ChunkMemory<kDim, 1>::matrices(), barriers);
  TileCursor at(arguments, subtiles);
  if (threadIdx.x == 0) copies.Begin();
  __syncthreads();
  const bool turn = arguments.cos_sin != nullptr;
  if (!turn) WaitForPrevious();
  copies.Start<KvSide::kKeys>(at, 0);
  copies.Start<KvSide::kValues>(at, 1);
  if (turn) WaitForPrevious();
  int row = -1;
  for (int side = 0; at.left > 0; side += 2) {
    const int next_row = arguments.slices.splits[at.piece].row;
    TileCursor next = at;
    next.Advance();
    TakeTile<kDim, kFormat>(arguments, copies, at, next, side, next_row != row || at.piece == 0);
    row = next_row;
    at = next;
  }
}

}  // namespace ternion::cuda
