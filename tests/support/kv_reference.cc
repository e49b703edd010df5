#include "tests/support/kv_reference.h"

#include <algorithm>
#include <cmath>

namespace ternion {
namespace {

// All finite halves, ascending.
const std::vector<float>& Halves() {
  static const auto* const halves = [] {
    auto* all = new std::vector<float>;
    for (int exponent = 0; exponent < 31; ++exponent) {
      for (int mantissa = 0; mantissa < 1024; ++mantissa) {
        const float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                          : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
        all->push_back(value);
        if (value != 0) all->push_back(-value);
      }
    }
    std::sort(all->begin(), all->end());
    return all;
  }();
  return *halves;
}

float HalfNotBelow(float x) {
  const auto found = std::lower_bound(Halves().begin(), Halves().end(), x);
  return found == Halves().end() ? Halves().back() : *found;
}

float HalfNotAbove(float x) { return -HalfNotBelow(-x); }

std::vector<float> AbsMaxValues(int bits, const float* x, int n) {
  const auto most = static_cast<float>((1 << (bits - 1)) - 1);
  float abs_max = 0;
  for (int i = 0; i < n; ++i) abs_max = std::max(abs_max, std::abs(x[i]));
  const float s = HalfNotBelow(abs_max / most);
  std::vector<float> values(n);
  for (int i = 0; i < n && s > 0; ++i) values[i] = std::clamp(std::rint(x[i] * (1 / s)), -most, most) * s;
  return values;
}

std::vector<float> MinMaxValues(int bits, const float* x, int n) {
  const auto most = static_cast<float>((1 << bits) - 1);
  const float b = HalfNotAbove(*std::min_element(x, x + n));
  const float s = HalfNotBelow((*std::max_element(x, x + n) - b) / most);
  std::vector<float> values(n, b);
  for (int i = 0; i < n && s > 0; ++i) {
    const float code = std::clamp(std::rint((x[i] - b) * (1 / s)), 0.0f, most);
    values[i] = b + code * s;
  }
  return values;
}

}  // namespace

float NearestHalf(float x) {
  const float below = HalfNotAbove(x), above = HalfNotBelow(x);
  if (std::abs(x) >= 65520) return std::copysign(INFINITY, x);
  if (std::abs(x) > 65504) return std::copysign(65504.0f, x);
  if (x - below != above - x) return x - below < above - x ? below : above;
  // Of neighbours one has an even last bit: the number of units of its binade says which.
  const float unit = above - below;
  return std::fmod(below / unit, 2.0f) == 0 ? below : above;
}

std::vector<float> AsCached(KvFormat format, bool as_half, int64_t position, const float* x, int head_dim) {
  const KvPacking packing = PackingOf(format);
  const int bits = position == 0 ? packing.first_bits : packing.bits;
  std::vector<float> values(x, x + head_dim);
  if (packing.group > 0) {
    values.clear();
    for (int begin = 0; begin < head_dim; begin += packing.group) {
      const std::vector<float> group =
          MinMaxValues(bits, x + begin, std::min(packing.group, head_dim - begin));
      values.insert(values.end(), group.begin(), group.end());
    }
  } else if (IsPacked(format)) {
    values = AbsMaxValues(bits, x, head_dim);
  }
  if (as_half || format == KvFormat::kF16) {
    for (float& value : values) value = NearestHalf(value);
  }
  return values;
}

std::vector<float> AsQuery(int bits, const float* x, int head_dim) {
  std::vector<float> values(x, x + head_dim);
  float abs_max = 0;
  for (float value : values) abs_max = std::max(abs_max, std::abs(value));
  if (bits == 0 || abs_max == 0) return values;
  for (float& value : values) value = std::rint(value * (7 / abs_max)) * (abs_max / 7);
  return values;
}

}  // namespace ternion
