// Logits: dot products of float rows with rows of 16-bit floats, each as 16 partial sums by channel modulo 16.
//
// A tile of kWords x kTokens dot products keeps its partial sums in registers, so that a weight is read and
// widened once for kTokens rows. One row is bound by reading the table; many rows by multiplying and adding.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/vec.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

// Registers: kWords * kTokens * kVecsOf16 sums, of 32 with AVX-512 and of 16 without.
#if defined(__AVX512F__)
constexpr int kWords = 4, kTokens = 5;
#elif defined(__AVX2__)
constexpr int kWords = 2, kTokens = 2;
#else
constexpr int kWords = 1, kTokens = 2;
#endif
// Alone, a row takes more words at once: their chains of additions overlap.
constexpr int kWordsAlone = 8 / kVecsOf16 < 2 ? 2 : 8 / kVecsOf16;

using LoadWeights = Vec (*)(const uint16_t*);

template <LoadWeights kLoad, int kW, int kT>
inline void Tile(const float* x, const uint16_t* table, int64_t h, int64_t stride, float* logits) {
  Sixteen sum[kW][kT] = {};
  for (int64_t begin = 0; begin < h; begin += 16) {
    for (int i = 0; i < kVecsOf16; ++i) {
      const int64_t at = begin + i * kLanes;
      Vec weight[kW];
      for (int w = 0; w < kW; ++w) weight[w] = kLoad(table + w * h + at);
      for (int t = 0; t < kT; ++t) {
        const Vec value = Load(x + t * h + at);
        for (int w = 0; w < kW; ++w) sum[w][t].part[i] += value * weight[w];
      }
    }
  }
  for (int w = 0; w < kW; ++w) {
    for (int t = 0; t < kT; ++t) logits[t * stride + w] = TreeSum(sum[w][t]);
  }
}

template <LoadWeights kLoad, int kW, int kT>
void Columns(const float* x, const uint16_t* table, int64_t words, int64_t h, int64_t stride, float* logits) {
  int64_t w = 0;
  for (; w + kW <= words; w += kW) Tile<kLoad, kW, kT>(x, table + w * h, h, stride, logits + w);
  for (; w < words; ++w) Tile<kLoad, 1, kT>(x, table + w * h, h, stride, logits + w);
}

template <LoadWeights kLoad>
void Logits(const float* x, int64_t tokens, const uint16_t* table, int64_t words, int64_t h, int64_t stride,
            float* logits) {
  int64_t t = 0;
  for (; t + kTokens <= tokens; t += kTokens) {
    Columns<kLoad, kWords, kTokens>(x + t * h, table, words, h, stride, logits + t * stride);
  }
  for (; t + 2 <= tokens; t += 2) {
    Columns<kLoad, kWords, 2>(x + t * h, table, words, h, stride, logits + t * stride);
  }
  if (t < tokens) Columns<kLoad, kWordsAlone, 1>(x + t * h, table, words, h, stride, logits + t * stride);
}

}  // namespace

const HeadKernels kHeadKernels = {Logits<LoadBf16>, Logits<LoadF16>};

}  // namespace ternion::cpu::TERNION_ISA
