// kByOutput: dot products of packed rows in plain C++, shaped so that a compiler vectorizes it. A product of
// a code (0 to 2) and an activation is within 256, so 31 lines of four fields fit 16-bit sums before they are
// widened.
#ifndef __AVX2__

#include "kernels/cpu/simd/ternary_functions.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

constexpr int64_t kSafeGroups = 31;

// row [groups, 64], codes [groups, 4, 64]
int32_t DotGroups(const uint8_t* row, int64_t groups, const int8_t* codes) {
  int16_t sums[64] = {};
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* line = row + g * 64;
    const int8_t* code = codes + g * 256;
    for (int j = 0; j < 64; ++j) {
      const int low = (line[j] & 3) * code[j] + (line[j] >> 2 & 3) * code[64 + j];
      const int high = (line[j] >> 4 & 3) * code[128 + j] + (line[j] >> 6) * code[192 + j];
      sums[j] = static_cast<int16_t>(sums[j] + low + high);
    }
  }
  int32_t sum = 0;
  for (int16_t part : sums) sum += part;
  return sum;
}

int32_t DotRow(const uint8_t* row, int64_t groups, const int8_t* codes) {
  int32_t sum = 0;
  for (int64_t g = 0; g < groups; g += kSafeGroups) {
    const int64_t some = groups - g < kSafeGroups ? groups - g : kSafeGroups;
    sum += DotGroups(row + g * 64, some, codes + g * 256);
  }
  return sum;
}

}  // namespace

void DotRows(const RowDots& work) {
  for (int64_t r = 0; r < work.row_count; ++r) {
    const uint8_t* row = work.rows + r * work.groups * 64;
    for (int64_t t = 0; t < work.tokens; ++t) {
      const int32_t sum = DotRow(row, work.groups, work.codes + t * work.groups * 256);
      work.out[t * work.out_stride + r] = sum - work.code_sums[t];
    }
  }
}

void DotListedRows(const ListedRowDots& work) {
  for (int64_t i = 0; i < work.listed; ++i) {
    const uint8_t* row = work.rows + work.list[i] * work.groups * 64;
    work.out[i] = DotRow(row, work.groups, work.codes) - work.code_sum;
  }
}

}  // namespace ternion::cpu::TERNION_ISA

#endif  // __AVX2__
