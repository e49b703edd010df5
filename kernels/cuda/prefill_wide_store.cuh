#pragma once

#include "kernels/cuda/prefill_store.cuh"
#include "kernels/cuda/prefill_wide.cuh"

// From the accumulators of a warpgroup of the wide prefill kernel to rows of the result. Only for code under
// __CUDA_ARCH_FEAT_SM90_ALL.
namespace ternion::cuda::prefill {

// A warpgroup's tile of the result.
struct GroupPlace {
  int64_t output;  // the first of 64
  int64_t token;   // the tile's first
  int tokens;      // of the tile that the matmul has
};

// Piece `kPiece` of the sums: 32 tokens.
template <int kPiece, int kSums>
__device__ __forceinline__ void PutPiece(const int32_t (&sums)[kSums], int32_t* rows) {
  constexpr int kFirst = kPiece * kPieceTokens / 2;
  if constexpr (kFirst < kSums) {
    int32_t* const to = rows + Lane() % 4 * 2 * kRowWords + WarpIndex() % 4 * kTileOutputs + Lane() / 4;
#pragma unroll
    for (int i = 0; i < kPieceTokens / 2 && kFirst + i < kSums; ++i) {
      to[(i / 4 * 8 + (i & 1)) * kRowWords + 8 * (i >> 1 & 1)] = sums[kFirst + i];
    }
  }
}

template <int kSums>
__device__ __forceinline__ void PutPiece(int piece, const int32_t (&sums)[kSums], int32_t* rows) {
  static_assert(kSums <= 8 * kPieceTokens / 2);
  switch (piece) {
    case 0:
      return PutPiece<0>(sums, rows);
    case 1:
      return PutPiece<1>(sums, rows);
    case 2:
      return PutPiece<2>(sums, rows);
    case 3:
      return PutPiece<3>(sums, rows);
    case 4:
      return PutPiece<4>(sums, rows);
    case 5:
      return PutPiece<5>(sums, rows);
    case 6:
      return PutPiece<6>(sums, rows);
    default:
      return PutPiece<7>(sums, rows);
  }
}

// How rows are written: by vectors, of an epilogue that the compiler knows, or one float at a time.
template <Epilogue kEpilogue>
struct VectorRows {
  static constexpr bool kVectors = true;
  static constexpr Epilogue epilogue = kEpilogue;
};
struct AnyRows {
  static constexpr bool kVectors = false;
  Epilogue epilogue;
};

// A thread's share of a piece: four outputs of four tokens, 8 apart. 16 threads take a row: each four neighbours, or four
// outputs 16 apart where rows do not begin at multiples of 16 bytes.
template <bool kVectors>
class PieceShare {
 public:
  static constexpr int kRows = 4;

  // `left`: outputs that the matrix has from the warpgroup's first on.
  __device__ explicit PieceShare(int left)
      : first_(static_cast<int>(threadIdx.x) % 16 * (kVectors ? 4 : 1)),
        row_(static_cast<int>(threadIdx.x) % kGroupThreads / 16),
        left_(left) {}

  __device__ int row(int r) const { return row_ + 8 * r; }
  __device__ int at(int i) const { return first_ + (kVectors ? 1 : 16) * i; }
  __device__ bool has(int i) const { return at(i) < left_; }

  __device__ void Load(const float* from, float (&x)[4]) const {
    if constexpr (kVectors) {
      if (!has(0)) return;
      const float4 v = *reinterpret_cast<const float4*>(from + first_);
      x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (has(i)) x[i] = from[at(i)];
      }
    }
  }
  __device__ void Store(const float (&x)[4], float* to) const {
    if constexpr (kVectors) {
      if (!has(0)) return;
      asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to + first_), "f"(x[0]), "f"(x[1]),
                   "f"(x[2]), "f"(x[3])
                   : "memory");
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (has(i)) to[at(i)] = x[i];
      }
    }
  }
  __device__ void LoadSums(const int32_t* from, int32_t (&v)[4]) const {
    if constexpr (kVectors) {
      const int4 x = *reinterpret_cast<const int4*>(from + first_);
      v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) v[i] = from[at(i)];
    }
  }

 private:
  const int first_;
  const int row_;
  const int left_;
};

// What a warpgroup stores: its tile, what the tokens and outputs are multiplied with, and shared memory of its own.
struct GroupWork {
  GroupPlace place;
  Epilogue epilogue;
  const float* weight_scale;
  const TokenNumbers* numbers;
  int32_t* slots;
};

template <typename How, int kSums>
__device__ __forceinline__ void StorePieces(const Wide& wide, const How& how, const GroupWork& work,
                                            const int32_t (&sums)[kSums]) {
  using Share = PieceShare<How::kVectors>;
  const int64_t pitch = wide.work.outputs;
  const int tokens = work.place.tokens;
  const Share share(static_cast<int>(min(pitch - work.place.output, int64_t{kGroupOutputs})));
  const bool just_sums = how.epilogue == Epilogue::kSums, reads = Reads<1>(how.epilogue);
  float weight_scale[4] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (!just_sums && share.has(i)) weight_scale[i] = work.weight_scale[work.place.output + share.at(i)];
  }
  float* out = wide.out + work.place.token * pitch + work.place.output;
#pragma unroll 1
  for (int piece = 0; piece * kPieceTokens < tokens; ++piece, out += kPieceTokens * pitch) {
    const int first = piece * kPieceTokens;
    int32_t* const slot = work.slots + piece % kPieceSlots * kPieceWords;
    float y[Share::kRows][4] = {};
#pragma unroll
    for (int r = 0; r < Share::kRows; ++r) {
      if (reads && first + share.row(r) < tokens) share.Load(out + share.row(r) * pitch, y[r]);
    }
    PutPiece(piece, sums, slot);
    SyncWarpgroup(WarpIndex() / 4);
#pragma unroll
    for (int r = 0; r < Share::kRows; ++r) {
      if (first + share.row(r) >= tokens) break;
      int32_t v[4];
      share.LoadSums(slot + share.row(r) * kRowWords, v);
      const TokenNumbers number = work.numbers[first + share.row(r)];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t sum = v[i] - number.code_sum;
        const float f[1] = {Dequantized(sum, number.row_scale, weight_scale[i])};
        y[r][i] = just_sums ? __int_as_float(sum) : Finished<1>(how.epilogue, f, y[r][i]);
      }
      share.Store(y[r], out + share.row(r) * pitch);
    }
  }
  SyncWarpgroup(WarpIndex() / 4);  // the next tile writes the slots
}

// Every thread of the warpgroup comes here.
template <int kSums>
__device__ __forceinline__ void StoreGroup(const Wide& wide, const GroupWork& work,
                                           const int32_t (&sums)[kSums]) {
  if (!wide.vectors) return StorePieces(wide, AnyRows{work.epilogue}, work, sums);
  switch (work.epilogue) {
    case Epilogue::kSums:
      return StorePieces(wide, VectorRows<Epilogue::kSums>(), work, sums);
    case Epilogue::kStore:
      return StorePieces(wide, VectorRows<Epilogue::kStore>(), work, sums);
    case Epilogue::kAdd:
      return StorePieces(wide, VectorRows<Epilogue::kAdd>(), work, sums);
    case Epilogue::kGateRelu2:
      return StorePieces(wide, VectorRows<Epilogue::kGateRelu2>(), work, sums);
    case Epilogue::kGateSilu:
      return StorePieces(wide, VectorRows<Epilogue::kGateSilu>(), work, sums);
  }
}

}  // namespace ternion::cuda::prefill
