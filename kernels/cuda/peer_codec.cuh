#pragma once

#include <cstdint>

#include "kernels/cuda/peer_blocks.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/wire.cuh"

// The codes and headers of the wire formats in registers: those of kernels/cuda/wire_int8.cu and wire_int4.cu, in an order
// that a warp stores and loads in wide words. A warp takes 1,024 channels in kSteps steps, a lane eight neighbouring ones
// in each: a group of int8 is 16 lanes, one of int4 four.
//
// A group's divisions have one divisor, a bfloat16 d. Where d and the quotients are far from overflow and underflow, x / d
// rounded is q + (x - q d) r with q = x r and r about 1 / d: x - q d is exact, and x / d is never as near to the middle of
// two floats as that sum is to x / d, since d has eight bits. Other groups are divided plainly.
namespace ternion::cuda {

inline constexpr int kSteps = 4;
inline constexpr int kLaneChannels = 8;
inline constexpr int kStepChannels = kWarp * kLaneChannels;
inline constexpr int kWarpChannels = kSteps * kStepChannels;

struct LaneChannels {
  float v[kSteps][kLaneChannels];
};

__device__ __forceinline__ float Reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// x / divisor rounded, for a divisor of eight bits in the middle of the range.
__device__ __forceinline__ float Divided(float x, float divisor, float reciprocal) {
  const float q = x * reciprocal;
  return __fmaf_rn(__fmaf_rn(-divisor, q, x), reciprocal, q);
}

// A positive bfloat16 from 2^-100 to 2^100.
__device__ __forceinline__ bool InMiddle(uint32_t bf16) {
  constexpr uint32_t kLeast = (127 - 100) << 7, kMost = (127 + 100) << 7;
  return bf16 - kLeast <= kMost - kLeast;
}

// The nearest integer in the low bits, for |x| < 2^22; the bits above are those of kRoundingBits.
inline constexpr float kRounding = 12582912.0f;  // 1.5 * 2^23
inline constexpr uint32_t kRoundingBits = 0x4b400000u;
__device__ __forceinline__ uint32_t RoundedBits(float x) { return __float_as_uint(x + kRounding); }

// Exact for codes below 2^23.
__device__ __forceinline__ float CodeToFloat(uint32_t code) {
  return __uint_as_float(code | 0x4b000000u) - 8388608.0f;
}

// The largest over the lane's group of kLanes.
template <int kLanes>
__device__ __forceinline__ uint32_t GroupMax(uint32_t x) {
#pragma unroll
  for (int other = 1; other < kLanes; other *= 2) x = max(x, __shfl_xor_sync(kAllLanes, x, other));
  return x;
}
template <int kLanes>
__device__ __forceinline__ int GroupMax(int x) {
#pragma unroll
  for (int other = 1; other < kLanes; other *= 2) x = max(x, __shfl_xor_sync(kAllLanes, x, other));
  return x;
}

template <bool kInt4>
struct PeerCodec;

template <>
struct PeerCodec<false> {
  static constexpr int kWords = kWarpChannels / 4 + 4;  // of a unit: codes, scales

  uint32_t codes[kSteps][2];  // a byte a channel; never 0x80
  uint32_t scales[2];         // bfloat16, a step in each half

  static __device__ __forceinline__ uint32_t Code(float x, float scale) {
    return ClippedRintByte(x / scale, -127, 127) & 0xff;
  }

  __device__ __forceinline__ void Encode(const LaneChannels& x) {
    scales[0] = scales[1] = 0;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      uint32_t most = 0;
#pragma unroll
      for (int i = 0; i < kLaneChannels; ++i) most = max(most, MagnitudeBits(x.v[s][i]));
      const float absmax = __uint_as_float(GroupMax<16>(most));
      uint32_t header = Bf16Up(Divided(absmax, 127.0f, 1.0f / 127.0f));
      const bool in_middle = InMiddle(header);
      if (!in_middle) header = Bf16Up(absmax / 127.0f);
      const float scale = WidenBf16(header), reciprocal = Reciprocal(scale);
      scales[s / 2] |= header << 16 * (s % 2);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t byte[4];
        const float* const value = x.v[s] + 4 * half;
        if (in_middle) {
#pragma unroll
          for (int i = 0; i < 4; ++i) byte[i] = RoundedBits(Divided(value[i], scale, reciprocal));
        } else {
#pragma unroll
          for (int i = 0; i < 4; ++i) byte[i] = Code(value[i], scale);
        }
        codes[s][half] =
            __byte_perm(__byte_perm(byte[0], byte[1], 0x0040), __byte_perm(byte[2], byte[3], 0x0040), 0x5410);
      }
    }
  }

  __device__ __forceinline__ float4 Decode(int step, int half) const {
    const float scale = WidenBf16(scales[step / 2] >> 16 * (step % 2) & 0xffffu);
    const uint32_t unsigned_codes = codes[step][half] ^ 0x80808080u;
    const auto value = [&](int i) {
      return (__uint_as_float(__byte_perm(unsigned_codes, 0x4b000000u, 0x7540 + i)) - 8388736.0f) * scale;
    };
    return {value(0), value(1), value(2), value(3)};
  }

  __device__ __forceinline__ void Store(uint32_t* unit) const {
    StorePeer(unit + 4 * Lane(), {codes[0][0], codes[0][1], codes[1][0], codes[1][1]});
    StorePeer(unit + 4 * (kWarp + Lane()), {codes[2][0], codes[2][1], codes[3][0], codes[3][1]});
    uint32_t* const beside = unit + kWarpChannels / 4 + 2 * (Lane() / 16);
    if (Lane() % 16 < 2) StoreWord(beside + Lane() % 16, Lane() % 16 == 0 ? scales[0] : scales[1]);
  }
  // Leaves the unit empty.
  __device__ __forceinline__ void Take(uint32_t* unit, uint32_t* fault) {
    uint32_t* const own = unit + 4 * Lane();
    uint32_t* const beside = unit + kWarpChannels / 4 + 2 * (Lane() / 16);
    uint4 first, second;
    WaitUntil(
        [&] {
          first = LoadInbox(own), second = LoadInbox(own + 4 * kWarp);
          scales[0] = LoadWord(beside), scales[1] = LoadWord(beside + 1);
          return Complete(first) && Complete(second) && scales[0] != kEmptyWord && scales[1] != kEmptyWord;
        },
        fault);
    __syncwarp();
    StorePeer(own, kEmptyWords);
    StorePeer(own + 4 * kWarp, kEmptyWords);
    if (Lane() % 16 < 2) StoreWord(beside + Lane() % 16, kEmptyWord);
    codes[0][0] = first.x, codes[0][1] = first.y, codes[1][0] = first.z, codes[1][1] = first.w;
    codes[2][0] = second.x, codes[2][1] = second.y, codes[3][0] = second.z, codes[3][1] = second.w;
  }
};

template <>
struct PeerCodec<true> {
  static constexpr int kWords =
      kWarpChannels / 8 + kWarpChannels / 32 + 4;  // of a unit: codes, headers, disguise

  uint32_t codes[kSteps];    // a nibble a channel, the first one lowest
  uint32_t headers[kSteps];  // bfloat16 minimum low, step high

  // Integers that are ordered as the floats are. Its own inverse.
  static __device__ __forceinline__ int Ordered(int bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

  static __device__ __forceinline__ uint32_t Code(float x, float minimum, float step) {
    return ClippedRintByte((x - minimum) / step, 0, 15) & 15;
  }

  __device__ __forceinline__ void Encode(const LaneChannels& x) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      int least = 0x7fffffff, most = -0x7fffffff - 1;
#pragma unroll
      for (int i = 0; i < kLaneChannels; ++i) {
        const int order = Ordered(__float_as_int(x.v[s][i]));
        least = min(least, order);
        most = max(most, order);
      }
      const float low = __int_as_float(Ordered(~GroupMax<4>(~least)));
      const float high = __int_as_float(Ordered(GroupMax<4>(most)));
      const uint32_t minimum_bits = Bf16Down(low);
      const float minimum = WidenBf16(minimum_bits), range = high - minimum;
      uint32_t step_bits = Bf16Up(Divided(range, 15.0f, 1.0f / 15.0f));
      const bool in_middle = InMiddle(step_bits);
      if (!in_middle) step_bits = Bf16Up(range / 15.0f);
      const float step = WidenBf16(step_bits), reciprocal = Reciprocal(step);
      headers[s] = minimum_bits | step_bits << 16;
      codes[s] = 0;
      if (in_middle) {
#pragma unroll
        for (int i = 0; i < kLaneChannels; ++i) {
          const float quotient = Divided(x.v[s][i] - minimum, step, reciprocal);
          codes[s] += (RoundedBits(quotient) - kRoundingBits) << 4 * i;
        }
      } else {
#pragma unroll
        for (int i = 0; i < kLaneChannels; ++i) codes[s] += Code(x.v[s][i], minimum, step) << 4 * i;
      }
    }
  }

  __device__ __forceinline__ float4 Decode(int step, int half) const {
    const float minimum = WidenBf16(headers[step] & 0xffffu);
    const float by = __uint_as_float(headers[step] & 0xffff0000u);
    const auto value = [&](int i) {
      return minimum + CodeToFloat(codes[step] >> 4 * (4 * half + i) & 15) * by;
    };
    return {value(0), value(1), value(2), value(3)};
  }

  __device__ __forceinline__ void Store(uint32_t* unit) const {
    const uint4 words[1] = {{codes[0], codes[1], codes[2], codes[3]}};
    const uint32_t disguise = Disguise(words);
    StorePeer(unit + 4 * Lane(), Disguised(words[0], disguise));
    uint32_t* const beside = unit + kWarpChannels / 8;
    if (Lane() % 4 == 0) StorePeer(beside + Lane(), {headers[0], headers[1], headers[2], headers[3]});
    if (Lane() == 0) StoreWord(beside + kWarpChannels / 32, DisguiseWord(disguise));
  }
  // Leaves the unit empty.
  __device__ __forceinline__ void Take(uint32_t* unit, uint32_t* fault) {
    uint32_t* const own = unit + 4 * Lane();
    uint32_t* const beside = unit + kWarpChannels / 8 + Lane() / 4 * 4;
    uint32_t* const disguise = unit + kWarpChannels / 8 + kWarpChannels / 32;
    uint4 words, header_words;
    uint32_t disguise_word;
    WaitUntil(
        [&] {
          words = LoadInbox(own), header_words = LoadInbox(beside), disguise_word = LoadWord(disguise);
          return HalvesHere(words) && Complete(header_words) && disguise_word != kEmptyWord;
        },
        fault);
    __syncwarp();
    StorePeer(own, kEmptyWords);
    if (Lane() % 4 == 0) StorePeer(beside, kEmptyWords);
    if (Lane() == 0) StoreWord(disguise, kEmptyWord);
    words = Disguised(words, DisguiseOf(disguise_word));
    codes[0] = words.x, codes[1] = words.y, codes[2] = words.z, codes[3] = words.w;
    headers[0] = header_words.x, headers[1] = header_words.y;
    headers[2] = header_words.z, headers[3] = header_words.w;
  }
};

}  // namespace ternion::cuda
