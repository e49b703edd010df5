#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// Hopper's matrix instruction of a warpgroup (four warps), PTX ISA 9.7.15. Only for code under
// __CUDA_ARCH_FEAT_SM90_ALL.
//
// A comes from registers: of lane 4 g + q of warp w, a[0] is output 16 w + g, inputs 4 q .. 4 q + 3; a[1] output + 8;
// a[2] inputs + 16; a[3] both. B lies in shared memory, 128 bytes a token, as SwizzledTile says. Of the result the lane
// holds d[4 j + i]: output 16 w + g + 8 * (i >> 1), token 8 j + 2 q + (i & 1).
namespace ternion::cuda {

// The descriptor of a B whose rows are 128 bytes long and lie one after the other; the 16-byte piece p of row r lies in
// place p ^ (r & 7). `address` is a multiple of 1,024; the k-th 32 bytes of the rows are at + 2 k.
__device__ __forceinline__ uint64_t SwizzledTile(uint32_t address) {
  constexpr uint64_t kLeadingBytes = 16, kEightRowsBytes = 1024, kSwizzle128 = 1;
  return (address >> 4 & 0x3fff) | kLeadingBytes >> 4 << 16 | kEightRowsBytes >> 4 << 32 | kSwizzle128 << 62;
}

// Before the first instruction, and whenever registers that one reads were written since.
__device__ __forceinline__ void WgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Ends a group; the groups of a warpgroup end in order.
__device__ __forceinline__ void WgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// All groups but the last `kPending` are done: their shared memory and A registers are free.
template <int kPending>
__device__ __forceinline__ void WgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from moving reads of the results above a wait.
template <int kN>
__device__ __forceinline__ void WgmmaResults(int32_t (&d)[kN]) {
#pragma unroll
  for (int i = 0; i < kN; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

// d [64 outputs, kTokens] += a [64, 32] . b [kTokens, 32]^T; where `accumulate` is 0, what was in d does not count.
template <int kTokens>
struct Wgmma;

// Ten registers of d, t0 to t9, as the instruction names them and as operands of it; t is empty for the first ten.
#define TERNION_NAMES(t) \
  "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define TERNION_OPERANDS(t)                                                                                \
  "+r"(d[t##0]), "+r"(d[t##1]), "+r"(d[t##2]), "+r"(d[t##3]), "+r"(d[t##4]), "+r"(d[t##5]), "+r"(d[t##6]), \
      "+r"(d[t##7]), "+r"(d[t##8]), "+r"(d[t##9])
#define TERNION_UNWRAP(...) __VA_ARGS__
// `tokens`, d's names and operands, and the names of what follows them: a, b, accumulate.
#define TERNION_WGMMA(tokens, names, operands, a_names, b_name, accumulate_name)                             \
  template <>                                                                                                \
  struct Wgmma<tokens> {                                                                                     \
    __device__ __forceinline__ static void Run(int32_t (&d)[tokens / 2], const uint32_t (&a)[4], uint64_t b, \
                                               int accumulate) {                                             \
      asm volatile("{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, " accumulate_name                     \
                   ", 0;\nwgmma.mma_async.sync.aligned.m64n" #tokens "k32.s32.u8.s8 {" names "}, {" a_names  \
                   "}, " b_name ", accumulate;\n}"                                                           \
                   : TERNION_UNWRAP operands                                                                 \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));                   \
    }                                                                                                        \
  }

TERNION_WGMMA(64, TERNION_NAMES() TERNION_NAMES(1) TERNION_NAMES(2) "%30,%31",
              (TERNION_OPERANDS(), TERNION_OPERANDS(1), TERNION_OPERANDS(2), "+r"(d[30]), "+r"(d[31])),
              "%32, %33, %34, %35", "%36", "%37");
TERNION_WGMMA(128,
              TERNION_NAMES() TERNION_NAMES(1) TERNION_NAMES(2) TERNION_NAMES(3) TERNION_NAMES(4)
                  TERNION_NAMES(5) "%60,%61,%62,%63",
              (TERNION_OPERANDS(), TERNION_OPERANDS(1), TERNION_OPERANDS(2), TERNION_OPERANDS(3),
               TERNION_OPERANDS(4), TERNION_OPERANDS(5), "+r"(d[60]), "+r"(d[61]), "+r"(d[62]), "+r"(d[63])),
              "%64, %65, %66, %67", "%68", "%69");
TERNION_WGMMA(160,
              TERNION_NAMES() TERNION_NAMES(1) TERNION_NAMES(2) TERNION_NAMES(3) TERNION_NAMES(4)
                  TERNION_NAMES(5) TERNION_NAMES(6) "%70,%71,%72,%73,%74,%75,%76,%77,%78,%79",
              (TERNION_OPERANDS(), TERNION_OPERANDS(1), TERNION_OPERANDS(2), TERNION_OPERANDS(3),
               TERNION_OPERANDS(4), TERNION_OPERANDS(5), TERNION_OPERANDS(6), TERNION_OPERANDS(7)),
              "%80, %81, %82, %83", "%84", "%85");
TERNION_WGMMA(176,
              TERNION_NAMES() TERNION_NAMES(1) TERNION_NAMES(2) TERNION_NAMES(3) TERNION_NAMES(4)
                  TERNION_NAMES(5) TERNION_NAMES(6) TERNION_NAMES(7) "%80,%81,%82,%83,%84,%85,%86,%87",
              (TERNION_OPERANDS(), TERNION_OPERANDS(1), TERNION_OPERANDS(2), TERNION_OPERANDS(3),
               TERNION_OPERANDS(4), TERNION_OPERANDS(5), TERNION_OPERANDS(6), TERNION_OPERANDS(7),
               "+r"(d[80]), "+r"(d[81]), "+r"(d[82]), "+r"(d[83]), "+r"(d[84]), "+r"(d[85]), "+r"(d[86]),
               "+r"(d[87])),
              "%88, %89, %90, %91", "%92", "%93");
TERNION_WGMMA(256,
              TERNION_NAMES() TERNION_NAMES(1) TERNION_NAMES(2) TERNION_NAMES(3) TERNION_NAMES(4)
                  TERNION_NAMES(5) TERNION_NAMES(6) TERNION_NAMES(7) TERNION_NAMES(8) TERNION_NAMES(9)
                      TERNION_NAMES(10) TERNION_NAMES(11) "%120,%121,%122,%123,%124,%125,%126,%127",
              (TERNION_OPERANDS(), TERNION_OPERANDS(1), TERNION_OPERANDS(2), TERNION_OPERANDS(3),
               TERNION_OPERANDS(4), TERNION_OPERANDS(5), TERNION_OPERANDS(6), TERNION_OPERANDS(7),
               TERNION_OPERANDS(8), TERNION_OPERANDS(9), TERNION_OPERANDS(10), TERNION_OPERANDS(11),
               "+r"(d[120]), "+r"(d[121]), "+r"(d[122]), "+r"(d[123]), "+r"(d[124]), "+r"(d[125]),
               "+r"(d[126]), "+r"(d[127])),
              "%128, %129, %130, %131", "%132", "%133");

#undef TERNION_NAMES
#undef TERNION_OPERANDS
#undef TERNION_UNWRAP
#undef TERNION_WGMMA

}  // namespace ternion::cuda
