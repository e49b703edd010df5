// Elementwise loops over one row, bound by memory or cache; the compiler vectorizes them as they stand.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/exp.h"
#include "kernels/cpu/simd/vec.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

void WidenBf16(const uint16_t* __restrict x, int64_t n, float* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] = __builtin_bit_cast(float, static_cast<uint32_t>(x[i]) << 16);
}

float SegmentOfSquares(const float* x, int segment) {
  float sum[32];
  for (int i = 0; i < segment; ++i) sum[i] = x[i] * x[i];
  for (int half = segment / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sum[i] += sum[i + half];
  }
  return sum[0];
}

float SegmentOf32Squares(const float* x) {
  Sixteen sum;
  for (int i = 0; i < kVecsOf16; ++i) {
    const Vec low = Load(x + i * kLanes), high = Load(x + 16 + i * kLanes);
    sum.part[i] = low * low + high * high;
  }
  return TreeSum(sum);
}

void SumSquares(const float* x, int segment, int64_t segments, float* out) {
  for (int64_t s = 0; s < segments; ++s) {
    out[s] = segment == 32 ? SegmentOf32Squares(x + s * 32) : SegmentOfSquares(x + s * segment, segment);
  }
}

void Normalize(const float* x, float root, const float* weight, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] / root * weight[i];
}

void Multiply(const float* x, const float* weight, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * weight[i];
}

void Scale(float factor, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

void Add(const float* y, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void AddInt32(const int32_t* y, int64_t n, int32_t* x) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void Dequantize(const int32_t* sums, float row_scale, const float* weight_scale, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(sums[i]) * (row_scale * weight_scale[i]);
}

void SiluMultiply(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0f + Exp(-gate[i])) * up[i];
}

void Rotate(const float* cos, const float* sin, int64_t half, float* a, float* b) {
  for (int64_t i = 0; i < half; ++i) {
    const float left = a[i], right = b[i];
    a[i] = left * cos[i] - right * sin[i];
    b[i] = right * cos[i] + left * sin[i];
  }
}

}  // namespace

const RowKernels kRowKernels = {WidenBf16, SumSquares, Normalize,  Multiply,     Scale,
                                Add,       AddInt32,   Dequantize, SiluMultiply, Rotate};

}  // namespace ternion::cpu::TERNION_ISA
