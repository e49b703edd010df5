#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "tests/support/backends.h"

namespace ternion {

// A uniformly quantized matrix, every number on its own.
struct UniformMatrix {
  UniformFormat format;
  int64_t outputs = 0;
  int64_t inputs = 0;
  std::vector<uint8_t> codes;  // [outputs, inputs]
  std::vector<float> scales;   // [outputs, groups]
  std::vector<uint8_t> zeros;  // [outputs, groups]

  int64_t groups() const { return format.Groups(inputs); }
  int64_t place(int64_t o, int64_t i) const { return o * groups() + i / format.group; }
  double weight(int64_t o, int64_t i) const {
    return static_cast<double>(codes[o * inputs + i] - zeros[place(o, i)]) * scales[place(o, i)];
  }
};

// Scales are exact in float16.
inline UniformMatrix RandomUniform(const UniformFormat& format, int64_t outputs, int64_t inputs,
                                   uint32_t seed) {
  std::minstd_rand random(seed + 1);
  UniformMatrix w{format, outputs, inputs, {}, {}, {}};
  w.codes.resize(outputs * inputs);
  w.scales.resize(outputs * w.groups());
  w.zeros.resize(outputs * w.groups());
  for (uint8_t& code : w.codes) code = static_cast<uint8_t>((random() >> 8) % (1u << format.bits));
  for (uint8_t& zero : w.zeros) zero = static_cast<uint8_t>((random() >> 8) % (1u << format.bits));
  for (float& scale : w.scales) scale = static_cast<float>(1024 + (random() >> 8) % 1024) * 0x1p-16f;
  return w;
}

inline absl::StatusOr<PackedUniform> Pack(Backend& backend, const UniformMatrix& w) {
  return backend.PackUniform(w.format, w.outputs, w.inputs, [&w](Range outputs, const UniformRows& rows) {
    std::copy_n(&w.codes[outputs.begin * w.inputs], rows.codes.size(), rows.codes.data());
    std::copy_n(&w.scales[outputs.begin * w.groups()], rows.scales.size(), rows.scales.data());
    std::copy_n(&w.zeros[outputs.begin * w.groups()], rows.zeros.size(), rows.zeros.data());
  });
}

// x . W^T as docs/numerics.md has it, bit by bit.                 x [inputs]
inline std::vector<float> MultiplyAsWritten(const UniformMatrix& w, const float* x) {
  const int64_t segment = UniformSegment(w.format, w.inputs), unit = segment * kUnitSegments;
  const int64_t units = (w.inputs + unit - 1) / unit;
  std::vector<std::vector<float>> partial(w.outputs, std::vector<float>(kUniformParts));
  std::vector<float> pair(w.outputs);
  int64_t part = 0;
  for (int64_t begin = 0; begin < w.inputs; begin += segment) {
    while (begin / unit >= (part + 1) * units / kUniformParts) ++part;
    float most = kInputFloor;
    for (int64_t i = begin; i < begin + segment; ++i) most = std::max(most, std::abs(x[i]));
    const float factor = kInputMost / most, step = most / kInputMost;
    std::vector<int32_t> integers;
    int32_t total = 0;
    for (int64_t i = begin; i < begin + segment; ++i) {
      integers.push_back(static_cast<int32_t>(std::nearbyint(x[i] * factor)));
      total += integers.back();
    }
    for (int64_t o = 0; o < w.outputs; ++o) {
      int32_t sum = -w.zeros[w.place(o, begin)] * total;
      for (int64_t i = 0; i < segment; ++i) sum += w.codes[o * w.inputs + begin + i] * integers[i];
      const float term = static_cast<float>(sum) * step * w.scales[w.place(o, begin)];
      const bool is_second = begin / segment % 2 == 1;
      pair[o] = is_second ? pair[o] + term : term;
      if (is_second || begin + segment == w.inputs) partial[o][part] += pair[o];
    }
  }
  std::vector<float> y;
  for (const std::vector<float>& parts : partial) {
    y.push_back(std::accumulate(parts.begin(), parts.end(), 0.0f));
  }
  return y;
}

}  // namespace ternion
