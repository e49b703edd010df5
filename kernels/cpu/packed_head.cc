#include "kernels/cpu/packed_head.h"

#include "kernels/check.h"

namespace ternion::cpu {
namespace {

constexpr int kTokenGroups = kKvBlockTokens / kPackedLanes;
constexpr int kKeyChannels = kPackedDepth / kTokenGroups;  // of a unit

// Words that hold a code of a lane: they lie kPackedLanes apart, and a code of 3 bits may lie in two.
void PutCode(uint32_t* lane, int bits, int code, uint32_t value) {
  const int shift = bits * code % 32;
  uint32_t* const low = lane + bits * code / 32 * kPackedLanes;
  const uint64_t mask = ((uint64_t{1} << bits) - 1) << shift, field = (uint64_t{value} << shift) & mask;
  *low = (*low & ~static_cast<uint32_t>(mask)) | static_cast<uint32_t>(field);
  if (shift + bits <= 32) return;
  uint32_t* const high = low + kPackedLanes;
  *high = (*high & ~static_cast<uint32_t>(mask >> 32)) | static_cast<uint32_t>(field >> 32);
}

uint32_t GetCode(const uint32_t* lane, int bits, int code) {
  const int shift = bits * code % 32;
  const uint32_t* const low = lane + bits * code / 32 * kPackedLanes;
  uint64_t words = *low;
  if (shift + bits > 32) words |= uint64_t{low[kPackedLanes]} << 32;
  return static_cast<uint32_t>(words >> shift) & ((1u << bits) - 1);
}

}  // namespace

PackedHead::PackedHead(KvFormat format, int head_dim, uint8_t* data)
    : packing_(PackingOf(format)), head_dim_(head_dim), data_(data) {
  CHECK(IsPacked(format) && head_dim % 16 == 0, "a packed head has a multiple of 16 channels");
}

Float16* PackedHead::scales(Part part) const {
  return reinterpret_cast<Float16*>(data_ + 2 * code_bytes()) + part * parts() * kKvBlockTokens;
}

uint8_t* PackedHead::first(Part part) const {
  return reinterpret_cast<uint8_t*>(scales(kValues) + parts() * kKvBlockTokens) + part * head_dim_ / 8;
}

PackedCodes PackedHead::Codes(Part part, const float* scales) const {
  const auto* codes = reinterpret_cast<const uint32_t*>(data_ + part * code_bytes());
  return {codes, scales, packing_.bits, grouped(), head_dim_};
}

PackedHead::Place PackedHead::PlaceOf(Part part, int token, int channel) const {
  auto* const codes = reinterpret_cast<uint32_t*>(data_ + part * code_bytes());
  const int unit_words = kPackedLanes * packing_.bits;
  if (part == kKeys) {
    return {codes + channel / kKeyChannels * unit_words + token % kPackedLanes,
            channel % kKeyChannels * kTokenGroups + token / kPackedLanes};
  }
  return {codes + (channel / kPackedLanes * 2 + token / kPackedDepth) * unit_words + channel % kPackedLanes,
          token % kPackedDepth};
}

void PackedHead::Write(Part part, int token, bool is_first, const int8_t* codes) const {
  for (int d = 0; d < head_dim_; ++d) {
    const Place place = PlaceOf(part, token, d);
    PutCode(place.lane, packing_.bits, place.code, static_cast<uint32_t>(codes[d]));
  }
  if (!is_first || !has_first()) return;
  for (int d = 0; d < head_dim_; d += 8) {
    int byte = 0;
    for (int i = 0; i < 8; ++i) byte |= (codes[d + i] >> packing_.bits & 1) << i;
    first(part)[d / 8] = static_cast<uint8_t>(byte);
  }
}

void PackedHead::ReadFirst(Part part, float* numbers) const {
  const int sign = 1 << packing_.bits;
  for (int d = 0; d < head_dim_; ++d) {
    const Place place = PlaceOf(part, 0, d);
    const int low = static_cast<int>(GetCode(place.lane, packing_.bits, place.code));
    const bool negative = (first(part)[d / 8] >> (d % 8) & 1) != 0;
    numbers[d] = static_cast<float>(negative ? low - sign : low);
  }
}

}  // namespace ternion::cpu
