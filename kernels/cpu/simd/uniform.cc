// Uniform weights times rounded rows: every segment exactly in integers, then scaled.
//
// A lane is an output, so no sum crosses lanes. One token, INT2: of a line four masks and eight vpdpbusd, whose other operand
// is a quad of the input for all lanes; then some ten operations a segment. Several tokens share the masks.
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd/round.h"
#include "kernels/cpu/simd/uniform_dot.h"
#include "kernels/cpu/simd/uniform_kernels.h"

namespace ternion::cpu::TERNION_ISA {
namespace {

// Tokens that pass over a tile together: their sums stay in registers.
#if defined(__AVX512F__)
constexpr int kTileTokens = 3;
#elif defined(__AVX2__)
constexpr int kTileTokens = 2;
#else
constexpr int kTileTokens = 1;
#endif
// How far ahead lines are fetched into the second cache: at 8 KiB, where the ternary matmul is fastest, a core reads 15 GB/s,
// at 64 KiB 21 (4096 inputs, INT2, one token).
constexpr int64_t kAheadBytes = 65536;

template <int kSegment>
float SegmentMost(const float* x) {
  int32_t most = 0;
  for (int i = 0; i < kSegment; ++i) {
    const int32_t magnitude = __builtin_bit_cast(int32_t, x[i]) & 0x7fffffff;
    most = magnitude > most ? magnitude : most;
  }
  return __builtin_bit_cast(float, most);
}

template <int kSegment>
void RoundSegments(const float* __restrict x, int64_t n, int64_t units, int8_t* __restrict high,
                   int8_t* __restrict low, float* __restrict steps, float* __restrict sums) {
  const int64_t segments = n / kSegment, all = units * kUnitSegments;
  for (int64_t s = 0; s < segments; ++s) {
    const float most = SegmentMost<kSegment>(x + s * kSegment);
    const float bound = most < kInputFloor ? kInputFloor : most;
    const float factor = static_cast<float>(kInputMost) / bound;
    int32_t sum = 0;
    for (int64_t i = s * kSegment; i < (s + 1) * kSegment; ++i) {
      const int32_t code = ClippedRint(x[i] * factor, -kInputMost, kInputMost);
      const int32_t upper = (code + 128) >> 8;
      high[i] = static_cast<int8_t>(upper);
      low[i] = static_cast<int8_t>(code - upper * 256);
      sum += code;
    }
    steps[s] = bound / static_cast<float>(kInputMost);
    sums[s] = static_cast<float>(sum);
  }
  for (int64_t i = n; i < all * kSegment; ++i) high[i] = low[i] = 0;
  for (int64_t s = segments; s < all; ++s) steps[s] = sums[s] = 0;
}

void RoundInputs(const float* x, int64_t n, const UniformInputs& to, int64_t token) {
  const int64_t segments = to.units * kUnitSegments, codes = segments * to.segment;
  const auto round = to.segment == kLongSegment ? RoundSegments<kLongSegment> : RoundSegments<kShortSegment>;
  round(x, n, to.units, to.high + token * codes, to.low + token * codes, to.steps + token * segments,
        to.sums + token * segments);
}

// Of the codes of a unit: the lines of one part of a tile, kLanes outputs.
template <int kBits, int kSegment>
struct UnitCodes {
  static constexpr int kQuads = kSegment / 4;
  // Segments whose codes share a line, and lines of such segments.
  static constexpr int kFields = kBits == 4 ? 2 : 4;
  static constexpr int kHalves = static_cast<int>(kUnitSegments) / kFields;
  static constexpr int64_t kBytes = kBits * kSegment / 8 * kUniformLine;

  const uint8_t* lines;

  const uint8_t* line(int64_t i) const { return lines + i * kUniformLine; }
  // How far the codes of a field are shifted to the left in what Field gives.
  static constexpr int Shift(int field) { return kBits == 3 || !kFieldsStay ? 0 : kBits * field; }
  // The codes of a quad in segment kFields * half + field; `low` is that quad's line of this half.
  inline __attribute__((always_inline)) Words Field(Words low, int quad, int field) const {
    if constexpr (kBits == 3) {
      const Words line3 = LoadLine(line(kQuads + quad / 2));
      const int down = quad % 2 * 4 + field - 2;
      const Words third = down < 0 ? line3 << -down : line3 >> down, two = low >> 2 * field;
      return (third ^ ((third ^ two) & 0x03030303u)) & 0x07070707u;
    }
    constexpr uint32_t kMask = kBits == 4 ? 0x0f0f0f0fu : 0x03030303u;
    return kFieldsStay ? low & kMask << kBits * field : low >> kBits * field & kMask;
  }
};

// The scale and the zero of some outputs of a tile, group by group.
class Groups {
 public:
  Groups(const UniformDots& work, const uint8_t* tile, int lanes)
      : half_(work.half_scales), segments_(work.group_segments), group_(tile), first_(lanes * kLanes) {}

  // To be called for every segment in ascending order.
  void Advance() {
    if (left_-- > 0) return;
    left_ = segments_ - 1;
    const uint8_t* const zeros = group_ + kUniformTile * (half_ ? 2 : 4);
    scale = half_ ? LoadF16(reinterpret_cast<const uint16_t*>(group_) + first_)
                  : Load(reinterpret_cast<const float*>(group_) + first_);
    zero = LoadBytes(zeros + first_);
    __builtin_prefetch(group_ + kAheadBytes, 0, 2);
    group_ = zeros + kUniformTile;
  }

  Vec scale = Vec();
  Vec zero = Vec();

 private:
  bool half_;
  int64_t segments_;
  const uint8_t* group_;
  int first_;
  int64_t left_ = 0;
};

// kTokens rows from `token` on, whose integers are multiplied with a tile's.
template <int kTokens>
struct InputRows {
  InputRows(const UniformInputs& inputs, int64_t token) {
    const int64_t segments = inputs.units * kUnitSegments;
    for (int t = 0; t < kTokens; ++t) {
      high[t] = inputs.high + (token + t) * segments * inputs.segment;
      low[t] = inputs.low + (token + t) * segments * inputs.segment;
      steps[t] = inputs.steps + (token + t) * segments;
      sums[t] = inputs.sums + (token + t) * segments;
    }
  }

  const int8_t* high[kTokens];
  const int8_t* low[kTokens];
  const float* steps[kTokens];
  const float* sums[kTokens];
};

// partial[t] += the segments of half a unit (or a whole one), from `segment` on.
template <int kBits, int kSegment, int kTokens>
inline __attribute__((always_inline)) void AddHalf(const UnitCodes<kBits, kSegment>& codes, int half,
                                                   int64_t segment, int64_t segments,
                                                   const InputRows<kTokens>& x, Groups& groups,
                                                   Vec* partial) {
  using Codes = UnitCodes<kBits, kSegment>;
  constexpr int kFields = Codes::kFields, kQuads = Codes::kQuads;
  Dots high[kFields][kTokens], low[kFields][kTokens];
  Vec first[kTokens] = {};
#pragma GCC unroll 16
  for (int quad = 0; quad < kQuads; ++quad) {
    const uint8_t* const line = codes.line(half * kQuads + quad);
    const Words words = LoadLine(line);
    __builtin_prefetch(line + kAheadBytes, 0, 2);
    if (kBits == 3 && quad % 2 == 0) {
      __builtin_prefetch(codes.line(kQuads + quad / 2) + kAheadBytes, 0, 2);
    }
#pragma GCC unroll 4
    for (int f = 0; f < kFields; ++f) {
      const Words field = codes.Field(words, quad, f);
      const int64_t at = (segment + f) * kSegment + quad * 4;
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        high[f][t].Add(field, x.high[t] + at);
        low[f][t].Add(field, x.low[t] + at);
      }
    }
  }
#pragma GCC unroll 4
  for (int f = 0; f < kFields; ++f) {
    if (segment + f >= segments) return;
    groups.Advance();
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const Ints sum = high[f][t].Total() * 256 + low[f][t].Total();
      const Vec integer = __builtin_convertvector(sum >> codes.Shift(f), Vec);
      const Vec exact = integer - groups.zero * x.sums[t][segment + f];
      const Vec term = exact * x.steps[t][segment + f] * groups.scale;
      // Segments by pairs, of which the second may not exist.
      first[t] = f % 2 == 0 ? term : first[t] + term;
      if (f % 2 == 1 || segment + f + 1 == segments) partial[t] += first[t];
    }
  }
}

// out[t] = the sums of one part of a tile, in the order of docs/numerics.md.
template <int kBits, int kSegment, int kTokens>
void DotLanes(const UniformDots& work, const uint8_t* tile, int lanes, int64_t token, float* out,
              int64_t stride) {
  using Codes = UnitCodes<kBits, kSegment>;
  const InputRows<kTokens> x(work.inputs, token);
  Groups groups(work, tile, lanes);
  const uint8_t* lines = tile + work.groups_bytes + lanes * kLanes * 4;
  Vec total[kTokens] = {};
  int64_t segment = 0;
  for (int64_t part = 0; part < kUniformParts; ++part) {
    const int64_t end = (part + 1) * work.inputs.units / kUniformParts * kUnitSegments;
    Vec partial[kTokens] = {};
    for (; segment < end; segment += kUnitSegments, lines += Codes::kBytes) {
      for (int half = 0; half < Codes::kHalves; ++half) {
        AddHalf<kBits, kSegment, kTokens>({lines}, half, segment + half * Codes::kFields, work.segments, x,
                                          groups, partial);
      }
    }
    for (int t = 0; t < kTokens; ++t) total[t] += partial[t];
  }
  for (int t = 0; t < kTokens; ++t) Store(total[t], out + t * stride);
}

template <int kBits, int kSegment, int kTokens>
int64_t DotTokens(const UniformDots& work, int64_t token) {
  const int64_t outputs = work.tile_count * kUniformTile;
  for (; token + kTokens <= work.inputs.tokens; token += kTokens) {
    for (int64_t tile = 0; tile < work.tile_count; ++tile) {
      for (int lanes = 0; lanes < kUniformTile / kLanes; ++lanes) {
        DotLanes<kBits, kSegment, kTokens>(work, work.tiles + tile * work.tile_bytes, lanes, token,
                                           work.out + token * outputs + tile * kUniformTile + lanes * kLanes,
                                           outputs);
      }
    }
  }
  return token;
}

template <int kBits, int kSegment>
void DotBits(const UniformDots& work) {
  int64_t token = DotTokens<kBits, kSegment, kTileTokens>(work, 0);
  if constexpr (kTileTokens > 2) token = DotTokens<kBits, kSegment, 2>(work, token);
  if constexpr (kTileTokens > 1) DotTokens<kBits, kSegment, 1>(work, token);
}

void DotTiles(const UniformDots& work) {
  const bool is_long = work.inputs.segment == kLongSegment;
  if (work.bits == 2) return is_long ? DotBits<2, kLongSegment>(work) : DotBits<2, kShortSegment>(work);
  if (work.bits == 3) return is_long ? DotBits<3, kLongSegment>(work) : DotBits<3, kShortSegment>(work);
  DotBits<4, kShortSegment>(work);
}

}  // namespace

const UniformKernels kUniformKernels = {RoundInputs, DotTiles};

}  // namespace ternion::cpu::TERNION_ISA
