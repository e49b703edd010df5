#include "kernels/cpu/pack_kv.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/scratch.h"

namespace ternion::cpu {
namespace {

constexpr float kLargestHalf = 65504.0f;

// A half and the float that it is.
struct Rounded {
  Float16 half;
  float value;
};

Rounded Widened(const HalfKernels& kernels, uint16_t bits) {
  Rounded rounded{{bits}, 0};
  kernels.widen(&bits, 1, &rounded.value);
  return rounded;
}

Rounded Nearest(const HalfKernels& kernels, float x) {
  uint16_t bits;
  const float bounded = std::clamp(x, -kLargestHalf, kLargestHalf);
  kernels.narrow(&bounded, 1, &bits);
  return Widened(kernels, bits);
}

// The least half that is not below x, the largest where none is; x >= 0.
Rounded RoundUp(const HalfKernels& kernels, float x) {
  const Rounded near = Nearest(kernels, x);
  const bool below = near.value < std::min(x, kLargestHalf);
  return below ? Widened(kernels, near.half.bits + 1) : near;
}

// The largest half that is not above x, the least where none is.
Rounded RoundDown(const HalfKernels& kernels, float x) {
  const Rounded near = Nearest(kernels, x);
  if (near.value <= std::max(x, -kLargestHalf)) return near;
  constexpr uint16_t kSign = 0x8000;
  if (near.half.bits == 0) return Widened(kernels, kSign + 1);
  const bool negative = (near.half.bits & kSign) != 0;
  return Widened(kernels, static_cast<uint16_t>(negative ? near.half.bits + 1 : near.half.bits - 1));
}

// What codes are multiplied with to quantize; 0 where all numbers are the same.
float Inverse(float step) { return step > 0 ? 1.0f / step : 0.0f; }

// One scale: codes of `bits` bits around 0.
void QuantizeHead(const FloatKernels& kernels, int bits, int dim, const float* x, Float16* scale,
                  int8_t* codes) {
  const int most = (1 << (bits - 1)) - 1;
  float low, high;
  kernels.quantize->range(x, dim, &low, &high);
  const float abs_max = std::abs(std::max(-low, high));
  const Rounded step = RoundUp(*kernels.half, abs_max / static_cast<float>(most));
  *scale = step.half;
  kernels.quantize->quantize(x, 0, Inverse(step.value), -most, most, dim, codes);
}

// One group: codes of `bits` bits from a minimum on. The step stands kKvBlockTokens behind the minimum.
void QuantizeGroup(const FloatKernels& kernels, int bits, int n, const float* x, Float16* scales,
                   int8_t* codes) {
  const int most = (1 << bits) - 1;
  float low, high;
  kernels.quantize->range(x, n, &low, &high);
  const Rounded minimum = RoundDown(*kernels.half, low);
  const float range = std::max(0.0f, high - minimum.value);
  const Rounded step = RoundUp(*kernels.half, range / static_cast<float>(most));
  scales[0] = minimum.half;
  scales[kKvBlockTokens] = step.half;
  kernels.quantize->quantize(x, minimum.value, Inverse(step.value), 0, most, n, codes);
}

}  // namespace

void PackKv(const FloatKernels& kernels, KvFormat format, const float* x, int64_t position,
            const PackedHead& head, PackedHead::Part part) {
  const KvPacking packing = PackingOf(format);
  const bool is_first = position == 0;
  const int bits = is_first ? packing.first_bits : packing.bits;
  const int token = static_cast<int>(position % kKvBlockTokens), dim = head.head_dim();
  Float16* const scales = head.scales(part) + token;
  Scratch<int8_t> codes(dim);
  if (head.grouped()) {
    for (int begin = 0; begin < dim; begin += packing.group) {
      QuantizeGroup(kernels, bits, std::min(packing.group, dim - begin), x + begin,
                    scales + begin / packing.group * 2 * kKvBlockTokens, codes.data() + begin);
    }
  } else {
    QuantizeHead(kernels, bits, dim, x, scales, codes.data());
  }
  head.Write(part, token, is_first, codes.data());
}

}  // namespace ternion::cpu
