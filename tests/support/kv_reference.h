#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/kv.h"

namespace ternion {

inline constexpr std::array kPackedFormats = {KvFormat::kInt8, KvFormat::kInt4, KvFormat::kInt3,
                                              KvFormat::kInt4G32, KvFormat::kInt3G32};

// Straight from the contract in kernels/kv.h, number by number.

// x [head_dim], a token's K or V in a head, as a cache of this format gives it back; `as_half`: rounded to float16 in the
// end, as CUDA does.
std::vector<float> AsCached(KvFormat format, bool as_half, int64_t position, const float* x, int head_dim);

// x [head_dim], a token's query in a head, as Attention takes it with KvLayer::query_bits = bits.
std::vector<float> AsQuery(int bits, const float* x, int head_dim);

// The nearest half, halves to even; infinity beyond.
float NearestHalf(float x);

}  // namespace ternion
